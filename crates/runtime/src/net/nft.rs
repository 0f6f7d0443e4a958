//! nf_tables messages: tables, chains, rules, maps (`spec/executor.md` F). Every integer is big-endian.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::NetError;
use super::netlink::{
    ACK, APPEND, Attributes, Batch, CREATE, DUMP, EXCL, Refusal, Socket, attribute, attributes, read_text,
};
use super::subnet::Subnet;

const SUBSYSTEM: u16 = 10 << 8;
const NEWTABLE: u16 = SUBSYSTEM;
const GETTABLE: u16 = SUBSYSTEM | 1;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
const GETCHAIN: u16 = SUBSYSTEM | 4;
const NEWRULE: u16 = SUBSYSTEM | 6;
const GETRULE: u16 = SUBSYSTEM | 7;
const DELRULE: u16 = SUBSYSTEM | 8;
const NEWSET: u16 = SUBSYSTEM | 9;
const NEWSETELEM: u16 = SUBSYSTEM | 12;
const GETSETELEM: u16 = SUBSYSTEM | 13;
const DELSETELEM: u16 = SUBSYSTEM | 14;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const HEADER: usize = 4;
/// `nfgenmsg` of the address family `ip`, which all our tables have.
const FAMILY_IP: [u8; HEADER] = [2, 0, 0, 0];
const BATCH_HEADER: [u8; HEADER] = [0, 0, 0, 10];

const NAME: u16 = 1;
const DATA: u16 = 2;
const LIST_ELEMENT: u16 = 1;
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_HANDLE: u16 = 3;
const RULE_USERDATA: u16 = 7;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;

/// First and further 32-bit registers; register 1 is 16 bytes long and lies over the first four of them.
pub(super) const REGISTER_0: u32 = 8;
pub(super) const REGISTER_1: u32 = 9;
pub(super) const REGISTER_2: u32 = 10;
const WIDE: u32 = 1;

const NAME_LEN: usize = 16;

/// Where a base chain is hooked in: `NF_INET_*`.
#[derive(Clone, Copy)]
pub(super) enum Hook {
    Prerouting = 0,
    Output = 3,
    Postrouting = 4,
}

/// What a matching packet meets.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    Drop = 0,
    Accept = 1,
    Return = -5,
}

/// One step of a rule. A comparison that does not hold, and a look-up that finds nothing, end the rule.
pub(super) enum Expression<'a> {
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
    fn encode(&self, rule: &mut Attributes<'_>) {
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
                // fib daddr type: result 3 is the address type, flag 2 the destination (1 would be the source).
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

/// An nf_tables transaction: all of it happens, or none.
pub(super) struct Transaction(Batch);

impl Transaction {
    pub(super) fn new() -> Self {
        let mut batch = Batch::new();
        batch.push("begin an nf_tables transaction", BATCH_BEGIN, 0, &BATCH_HEADER, |_| {});
        Self(batch)
    }

    pub(super) fn commit(mut self, socket: &Socket) -> Result<(), Refusal> {
        self.0.push("commit an nf_tables transaction", BATCH_END, 0, &BATCH_HEADER, |_| {});
        socket.execute(self.0)
    }

    /// Creates a table, or does nothing if it exists.
    pub(super) fn add_table(&mut self, table: &str) -> &mut Self {
        self.push(format!("create nftables table {table}"), NEWTABLE, CREATE, |message| {
            message.text(NAME, table);
        })
    }

    pub(super) fn delete_table(&mut self, table: &str) -> &mut Self {
        self.push(format!("delete nftables table {table}"), DELTABLE, 0, |message| {
            message.text(NAME, table);
        })
    }

    /// Adds a base chain of type `nat` or `filter` with the policy "accept".
    pub(super) fn add_chain(
        &mut self,
        table: &str,
        chain: &str,
        kind: &str,
        hook: Hook,
        priority: i32,
    ) -> &mut Self {
        self.push(format!("create nftables chain {table} {chain}"), NEWCHAIN, CREATE, |message| {
            message.text(NAME, table).text(CHAIN_NAME, chain);
            message.nested(CHAIN_HOOK, |place| {
                place.big_endian(1, hook as u32).big_endian(2, priority.cast_unsigned());
            });
            message.big_endian(CHAIN_POLICY, Verdict::Accept as u32).text(CHAIN_TYPE, kind);
        })
    }

    /// Appends a rule to a chain.
    pub(super) fn append_rule(&mut self, table: &str, chain: &str, steps: &[Expression<'_>]) -> &mut Self {
        self.rule(table, chain, APPEND, &[], steps)
    }

    /// Puts a rule in front of all others; `tag` marks it as ours.
    pub(super) fn insert_rule(
        &mut self,
        table: &str,
        chain: &str,
        tag: &[u8],
        steps: &[Expression<'_>],
    ) -> &mut Self {
        self.rule(table, chain, 0, tag, steps)
    }

    fn rule(
        &mut self,
        table: &str,
        chain: &str,
        place: u16,
        tag: &[u8],
        steps: &[Expression<'_>],
    ) -> &mut Self {
        self.push(
            format!("add a rule to nftables chain {table} {chain}"),
            NEWRULE,
            CREATE | place,
            |message| {
                message.text(1, table).text(2, chain).nested(RULE_EXPRESSIONS, |rule| {
                    for step in steps {
                        step.encode(rule);
                    }
                });
                if !tag.is_empty() {
                    message.bytes(RULE_USERDATA, tag);
                }
            },
        )
    }

    pub(super) fn delete_rule(&mut self, table: &str, chain: &str, handle: u64) -> &mut Self {
        self.push(format!("delete a rule of nftables chain {table} {chain}"), DELRULE, 0, |message| {
            message.text(1, table).text(2, chain).bytes(RULE_HANDLE, &handle.to_be_bytes());
        })
    }

    /// Creates a map; `id` names it within the transaction.
    pub(super) fn add_map(
        &mut self,
        table: &str,
        map: &str,
        id: u32,
        key: FieldTypes,
        data: FieldTypes,
    ) -> &mut Self {
        self.push(format!("create nftables map {table} {map}"), NEWSET, CREATE, |message| {
            const FLAG_MAP: u32 = 8;
            message.text(1, table).text(2, map).big_endian(3, FLAG_MAP);
            message.big_endian(4, key.number()).big_endian(5, key.length());
            message.big_endian(6, data.number()).big_endian(7, data.length()).big_endian(10, id);
        })
    }

    /// Adds an element; `EEXIST` if the key is there.
    pub(super) fn add_element(&mut self, table: &str, map: &str, key: &[u8], data: &[u8]) -> &mut Self {
        let action = format!("add an element to nftables map {table} {map}");
        self.push(action, NEWSETELEM, CREATE | EXCL, |message| {
            message.text(1, table).text(2, map).nested(3, |elements| {
                elements.nested(LIST_ELEMENT, |element| {
                    element.nested(1, |value| {
                        value.bytes(VALUE, key);
                    });
                    element.nested(2, |value| {
                        value.bytes(VALUE, data);
                    });
                });
            });
        })
    }

    /// Removes elements; `ENOENT` if one of the keys is not there.
    pub(super) fn delete_elements(&mut self, table: &str, map: &str, keys: &[Vec<u8>]) -> &mut Self {
        // An attribute is at most 64 KiB long, an element here at most 24 bytes.
        for some in keys.chunks(1024) {
            let action = format!("remove elements of nftables map {table} {map}");
            self.push(action, DELSETELEM, 0, |message| {
                message.text(1, table).text(2, map).nested(3, |elements| {
                    for key in some {
                        elements.nested(LIST_ELEMENT, |element| {
                            element.nested(1, |value| {
                                value.bytes(VALUE, key);
                            });
                        });
                    }
                });
            });
        }
        self
    }

    fn push(
        &mut self,
        action: String,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) -> &mut Self {
        self.0.push(action, kind, flags | ACK, &FAMILY_IP, fill);
        self
    }
}

/// The fields of a map's key or data, which tools need to print it; each takes four bytes.
#[derive(Clone, Copy)]
pub(super) struct FieldTypes(&'static [u32]);

impl FieldTypes {
    pub(super) const PROTOCOL_PORT: Self = Self(&[Self::PROTOCOL, Self::PORT]);
    pub(super) const ADDRESS_PROTOCOL_PORT: Self = Self(&[Self::ADDRESS, Self::PROTOCOL, Self::PORT]);
    pub(super) const ADDRESS_PORT: Self = Self(&[Self::ADDRESS, Self::PORT]);
    const ADDRESS: u32 = 7;
    const PROTOCOL: u32 = 12;
    const PORT: u32 = 13;

    fn number(self) -> u32 {
        self.0.iter().fold(0, |number, field| number << 6 | field)
    }

    fn length(self) -> u32 {
        self.0.iter().map(|_| 4).sum()
    }
}

/// Whether the table exists.
pub(super) fn table_exists(socket: &Socket, table: &str) -> Result<bool, NetError> {
    let action = format!("look for nftables table {table}");
    match socket.query(
        &action,
        GETTABLE,
        0,
        &FAMILY_IP,
        |message| {
            message.text(NAME, table);
        },
        |_| {},
    ) {
        Ok(()) => Ok(true),
        Err(Refusal { errno: Errno::NOENT, .. }) => Ok(false),
        Err(refusal) => Err(refusal.into()),
    }
}

/// A chain found in the kernel.
pub(super) struct Chain {
    pub(super) table: String,
    pub(super) name: String,
    /// The policy is "drop".
    pub(super) drops: bool,
}

/// Every chain of family `ip`.
pub(super) fn chains(socket: &Socket) -> Result<Vec<Chain>, NetError> {
    let mut found = Vec::new();
    socket.query(
        "list the nftables chains",
        GETCHAIN,
        DUMP,
        &FAMILY_IP,
        |_| {},
        |body| {
            let Some(rest) = body.get(HEADER..) else { return };
            if let (Some(table), Some(name)) = (attribute(rest, NAME), attribute(rest, CHAIN_NAME)) {
                let drops = attribute(rest, CHAIN_POLICY) == Some(&[0; 4]);
                found.push(Chain { table: read_text(table), name: read_text(name), drops });
            }
        },
    )?;
    Ok(found)
}

/// The handles of the rules in a chain that carry `tag`; none if the chain does not exist.
pub(super) fn tagged_rules(
    socket: &Socket,
    table: &str,
    chain: &str,
    tag: &[u8],
) -> Result<Vec<u64>, NetError> {
    let mut handles = Vec::new();
    let action = format!("list the rules of nftables chain {table} {chain}");
    let listed = socket.query(
        &action,
        GETRULE,
        DUMP,
        &FAMILY_IP,
        |message| {
            message.text(1, table).text(2, chain);
        },
        |body| {
            let Some(rest) = body.get(HEADER..) else { return };
            if attribute(rest, RULE_USERDATA) == Some(tag)
                && let Some(handle) = attribute(rest, RULE_HANDLE).and_then(|handle| handle.try_into().ok())
            {
                handles.push(u64::from_be_bytes(handle));
            }
        },
    );
    match listed {
        Ok(()) | Err(Refusal { errno: Errno::NOENT, .. }) => Ok(handles),
        Err(refusal) => Err(refusal.into()),
    }
}

/// The key and the data of a map's element.
pub(super) type Element = (Vec<u8>, Vec<u8>);

/// Every element of a map; none if the map does not exist.
pub(super) fn elements(socket: &Socket, table: &str, map: &str) -> Result<Vec<Element>, NetError> {
    let mut found = Vec::new();
    let action = format!("list nftables map {table} {map}");
    let listed = socket.query(
        &action,
        GETSETELEM,
        DUMP,
        &FAMILY_IP,
        |message| {
            message.text(1, table).text(2, map);
        },
        |body| {
            let list = body.get(HEADER..).and_then(|rest| attribute(rest, 3)).unwrap_or_default();
            for (_, element) in attributes(list) {
                let field = |kind| attribute(element, kind).and_then(|value| attribute(value, VALUE));
                if let (Some(key), Some(data)) = (field(1), field(2)) {
                    found.push((key.to_vec(), data.to_vec()));
                }
            }
        },
    );
    match listed {
        Ok(()) | Err(Refusal { errno: Errno::NOENT, .. }) => Ok(found),
        Err(refusal) => Err(refusal.into()),
    }
}
