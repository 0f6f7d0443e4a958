//! Relayed UDP: one socket towards the container per client, forgotten after a while.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::Type;

use super::host_socket::{HostSocket, Local};
use super::towards_container;

/// A client that was silent for so long gets a new socket: the time Docker's proxy uses.
const IDLE: Duration = Duration::from_secs(90);
/// How often they are looked for.
const CHECK: Duration = Duration::from_secs(10);
/// Clients at one time; beyond, new ones are not served, so that spoofed senders cannot use up the
/// descriptors.
const MAX_SESSIONS: usize = 1024;
/// Datagrams taken from one socket before the others have their turn.
const SHARE: usize = 64;

struct Session {
    listener: u64,
    client: SocketAddr,
    /// The address the client talks to.
    local: Local,
    container: UdpSocket,
    used: Instant,
}

/// The clients of all UDP listeners.
#[derive(Default)]
pub(super) struct Sessions {
    open: HashMap<u64, Session>,
    by_client: HashMap<(u64, SocketAddr, Local), u64>,
    checked: Option<Instant>,
}

/// What a new session needs of the loop.
pub(super) struct Opener<'a> {
    pub(super) epoll: &'a OwnedFd,
    pub(super) device: &'a str,
    pub(super) next: &'a mut u64,
}

impl Opener<'_> {
    fn open(&mut self, container: SocketAddrV4) -> io::Result<(u64, UdpSocket)> {
        let socket = towards_container(Type::DGRAM, self.device)?;
        socket.connect(&container.into())?;
        let number = *self.next;
        *self.next += 1;
        epoll::add(self.epoll, &socket, EventData::new_u64(number), EventFlags::IN)?;
        Ok((number, socket.into()))
    }
}

impl Sessions {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Passes on what clients sent to a listener. A datagram that cannot be passed on is lost, as datagrams
    /// are.
    pub(super) fn relay_inward(
        &mut self,
        listener: u64,
        socket: &HostSocket,
        container: SocketAddrV4,
        opener: &mut Opener<'_>,
        buffer: &mut [u8],
    ) {
        for _ in 0..SHARE {
            let Ok((length, client, local)) = socket.receive(buffer) else { return };
            let number = match self.by_client.get(&(listener, client, local)) {
                Some(number) => *number,
                None if self.open.len() >= MAX_SESSIONS => continue,
                None => {
                    let Ok((number, socket)) = opener.open(container) else { continue };
                    let session =
                        Session { listener, client, local, container: socket, used: Instant::now() };
                    self.open.insert(number, session);
                    self.by_client.insert((listener, client, local), number);
                    number
                }
            };
            if let Some(session) = self.open.get_mut(&number) {
                session.used = Instant::now();
                // The first failure may be the report of an earlier datagram's refusal.
                if session.container.send(&buffer[..length]).is_err() {
                    let _ = session.container.send(&buffer[..length]);
                }
            }
        }
    }

    /// Passes on what the container answered on session `number`.
    pub(super) fn relay_outward<'a>(
        &mut self,
        number: u64,
        host_socket: impl Fn(u64) -> Option<&'a HostSocket>,
        buffer: &mut [u8],
    ) {
        let Some(session) = self.open.get_mut(&number) else { return };
        let Some(host) = host_socket(session.listener) else { return };
        for _ in 0..SHARE {
            // An error (the container's port is closed) is thereby taken from the socket; the session stays.
            let Ok(length) = session.container.recv(buffer) else { return };
            session.used = Instant::now();
            let _ = host.answer(&buffer[..length], session.client, session.local);
        }
    }

    /// Forgets the clients that were silent for too long.
    pub(super) fn drop_idle(&mut self) {
        if self.checked.is_some_and(|checked| checked.elapsed() < CHECK) {
            return;
        }
        self.checked = Some(Instant::now());
        self.open.retain(|_, session| session.used.elapsed() < IDLE);
        if self.by_client.len() != self.open.len() {
            self.by_client.retain(|_, number| self.open.contains_key(number));
        }
    }
}
