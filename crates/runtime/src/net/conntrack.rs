//! Forgetting UDP connections that the kernel tracks.
//!
//! Where a packet is redirected to is decided by the first packet of a connection and remembered as long as
//! packets keep coming. A UDP client that never stops sending (syslog, a resolver) would therefore reach a
//! published port never, if it began before, or a dead container for ever. TCP needs no such help: its
//! connections end.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::NetError;
use super::netlink::{ACK, Attributes, Batch, DUMP, Refusal, Socket, attribute};
use super::ports::Protocol;
use super::table::Forward;

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const HEADER: usize = 4;
const FAMILY_IP: [u8; HEADER] = [2, 0, 0, 0];

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const FILTER: u16 = 25;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_SOURCE: u16 = 1;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION_PORT: u16 = 3;
/// Flags of a filter: which fields of its tuple count.
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;
const FILTER_ORIGINAL: u16 = 1;

/// Forgets the connections to the host ports of the UDP forwards that do not lead to their containers: to be
/// called after the forwards were added.
pub(super) fn forget_before(socket: &Socket, forwards: &[Forward]) -> Result<(), NetError> {
    forget(socket, forwards, |forward, target| target != Some(*forward.container.ip()))
}

/// Forgets the connections through the UDP forwards that lead to their containers: to be called after the
/// forwards were removed.
pub(super) fn forget_after(socket: &Socket, forwards: &[Forward]) -> Result<(), NetError> {
    forget(socket, forwards, |forward, target| target == Some(*forward.container.ip()))
}

/// `chosen` sees where a connection leads: the source of its replies.
fn forget(
    socket: &Socket,
    forwards: &[Forward],
    chosen: impl Fn(&Forward, Option<Ipv4Addr>) -> bool,
) -> Result<(), NetError> {
    for forward in forwards.iter().filter(|forward| forward.protocol == Protocol::Udp) {
        let mut found = Vec::new();
        let listed = socket.query(
            "list tracked connections",
            GET,
            DUMP,
            &FAMILY_IP,
            |message| to_port(message, forward.host_port),
            |body| {
                let rest = body.get(HEADER..).unwrap_or_default();
                let target = attribute(rest, TUPLE_REPLY)
                    .and_then(|tuple| attribute(tuple, TUPLE_IP))
                    .and_then(|ip| attribute(ip, IP_SOURCE))
                    .and_then(|source| <[u8; 4]>::try_from(source).ok());
                if chosen(forward, target.map(Ipv4Addr::from))
                    && let (Some(tuple), Some(id)) = (attribute(rest, TUPLE_ORIGINAL), attribute(rest, ID))
                {
                    found.push((tuple.to_vec(), id.to_vec()));
                }
            },
        );
        match listed {
            // A kernel without connection tracking by netlink: its connections time out by themselves.
            Err(Refusal { errno: Errno::INVAL | Errno::OPNOTSUPP | Errno::NOENT, .. }) => return Ok(()),
            other => other?,
        }
        for (tuple, id) in found {
            let mut batch = Batch::new();
            batch.push("forget a tracked connection", DELETE, ACK, &FAMILY_IP, |message| {
                message.nested_after(TUPLE_ORIGINAL, &tuple, |_| {}).bytes(ID, &id);
            });
            match socket.execute(batch) {
                // It ended by itself.
                Ok(()) | Err(Refusal { errno: Errno::NOENT, .. }) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }
    Ok(())
}

/// A filter for UDP connections to `port`, so that the kernel does not list every connection of a busy host.
fn to_port(message: &mut Attributes<'_>, port: u16) {
    message.nested(TUPLE_ORIGINAL, |tuple| {
        tuple.nested(TUPLE_PROTOCOL, |protocol| {
            protocol.byte(PROTOCOL_NUMBER, Protocol::Udp.number());
            protocol.bytes(PROTOCOL_DESTINATION_PORT, &port.to_be_bytes());
        });
    });
    message.nested(FILTER, |filter| {
        filter.number(FILTER_ORIGINAL, BY_PROTOCOL | BY_DESTINATION_PORT);
    });
}
