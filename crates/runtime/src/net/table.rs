//! A bridge's own nftables table: masquerading, and maps that lead from host ports to containers
//! (`spec/executor.md` F).
//!
//! Packets that come from the bridge itself are not redirected: the proxy serves them. So a container that
//! calls its own published port needs no hairpin mode on its bridge port, whether or not `br_netfilter` is
//! loaded.

use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::io::Errno;

use super::NetError;
use super::netlink::{Refusal, Socket};
use super::nft::{
    self, Expression, FieldTypes, Hook, REGISTER_0, REGISTER_1, REGISTER_2, Transaction, Verdict,
};
use super::ports::Protocol;
use super::subnet::Subnet;

const PORTS: &str = "ports";
const ADDRESS_PORTS: &str = "address_ports";

/// The name of the table of bridge `bridge`.
pub(super) fn name(bridge: &str) -> String {
    format!("strata-{bridge}")
}

/// A host port that leads to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forward {
    /// `None` is every address of the host.
    pub(super) host_ip: Option<Ipv4Addr>,
    pub(super) host_port: u16,
    pub(super) protocol: Protocol,
    pub(super) container: SocketAddrV4,
}

impl Forward {
    fn map(&self) -> &'static str {
        if self.host_ip.is_some() { ADDRESS_PORTS } else { PORTS }
    }

    fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(12);
        key.extend(self.host_ip.iter().flat_map(Ipv4Addr::octets));
        key.extend([self.protocol.number(), 0, 0, 0]);
        key.extend(self.host_port.to_be_bytes());
        key.extend([0, 0]);
        key
    }

    fn data(&self) -> Vec<u8> {
        let mut data = self.container.ip().octets().to_vec();
        data.extend(self.container.port().to_be_bytes());
        data.extend([0, 0]);
        data
    }
}

/// Creates the table anew, without any forward; one that exists is replaced in the same instant.
pub(super) fn build(socket: &Socket, bridge: &str, subnet: Subnet) -> Result<(), Refusal> {
    use Expression as E;
    let table = name(bridge);
    let from_bridge = E::InputInterface { name: bridge, is: true };
    let mut transaction = Transaction::new();
    transaction.add_table(&table).delete_table(&table).add_table(&table);
    transaction.add_map(&table, PORTS, 1, FieldTypes::PROTOCOL_PORT, FieldTypes::ADDRESS_PORT);
    transaction.add_map(
        &table,
        ADDRESS_PORTS,
        2,
        FieldTypes::ADDRESS_PROTOCOL_PORT,
        FieldTypes::ADDRESS_PORT,
    );

    // Container addresses are reached through published ports, not by a route that a neighbour gives itself.
    transaction.add_chain(&table, "raw", "filter", Hook::Prerouting, -300).append_rule(
        &table,
        "raw",
        &[
            E::Destination(subnet),
            E::DestinationIsNot(subnet.gateway()),
            E::InputInterface { name: bridge, is: false },
            E::InputInterface { name: "lo", is: false },
            E::Counter,
            E::Verdict(Verdict::Drop),
        ],
    );
    transaction.add_chain(&table, "prerouting", "nat", Hook::Prerouting, -100);
    transaction.append_rule(&table, "prerouting", &[from_bridge, E::Verdict(Verdict::Return)]);
    transaction.add_chain(&table, "output", "nat", Hook::Output, -100);
    // A packet from 127.0.0.1 may not leave by the bridge; the proxy serves the loopback addresses.
    let loopback = E::Destination(Subnet::containing(Ipv4Addr::LOCALHOST, 8));
    transaction.append_rule(&table, "output", &[loopback, E::Verdict(Verdict::Return)]);
    for chain in ["prerouting", "output"] {
        transaction.append_rule(
            &table,
            chain,
            &[
                E::DestinationIsLocal,
                E::LoadDestination { register: REGISTER_0 },
                E::LoadProtocol { register: REGISTER_1 },
                E::LoadPort { register: REGISTER_2 },
                E::Lookup { map: ADDRESS_PORTS, register: REGISTER_0 },
                E::Dnat { address: REGISTER_0, port: REGISTER_1 },
            ],
        );
        transaction.append_rule(
            &table,
            chain,
            &[
                E::DestinationIsLocal,
                E::LoadProtocol { register: REGISTER_0 },
                E::LoadPort { register: REGISTER_1 },
                E::Lookup { map: PORTS, register: REGISTER_0 },
                E::Dnat { address: REGISTER_0, port: REGISTER_1 },
            ],
        );
    }
    transaction.add_chain(&table, "postrouting", "nat", Hook::Postrouting, 100).append_rule(
        &table,
        "postrouting",
        &[E::Source(subnet), E::OutputInterface { name: bridge, is: false }, E::Masquerade],
    );
    transaction.commit(socket)
}

/// Removes the table; nothing happens if there is none.
pub(super) fn remove(socket: &Socket, bridge: &str) -> Result<(), Refusal> {
    let mut transaction = Transaction::new();
    transaction.delete_table(&name(bridge));
    match transaction.commit(socket) {
        Err(Refusal { errno: Errno::NOENT, .. }) => Ok(()),
        other => other,
    }
}

/// Adds the forwards, all or none; `EEXIST` if one of the host ports leads somewhere already.
pub(super) fn add(socket: &Socket, bridge: &str, forwards: &[Forward]) -> Result<(), Refusal> {
    if forwards.is_empty() {
        return Ok(());
    }
    let table = name(bridge);
    let mut transaction = Transaction::new();
    for forward in forwards {
        transaction.add_element(&table, forward.map(), &forward.key(), &forward.data());
    }
    transaction.commit(socket)
}

/// Removes the forwards that still lead where they are said to lead.
pub(super) fn delete(socket: &Socket, bridge: &str, forwards: &[Forward]) -> Result<(), NetError> {
    if forwards.is_empty() {
        return Ok(());
    }
    // Another process may have swept one of them: a transaction with an unknown key would remove none.
    let ours = |key: &[u8], data: &[u8]| {
        forwards.iter().any(|forward| forward.key() == key && forward.data() == data)
    };
    delete_matching(socket, bridge, || Ok(ours)).map(|_| ())
}

/// Removes every forward to a container address that is stale; returns their number. `judge` is asked for the
/// judgement again when something was committed meanwhile.
pub(super) fn delete_stale<J: Fn(Ipv4Addr) -> bool>(
    socket: &Socket,
    bridge: &str,
    judge: impl Fn() -> Result<J, NetError>,
) -> Result<usize, NetError> {
    delete_matching(socket, bridge, || {
        let stale = judge()?;
        Ok(move |_: &[u8], data: &[u8]| {
            data.first_chunk::<4>().is_some_and(|address| stale(Ipv4Addr::from(*address)))
        })
    })
}

fn delete_matching<M: Fn(&[u8], &[u8]) -> bool>(
    socket: &Socket,
    bridge: &str,
    matcher: impl Fn() -> Result<M, NetError>,
) -> Result<usize, NetError> {
    // Each failure is another process's success, so this is never reached by a host that makes progress.
    const ATTEMPTS: usize = 200;
    let table = name(bridge);
    for attempt in 1.. {
        // Without the generation, a key that was freed and taken again meanwhile would be taken from its new
        // owner.
        let mut transaction = Transaction::at(nft::generation(socket)?);
        let matches = matcher()?;
        let mut count = 0;
        for map in [PORTS, ADDRESS_PORTS] {
            let elements = nft::elements(socket, &table, map)?.into_iter();
            let keys: Vec<_> =
                elements.filter(|(key, data)| matches(key, data)).map(|(key, _)| key).collect();
            transaction.delete_elements(&table, map, &keys);
            count += keys.len();
        }
        if count == 0 {
            return Ok(0);
        }
        match transaction.commit(socket) {
            Ok(()) => return Ok(count),
            Err(Refusal { errno: Errno::RESTART | Errno::NOENT, .. }) if attempt < ATTEMPTS => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Ok(0)
}
