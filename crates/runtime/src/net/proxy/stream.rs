//! One relayed TCP connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use socket2::{SockRef, Type};

use super::towards_container;

/// Bytes one connection may move in one direction before the others have their turn.
const SHARE: usize = 1024 * 1024;

/// What a connection waits for.
pub(super) enum Progress {
    /// For the kernel to report one of its sockets.
    Waiting,
    /// For its next turn.
    Unfinished,
    /// For nothing: it is over.
    Ended,
}

/// A client's connection and its continuation to the container.
pub(super) struct Flow {
    client: TcpStream,
    container: TcpStream,
    connected: bool,
    inward: Direction,
    outward: Direction,
}

impl Flow {
    /// Begins to connect to the container.
    pub(super) fn open(client: TcpStream, address: SocketAddrV4, device: &str) -> io::Result<Self> {
        client.set_nonblocking(true)?;
        let socket = towards_container(Type::STREAM, device)?;
        match socket.connect(&address.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => return Err(error),
            _ => {}
        }
        let container = TcpStream::from(socket);
        for stream in [&client, &container] {
            stream.set_nodelay(true)?;
            // A peer that vanished must not hold its connection for ever.
            SockRef::from(stream).set_keepalive(true)?;
        }
        let (inward, outward) = (Direction::default(), Direction::default());
        Ok(Self { client, container, connected: false, inward, outward })
    }

    /// Adds both sockets to the epoll set under one number.
    pub(super) fn register(&self, epoll: impl AsFd, number: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        for stream in [&self.client, &self.container] {
            epoll::add(&epoll, stream, EventData::new_u64(number), flags)?;
        }
        Ok(())
    }

    /// Moves what can be moved now.
    pub(super) fn advance(&mut self, buffer: &mut [u8]) -> Progress {
        match self.try_advance(buffer) {
            Ok(progress) => progress,
            Err(_) => {
                // A reset on one side is a reset on the other.
                for stream in [&self.client, &self.container] {
                    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                }
                Progress::Ended
            }
        }
    }

    fn try_advance(&mut self, buffer: &mut [u8]) -> io::Result<Progress> {
        if !self.connected {
            if let Some(error) = self.container.take_error()? {
                return Err(error);
            }
            // Half-closing a socket that is still connecting would end it, so nothing is moved before.
            if self.container.peer_addr().is_err() {
                return Ok(Progress::Waiting);
            }
            self.connected = true;
        }
        let inward = self.inward.pump(&self.client, &self.container, buffer)?;
        let outward = self.outward.pump(&self.container, &self.client, buffer)?;
        Ok(match (inward, outward) {
            _ if self.inward.finished && self.outward.finished => Progress::Ended,
            (Turn::Exhausted, _) | (_, Turn::Exhausted) => Progress::Unfinished,
            _ => Progress::Waiting,
        })
    }
}

enum Turn {
    Blocked,
    Exhausted,
}

/// Bytes on their way from one socket to the other.
#[derive(Default)]
struct Direction {
    /// Read but not yet taken by the sink; nothing more is read until it is empty.
    pending: Vec<u8>,
    written: usize,
    source_ended: bool,
    /// The end was passed on.
    finished: bool,
}

impl Direction {
    /// Moves bytes until a socket blocks (its next edge brings us back), the source ends, or the share is
    /// used up.
    fn pump(&mut self, mut source: &TcpStream, sink: &TcpStream, buffer: &mut [u8]) -> io::Result<Turn> {
        let mut moved = 0;
        while moved < SHARE {
            if !self.flush(sink)? {
                return Ok(Turn::Blocked);
            }
            if self.source_ended {
                if !self.finished {
                    self.finished = true;
                    match sink.shutdown(Shutdown::Write) {
                        Err(error) if error.kind() != ErrorKind::NotConnected => return Err(error),
                        _ => {}
                    }
                }
                return Ok(Turn::Blocked);
            }
            match source.read(buffer) {
                Ok(0) => self.source_ended = true,
                Ok(length) => {
                    moved += length;
                    let taken = write_some(sink, &buffer[..length])?;
                    self.pending.extend_from_slice(&buffer[taken..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Turn::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Turn::Exhausted)
    }

    /// Whether the sink has taken everything that was read.
    fn flush(&mut self, sink: &TcpStream) -> io::Result<bool> {
        while self.written < self.pending.len() {
            let taken = write_some(sink, &self.pending[self.written..])?;
            if taken == 0 {
                return Ok(false);
            }
            self.written += taken;
        }
        // Frees the memory: most connections never need it again.
        self.pending = Vec::new();
        self.written = 0;
        Ok(true)
    }
}

/// Writes as much as the sink takes now; 0 if it takes nothing.
fn write_some(mut sink: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(taken) => return Ok(taken),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
