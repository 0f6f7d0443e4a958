//! Netlink messages in and out: a small encoder, one blocking socket, acknowledgements matched by sequence
//! number.
//!
//! Several messages travel in one send; each asks for an acknowledgement, and the first refusal is reported
//! with the action it belongs to. A socket acts on the network namespace of the thread that opened it, for
//! ever.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with, sockopt,
};

use super::NetError;

pub(super) const REQUEST: u16 = 0x01;
pub(super) const ACK: u16 = 0x04;
pub(super) const DUMP: u16 = 0x300;
pub(super) const EXCL: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;

const HEADER_LEN: usize = 16;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
/// Set on the answers of a dump during which the dumped objects changed.
const DUMP_INTERRUPTED: u16 = 0x10;
/// On a host that never rests, the last dump is taken as it is.
const DUMP_ATTEMPTS: usize = 10;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;
/// The kernel fills at most 32 KiB per dump datagram; twice that leaves room for a large single answer.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// The kernel answers within the send; only a lost answer lets a receive wait at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Attributes of one message, appended in order.
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length =
            u16::try_from(value.len() + 4).expect("attributes are built here and stay far below 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        pad(self.0);
        self
    }

    pub(super) fn byte(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// A big-endian number, as every nf_tables attribute wants it.
    pub(super) fn big_endian(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A string with its terminating zero.
    pub(super) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut terminated = Vec::with_capacity(value.len() + 1);
        terminated.extend_from_slice(value.as_bytes());
        terminated.push(0);
        self.bytes(kind, &terminated)
    }

    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.nested_after(kind, &[], fill)
    }

    /// A nested attribute whose attributes follow a fixed structure (`VETH_INFO_PEER`).
    pub(super) fn nested_after(
        &mut self,
        kind: u16,
        fixed: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        self.0.extend_from_slice(fixed);
        pad(self.0);
        fill(&mut Attributes(self.0));
        let length =
            u16::try_from(self.0.len() - start).expect("attributes are built here and stay far below 64 KiB");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
        self
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

struct Sent {
    offset: usize,
    acknowledged: bool,
    action: String,
}

/// Messages to be sent together, in order.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    messages: Vec<Sent>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Appends a message; `action` completes "cannot ..." if the kernel refuses it.
    pub(super) fn push(
        &mut self,
        action: impl Into<String>,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) -> &mut Self {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_LEN]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        fill(&mut Attributes(&mut self.bytes));
        let length =
            u32::try_from(self.bytes.len() - offset).expect("a message is built here and stays below 4 GiB");
        self.bytes[offset..offset + 4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[offset + 4..offset + 6].copy_from_slice(&kind.to_ne_bytes());
        self.bytes[offset + 6..offset + 8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.messages.push(Sent { offset, acknowledged: flags & ACK != 0, action: action.into() });
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn number_from(&mut self, first: u32) {
        for (sequence, message) in (first..).zip(&self.messages) {
            let at = message.offset + 8;
            self.bytes[at..at + 4].copy_from_slice(&sequence.to_ne_bytes());
        }
    }
}

/// The kernel's refusal of one message of a batch.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) action: String,
    pub(super) errno: Errno,
}

impl From<Refusal> for NetError {
    fn from(refusal: Refusal) -> Self {
        NetError::Kernel { action: refusal.action, source: refusal.errno.into() }
    }
}

/// A netlink socket, bound to the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    /// The next sequence number. Held while a question is open, so that two threads do not take each other's
    /// answers.
    sequence: Mutex<u32>,
}

impl Socket {
    pub(super) fn route() -> Result<Self, NetError> {
        Self::open(None, "open a route netlink socket")
    }

    pub(super) fn netfilter() -> Result<Self, NetError> {
        Self::open(Some(netlink::NETFILTER), "open a netfilter netlink socket")
    }

    fn open(protocol: Option<rustix::net::Protocol>, action: &str) -> Result<Self, NetError> {
        let open = || -> rustix::io::Result<OwnedFd> {
            let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
            bind(&fd, &SocketAddrNetlink::new(0, 0))?;
            sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))?;
            Ok(fd)
        };
        let fd =
            open().map_err(|errno| NetError::Kernel { action: action.to_owned(), source: errno.into() })?;
        Ok(Self { fd, sequence: Mutex::new(1) })
    }

    /// Sends the batch in one piece and waits for every acknowledgement. The first refusal, in the order of
    /// the messages, is the error; the kernel still runs route messages after a refused one, and none of a
    /// refused nf_tables batch.
    pub(super) fn execute(&self, mut batch: Batch) -> Result<(), Refusal> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut next = self.turn();
        let first = *next;
        batch.number_from(first);
        *next = first.wrapping_add(u32::try_from(batch.messages.len()).unwrap_or(u32::MAX));
        self.transmit(&batch.bytes)
            .map_err(|errno| Refusal { action: batch.messages[0].action.clone(), errno })?;

        let mut missing = batch.messages.iter().filter(|message| message.acknowledged).count();
        let mut refused: Option<(usize, Errno)> = None;
        while missing > 0 {
            let answers = self.receive();
            let answers =
                answers.map_err(|errno| Refusal { action: batch.messages[0].action.clone(), errno })?;
            for answer in messages(&answers).filter(|answer| answer.kind == TYPE_ERROR) {
                let Some(position) = answer.sequence.checked_sub(first).map(|offset| offset as usize) else {
                    continue;
                };
                let Some(message) = batch.messages.get(position) else { continue };
                if let Some(errno) = error_code(answer.body)
                    && refused.is_none_or(|(earlier, _)| position < earlier)
                {
                    refused = Some((position, errno));
                }
                if !message.acknowledged {
                    // A refused batch frame (no permission, no nf_tables): nothing else is answered.
                    missing = 0;
                    break;
                }
                missing = missing.saturating_sub(1);
            }
        }
        match refused {
            None => Ok(()),
            Some((position, errno)) => {
                Err(Refusal { action: batch.messages.swap_remove(position).action, errno })
            }
        }
    }

    /// Asks for one object, or dumps many (`flags` has [`DUMP`]), and hands each answer's body to `each`.
    pub(super) fn query(
        &self,
        action: &str,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
        each: impl FnMut(&[u8]),
    ) -> Result<(), Refusal> {
        let mut batch = Batch::new();
        // The acknowledgement ends the answer to a single question, as DONE ends a dump.
        batch.push(action, kind, flags | ACK, fixed, fill);
        for attempt in 1.. {
            let mut answers = Vec::new();
            let whole = self
                .ask(&mut batch, &mut answers)
                .map_err(|errno| Refusal { action: action.to_owned(), errno })?;
            if whole || attempt == DUMP_ATTEMPTS {
                answers.iter().map(Vec::as_slice).for_each(each);
                break;
            }
        }
        Ok(())
    }

    /// Sends the one question and collects the answers' bodies; `false` if the objects changed during a dump,
    /// which may then lack some that exist.
    fn ask(&self, question: &mut Batch, answers: &mut Vec<Vec<u8>>) -> Result<bool, Errno> {
        let mut next = self.turn();
        let sequence = *next;
        question.number_from(sequence);
        *next = sequence.wrapping_add(1);
        self.transmit(&question.bytes)?;
        let mut whole = true;
        loop {
            let received = self.receive()?;
            for answer in messages(&received).filter(|answer| answer.sequence == sequence) {
                whole &= answer.flags & DUMP_INTERRUPTED == 0;
                match answer.kind {
                    TYPE_DONE => return Ok(whole),
                    TYPE_ERROR => return error_code(answer.body).map_or(Ok(whole), Err),
                    _ => answers.push(answer.body.to_vec()),
                }
            }
        }
    }

    fn turn(&self) -> MutexGuard<'_, u32> {
        // A number is valid whatever happened to the thread that took the one before it.
        self.sequence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transmit(&self, bytes: &[u8]) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| send(&self.fd, bytes, SendFlags::empty())).map(|_| ())
    }

    fn receive(&self) -> Result<Vec<u8>, Errno> {
        let mut buffer = vec![0_u8; RECEIVE_BUFFER];
        let (_, length) = rustix::io::retry_on_intr(|| recv(&self.fd, &mut buffer[..], RecvFlags::TRUNC))?;
        if length > buffer.len() {
            return Err(Errno::MSGSIZE);
        }
        buffer.truncate(length);
        Ok(buffer)
    }
}

struct Answer<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let length = read_u32(bytes, 0)? as usize;
        if length < HEADER_LEN || length > bytes.len() {
            return None;
        }
        let answer = Answer {
            kind: read_u16(bytes, 4)?,
            flags: read_u16(bytes, 6)?,
            sequence: read_u32(bytes, 8)?,
            body: &bytes[HEADER_LEN..length],
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    })
}

/// The error of an acknowledgement; `None` is success.
fn error_code(body: &[u8]) -> Option<Errno> {
    let code = read_u32(body, 0)?.cast_signed();
    (code != 0).then(|| Errno::from_io_error(&io::Error::from_raw_os_error(-code)).unwrap_or(Errno::IO))
}

/// The attributes in `bytes`, as (type without flag bits, value).
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = read_u16(bytes, 0)? as usize;
        if length < 4 || length > bytes.len() {
            return None;
        }
        let attribute = (read_u16(bytes, 2)? & TYPE_MASK, &bytes[4..length]);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

/// The first attribute of type `kind` in `bytes`.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

pub(super) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A string attribute without its terminating zero.
pub(super) fn read_text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}
