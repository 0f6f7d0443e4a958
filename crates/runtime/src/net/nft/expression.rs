//! The steps of a rule.

use std::net::Ipv4Addr;

use super::super::netlink::Attributes;
use super::super::subnet::Subnet;
use super::{LIST_ELEMENT, NAME, VALUE};

const DATA: u16 = 2;
const VERDICT: u16 = 2;

/// First and further 32-bit registers; register 1 is 16 bytes long and lies over the first four of them.
pub(in crate::net) const REGISTER_0: u32 = 8;
pub(in crate::net) const REGISTER_1: u32 = 9;
pub(in crate::net) const REGISTER_2: u32 = 10;
const WIDE: u32 = 1;

const NAME_LEN: usize = 16;

/// Where a base chain is hooked in: `NF_INET_*`.
#[derive(Clone, Copy)]
pub(in crate::net) enum Hook {
    Prerouting = 0,
    Output = 3,
    Postrouting = 4,
}

/// What a matching packet meets.
#[derive(Clone, Copy)]
pub(in crate::net) enum Verdict {
    Drop = 0,
    Accept = 1,
    Return = -5,
}

/// One step of a rule. A comparison that does not hold, and a look-up that finds nothing, end the rule.
pub(in crate::net) enum Expression<'a> {
    /// The packet came in by (or, negated, by any other than) this interface.
    InputInterface { name: &'a str, is: bool },
    /// The packet leaves by (or by any other than) this interface.
    OutputInterface { name: &'a str, is: bool },
    /// The source address lies in the network.
    Source(Subnet),
    /// The destination address lies in the network.
    Destination(Subnet),
    /// The destination is not this address.
    DestinationIsNot(Ipv4Addr),
    /// The destination is an address of this host.
    DestinationIsLocal,
    /// Loads the destination address.
    LoadDestination { register: u32 },
    /// Loads the transport protocol's number.
    LoadProtocol { register: u32 },
    /// Loads the destination port.
    LoadPort { register: u32 },
    /// Replaces the registers from `register` on by what `map` has for them.
    Lookup { map: &'a str, register: u32 },
    /// Rewrites the destination to the address and the port in the two registers.
    Dnat { address: u32, port: u32 },
    /// Rewrites the source to the leaving interface's address.
    Masquerade,
    /// Counts packets and bytes.
    Counter,
    /// Ends the evaluation.
    Verdict(Verdict),
}

impl Expression<'_> {
    pub(super) fn encode(&self, rule: &mut Attributes<'_>) {
        match self {
            Self::InputInterface { name, is } => compare_interface(rule, 6, name, *is),
            Self::OutputInterface { name, is } => compare_interface(rule, 7, name, *is),
            Self::Source(subnet) => compare_subnet(rule, 12, *subnet),
            Self::Destination(subnet) => compare_subnet(rule, 16, *subnet),
            Self::DestinationIsNot(address) => {
                payload(rule, 1, 16, 4, WIDE);
                compare(rule, false, &address.octets());
            }
            Self::DestinationIsLocal => {
                // fib daddr type: result 3 is the address type, flag 2 the destination (1 would be the
                // source).
                element(rule, "fib", |e| {
                    e.big_endian(1, WIDE).big_endian(2, 3).big_endian(3, 2);
                });
                const RTN_LOCAL: u32 = 2;
                compare(rule, true, &RTN_LOCAL.to_ne_bytes());
            }
            Self::LoadDestination { register } => payload(rule, 1, 16, 4, *register),
            Self::LoadProtocol { register } => meta(rule, 16, *register),
            Self::LoadPort { register } => payload(rule, 2, 2, 2, *register),
            Self::Lookup { map, register } => element(rule, "lookup", |e| {
                e.text(1, map).big_endian(2, *register).big_endian(3, REGISTER_0);
            }),
            Self::Dnat { address, port } => element(rule, "nat", |e| {
                const DNAT: u32 = 1;
                const NFPROTO_IPV4: u32 = 2;
                e.big_endian(1, DNAT)
                    .big_endian(2, NFPROTO_IPV4)
                    .big_endian(3, *address)
                    .big_endian(5, *port);
            }),
            Self::Masquerade => element(rule, "masq", |_| {}),
            Self::Counter => element(rule, "counter", |_| {}),
            Self::Verdict(verdict) => element(rule, "immediate", |e| {
                e.big_endian(1, 0).nested(2, |data| {
                    data.nested(VERDICT, |code| {
                        code.big_endian(1, (*verdict as i32).cast_unsigned());
                    });
                });
            }),
        }
    }
}

fn element(rule: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    rule.nested(LIST_ELEMENT, |expression| {
        expression.text(NAME, name).nested(DATA, fill);
    });
}

fn meta(rule: &mut Attributes<'_>, key: u32, register: u32) {
    element(rule, "meta", |e| {
        e.big_endian(1, register).big_endian(2, key);
    });
}

/// `base` 1 is the network header, 2 the transport header.
fn payload(rule: &mut Attributes<'_>, base: u32, offset: u32, length: u32, register: u32) {
    element(rule, "payload", |e| {
        e.big_endian(1, register).big_endian(2, base).big_endian(3, offset).big_endian(4, length);
    });
}

fn compare(rule: &mut Attributes<'_>, equal: bool, value: &[u8]) {
    element(rule, "cmp", |e| {
        e.big_endian(1, WIDE).big_endian(2, u32::from(!equal)).nested(3, |data| {
            data.bytes(VALUE, value);
        });
    });
}

fn compare_interface(rule: &mut Attributes<'_>, key: u32, name: &str, equal: bool) {
    let mut padded = [0; NAME_LEN];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    meta(rule, key, WIDE);
    compare(rule, equal, &padded);
}

fn compare_subnet(rule: &mut Attributes<'_>, offset: u32, subnet: Subnet) {
    payload(rule, 1, offset, 4, WIDE);
    element(rule, "bitwise", |e| {
        e.big_endian(1, WIDE).big_endian(2, WIDE).big_endian(3, 4);
        e.nested(4, |mask| {
            mask.bytes(VALUE, &subnet.mask().octets());
        });
        e.nested(5, |xor| {
            xor.bytes(VALUE, &[0; 4]);
        });
    });
    compare(rule, true, &subnet.network().octets());
}
