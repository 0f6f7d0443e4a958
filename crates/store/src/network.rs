//! Addresses and host ports that containers have, across all processes.
use crate::StoreError;
use crate::core::Core;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The tables of addresses and ports. A container's entries go when it exits or is removed.
#[derive(Clone, Debug)]
pub struct Networks {
    core: Arc<Core>,
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// `tcp`, `udp` or `sctp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBinding {
    /// Host address; unspecified for all addresses of its family.
    pub address: IpAddr,
    /// Host port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

impl Networks {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Gives a container an address of a network: `wanted`, or the lowest that is free in `subnet/prefix`.
    /// The network and broadcast addresses and `reserved` (the gateway) are never given.
    pub fn allocate(
        &self,
        network: &str,
        (subnet, prefix): (Ipv4Addr, u8),
        reserved: &[Ipv4Addr],
        wanted: Option<Ipv4Addr>,
        container: &str,
    ) -> Result<Ipv4Addr, StoreError> {
        self.core.db.write(|tx| {
            let address = match wanted {
                Some(address) => free_address(tx, network, address).map(|()| address)?,
                None => lowest_free(tx, network, subnet, prefix, reserved)?,
            };
            tx.prepare_cached("INSERT INTO addresses VALUES(?1, ?2, ?3)")?.execute(params![
                network,
                address.to_string(),
                container
            ])?;
            Ok(address)
        })
    }

    /// Reserves host ports for a container: all of them or none.
    pub fn publish(&self, container: &str, bindings: &[PortBinding]) -> Result<(), StoreError> {
        self.core.db.write(|tx| {
            for binding in bindings {
                free_port(tx, binding)?;
                tx.prepare_cached("INSERT INTO ports VALUES(?1, ?2, ?3, ?4)")?.execute(params![
                    binding.protocol.name(),
                    binding.port,
                    binding.address.to_string(),
                    container
                ])?;
            }
            Ok(())
        })
    }

    /// Takes back everything a container has.
    pub fn release(&self, container: &str) -> Result<(), StoreError> {
        self.core.db.write(|tx| release(tx, container))
    }

    /// The addresses a container has: network and address.
    pub fn addresses(&self, container: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT network, address FROM addresses WHERE container = ?1 ORDER BY network",
            )?;
            Ok(statement
                .query_map([container], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?)
        })
    }

    /// Number of addresses in use in a network: 0 means its bridge can be taken down.
    pub fn users(&self, network: &str) -> Result<u64, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT count(*) FROM addresses WHERE network = ?1")?;
            Ok(statement.query_row([network], |row| row.get(0))?)
        })
    }
}

pub(crate) fn release(tx: &Transaction, container: &str) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM addresses WHERE container = ?1")?.execute([container])?;
    tx.prepare_cached("DELETE FROM ports WHERE container = ?1")?.execute([container])?;
    Ok(())
}

fn free_address(tx: &Transaction, network: &str, address: Ipv4Addr) -> Result<(), StoreError> {
    let text = address.to_string();
    let owner: Option<String> = tx
        .prepare_cached("SELECT container FROM addresses WHERE network = ?1 AND address = ?2")?
        .query_row([network, &text], |row| row.get(0))
        .optional()?;
    let in_use = |container| StoreError::AddressInUse {
        network: network.to_owned(),
        address: text.clone(),
        container,
    };
    owner.map_or(Ok(()), |container| Err(in_use(container)))
}

fn lowest_free(
    tx: &Transaction,
    network: &str,
    subnet: Ipv4Addr,
    prefix: u8,
    reserved: &[Ipv4Addr],
) -> Result<Ipv4Addr, StoreError> {
    let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    let base = subnet.to_bits() & !hosts;
    let taken: std::collections::HashSet<String> = tx
        .prepare_cached("SELECT address FROM addresses WHERE network = ?1")?
        .query_map([network], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let free = |address: &Ipv4Addr| !reserved.contains(address) && !taken.contains(&address.to_string());
    // 0 is the network itself, the last one its broadcast address.
    let found = (1..hosts).map(|host| Ipv4Addr::from_bits(base | host)).find(free);
    found.ok_or_else(|| StoreError::NoFreeAddress {
        network: network.to_owned(),
        subnet: format!("{subnet}/{prefix}"),
    })
}

fn free_port(tx: &Transaction, binding: &PortBinding) -> Result<(), StoreError> {
    let mut statement =
        tx.prepare_cached("SELECT address, container FROM ports WHERE protocol = ?1 AND port = ?2")?;
    let mut rows = statement.query(params![binding.protocol.name(), binding.port])?;
    while let Some(row) = rows.next()? {
        let (address, container): (String, String) = (row.get(0)?, row.get(1)?);
        let other: Option<IpAddr> = address.parse().ok();
        let same_family = other.is_some_and(|other| other.is_ipv4() == binding.address.is_ipv4());
        let overlaps = other.is_some_and(|other| {
            other == binding.address || other.is_unspecified() || binding.address.is_unspecified()
        });
        if same_family && overlaps {
            let address = match binding.address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            return Err(StoreError::PortInUse { address, port: binding.port, container });
        }
    }
    Ok(())
}
