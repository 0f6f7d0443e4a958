//! The user-land proxy: listeners on the host, relayed to a container by one thread.
//!
//! The listening sockets exist from the start, since they are also what reserves a port. Every socket towards
//! the container is bound to the bridge device before it connects: when the bridge is gone, the kernel
//! refuses the packet instead of sending it out by the default route.

mod datagram;
mod host_socket;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use socket2::{Domain, Socket, Type};

use super::NetError;
use datagram::Sessions;
use host_socket::HostSocket;
use stream::{Flow, Progress};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Enough for the loop; its buffers are on the heap.
const STACK: usize = 256 * 1024;
/// One read or datagram: the largest UDP payload, and few enough pages to stay in the cache.
const BUFFER: usize = 64 * 1024;
/// How long accepting pauses when the process has no descriptor left.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(20);
/// How often idle UDP sessions are looked for.
const IDLE_CHECK: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const STOP: u64 = u64::MAX;

/// A reserved host port and the container port it leads to.
#[derive(Debug)]
pub(super) struct Listener {
    service: Service,
    container: SocketAddrV4,
}

#[derive(Debug)]
enum Service {
    Tcp(TcpListener),
    Udp(HostSocket),
}

impl Listener {
    /// Listens on `address`; port 0 takes any.
    pub(super) fn tcp(address: SocketAddr, container: SocketAddrV4) -> io::Result<Self> {
        let socket = open(address, Type::STREAM)?;
        // A restarted container may take its port back while old connections are in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self { service: Service::Tcp(socket.into()), container })
    }

    /// Receives on `address`; port 0 takes any.
    pub(super) fn udp(address: SocketAddr, container: SocketAddrV4) -> io::Result<Self> {
        let socket = open(address, Type::DGRAM)?;
        socket.bind(&address.into())?;
        Ok(Self { service: Service::Udp(HostSocket::new(socket.into())?), container })
    }

    /// The port that was bound.
    pub(super) fn port(&self) -> io::Result<u16> {
        let address = match &self.service {
            Service::Tcp(listener) => listener.local_addr()?,
            Service::Udp(socket) => socket.local_addr()?,
        };
        Ok(address.port())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.service {
            Service::Tcp(listener) => listener.as_fd(),
            Service::Udp(socket) => socket.as_fd(),
        }
    }
}

fn open(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket that can reach the container through the bridge device only.
fn towards_container(kind: Type, device: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    socket.bind_device(Some(device.as_bytes()))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Listeners that nobody serves yet.
#[derive(Debug)]
pub(super) struct Proxy {
    device: String,
    listeners: Vec<Listener>,
}

impl Proxy {
    /// A proxy for containers behind the bridge `device`.
    pub(super) fn new(device: &str) -> Self {
        Self { device: device.to_owned(), listeners: Vec::new() }
    }

    pub(super) fn add(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Serves the listeners on a new thread until the handle is dropped.
    pub(super) fn spawn(self) -> Result<RunningProxy, NetError> {
        let start = || -> io::Result<RunningProxy> {
            let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let relay = Relay::new(self, &stop)?;
            let thread = thread::Builder::new()
                .name("port-proxy".to_owned())
                .stack_size(STACK)
                .spawn(move || relay.run())?;
            Ok(RunningProxy { stop, thread: Some(thread) })
        };
        start().map_err(|source| NetError::Kernel { action: "start the port proxy".to_owned(), source })
    }
}

/// A proxy thread; dropping this ends it and all its connections.
#[derive(Debug)]
pub(super) struct RunningProxy {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        let rung = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let (Ok(_), Some(thread)) = (rung, self.thread.take()) {
            // A panic of the thread has ended its connections as well.
            let _ = thread.join();
        }
    }
}

/// The loop: one epoll set with the listeners (level-triggered), both ends of every stream (edge-triggered,
/// one number for both) and the container end of every datagram session.
struct Relay {
    epoll: OwnedFd,
    device: String,
    listeners: Vec<Listener>,
    flows: HashMap<u64, Flow>,
    sessions: Sessions,
    /// Streams that had more to move than their share.
    unfinished: VecDeque<u64>,
    next: u64,
    buffer: Vec<u8>,
}

impl Relay {
    fn new(proxy: Proxy, stop: &OwnedFd) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, stop, EventData::new_u64(STOP), EventFlags::IN)?;
        let mut next = 0;
        for listener in &proxy.listeners {
            epoll::add(&epoll, listener, EventData::new_u64(next), EventFlags::IN)?;
            next += 1;
        }
        Ok(Self {
            epoll,
            device: proxy.device,
            listeners: proxy.listeners,
            flows: HashMap::new(),
            sessions: Sessions::default(),
            unfinished: VecDeque::new(),
            next,
            buffer: vec![0; BUFFER],
        })
    }

    fn run(mut self) {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 64];
        loop {
            let timeout = if !self.unfinished.is_empty() {
                Some(NO_WAIT)
            } else {
                (!self.sessions.is_empty()).then_some(IDLE_CHECK)
            };
            let ready: Vec<u64> = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect(),
                Err(rustix::io::Errno::INTR) => continue,
                // Not possible with a valid set; ending beats spinning.
                Err(_) => return,
            };
            if ready.contains(&STOP) {
                return;
            }
            for number in self.unfinished.split_off(0) {
                self.move_stream(number);
            }
            for number in ready {
                self.handle(number);
            }
            self.sessions.drop_idle();
        }
    }

    fn handle(&mut self, number: u64) {
        let listener = usize::try_from(number).ok().and_then(|index| self.listeners.get(index));
        match listener.map(|listener| &listener.service) {
            Some(Service::Tcp(_)) => self.accept(number as usize),
            Some(Service::Udp(socket)) => {
                let container = self.listeners[number as usize].container;
                let mut opener =
                    datagram::Opener { epoll: &self.epoll, device: &self.device, next: &mut self.next };
                self.sessions.relay_inward(number, socket, container, &mut opener, &mut self.buffer);
            }
            None if self.flows.contains_key(&number) => self.move_stream(number),
            None => {
                let listeners = &self.listeners;
                let host_socket = |index: u64| match &listeners[index as usize].service {
                    Service::Udp(socket) => Some(socket),
                    Service::Tcp(_) => None,
                };
                self.sessions.relay_outward(number, host_socket, &mut self.buffer);
            }
        }
    }

    fn accept(&mut self, index: usize) {
        let Listener { service: Service::Tcp(listener), container } = &self.listeners[index] else {
            return;
        };
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) => {
                let errno = rustix::io::Errno::from_io_error(&error);
                if matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)) {
                    thread::sleep(DESCRIPTOR_PAUSE);
                }
                return;
            }
        };
        let number = self.next;
        self.next += 1;
        // A flow that cannot be opened (no bridge, no descriptor) closes the client's connection.
        if let Ok(flow) = Flow::open(client, *container, &self.device)
            && flow.register(&self.epoll, number).is_ok()
        {
            self.flows.insert(number, flow);
        }
    }

    fn move_stream(&mut self, number: u64) {
        let Some(flow) = self.flows.get_mut(&number) else { return };
        match flow.advance(&mut self.buffer) {
            Progress::Waiting => {}
            Progress::Unfinished => self.unfinished.push_back(number),
            Progress::Ended => {
                self.flows.remove(&number);
            }
        }
    }
}
