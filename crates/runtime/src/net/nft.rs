//! nf_tables messages: tables, chains, rules, maps (`spec/executor.md` F). Every integer is big-endian.

mod expression;

use rustix::io::Errno;

use super::NetError;
use super::netlink::{
    ACK, APPEND, Attributes, Batch, CREATE, DUMP, EXCL, Refusal, Socket, attribute, attributes, read_text,
};
pub(super) use expression::{Expression, Hook, REGISTER_0, REGISTER_1, REGISTER_2, Verdict};

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
const GETGEN: u16 = SUBSYSTEM | 16;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const HEADER: usize = 4;
/// `nfgenmsg` of the address family `ip`, which all our tables have.
const FAMILY_IP: [u8; HEADER] = [2, 0, 0, 0];
const BATCH_HEADER: [u8; HEADER] = [0, 0, 0, 10];

const NAME: u16 = 1;
const LIST_ELEMENT: u16 = 1;
const VALUE: u16 = 1;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_HANDLE: u16 = 3;
const RULE_USERDATA: u16 = 7;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;

/// An nf_tables transaction: all of it happens, or none.
pub(super) struct Transaction(Batch);

impl Transaction {
    pub(super) fn new() -> Self {
        Self::begin(|_| {})
    }

    /// A transaction that is refused with `ERESTART` if anything was committed since `generation` was read.
    pub(super) fn at(generation: Generation) -> Self {
        const BATCH_GENERATION: u16 = 1;
        Self::begin(|message| {
            message.big_endian(BATCH_GENERATION, generation.0);
        })
    }

    fn begin(fill: impl FnOnce(&mut Attributes<'_>)) -> Self {
        let mut batch = Batch::new();
        batch.push("begin an nf_tables transaction", BATCH_BEGIN, 0, &BATCH_HEADER, fill);
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

/// How many transactions the kernel has seen: to be read before what a transaction is based on.
#[derive(Clone, Copy)]
pub(super) struct Generation(u32);

/// The present generation.
pub(super) fn generation(socket: &Socket) -> Result<Generation, NetError> {
    let mut found = None;
    socket.query(
        "read the nftables generation",
        GETGEN,
        0,
        &FAMILY_IP,
        |_| {},
        |body| {
            let number =
                body.get(HEADER..).and_then(|rest| attribute(rest, 1)).and_then(|id| id.try_into().ok());
            found = found.or(number.map(|number| Generation(u32::from_be_bytes(number))));
        },
    )?;
    // A kernel that answers without a number does not check it either.
    Ok(found.unwrap_or(Generation(0)))
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
