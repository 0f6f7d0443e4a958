//! A store's bridge: made on demand, found again by every process, removed as a whole.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Seek, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::abandoned::{self, is_ours};
use super::netlink::{Batch, Refusal, Socket};
use super::route::{self, Link, Mac};
use super::subnet::{self, Subnet};
use super::{NetError, cable, foreign, namespace, nft, table};

/// IFNAMSIZ without the terminating zero.
const MAX_NAME: usize = 15;
/// How often a subnet is chosen again when another engine took the same one in the same instant.
const SUBNET_ATTEMPTS: usize = 8;

/// Which bridge, and where its record is kept.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// The link's name: at most 15 letters, digits, `-`, `_` and `.`. One per store.
    pub name: String,
    /// A directory of the store's run state, made if missing. It holds the bridge's record (its subnet, so
    /// that a bridge made again after a reboot has the same one), which is also the lock between processes.
    pub state: PathBuf,
}

/// A bridge that exists. Keep one for as long as the process works with containers: it holds a netfilter
/// socket, and the kernel holds up the closing of any such socket while it frees what somebody deleted (about
/// 10 ms).
#[derive(Clone, Debug)]
pub struct Bridge {
    name: String,
    index: u32,
    subnet: Subnet,
    gateway: Ipv4Addr,
    mtu: u32,
    filter: Arc<Socket>,
}

impl PartialEq for Bridge {
    fn eq(&self, other: &Self) -> bool {
        let facts = |bridge: &Self| (bridge.index, bridge.subnet, bridge.gateway, bridge.mtu);
        self.name == other.name && facts(self) == facts(other)
    }
}

impl Eq for Bridge {}

#[derive(Serialize, Deserialize)]
struct Record {
    subnet: String,
}

impl Bridge {
    /// The bridge with its address, its NAT table, IPv4 forwarding, the MTU of the default route, and its two
    /// accept rules in a foreign `FORWARD` chain that drops. What is missing is made; any number of processes
    /// may call this at once.
    ///
    /// IPv4 forwarding is switched on for the host and stays on, also after [`Bridge::remove`]: others may
    /// rely on it by then.
    ///
    /// # Errors
    ///
    /// [`NetError::BridgeName`], [`NetError::NameTaken`], [`NetError::NoFreeSubnet`], or what the kernel
    /// refused.
    pub fn ensure(config: &BridgeConfig) -> Result<Self, NetError> {
        check_name(&config.name)?;
        let route = Socket::route()?;
        let filter = Arc::new(Socket::netfilter()?);
        let mtu = route::uplink_mtu(&route)?;
        let mut bridge = match Self::find_complete(&route, &filter, &config.name)? {
            Some(bridge) => {
                // Without it another store would take the bridge for one that nobody needs.
                fs_err::create_dir_all(&config.state)?;
                bridge
            }
            None => Self::complete(config, &route, &filter, mtu)?,
        };
        if bridge.mtu != mtu {
            let mut batch = Batch::new();
            route::change_link(&mut batch, bridge.index, Some(mtu));
            route.execute(batch)?;
            bridge.mtu = mtu;
        }
        foreign::accept(&filter, &bridge.name)?;
        enable_forwarding()?;
        Ok(bridge)
    }

    /// The bridges of strata in this network namespace, for inspection. One without an address (being made,
    /// or damaged) is left out.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn list() -> Result<Vec<Self>, NetError> {
        let socket = Socket::route()?;
        let filter = Arc::new(Socket::netfilter()?);
        let addresses = route::addresses(&socket)?;
        let ours = route::links(&socket)?.into_iter().filter(is_ours);
        Ok(ours.filter_map(|link| Self::from_link(&link, &addresses, &filter)).collect())
    }

    /// Removes everything that [`Bridge::ensure`], [`Endpoint::attach`](super::Endpoint::attach) and
    /// [`publish`](super::publish) made for this bridge: the table with its forwards, the foreign rules, the
    /// cables of containers that still run, the link, the record. Missing parts are skipped.
    ///
    /// # Errors
    ///
    /// [`NetError::NameTaken`] if the link is not ours (nothing is removed then), or what the kernel refused.
    pub fn remove(config: &BridgeConfig) -> Result<(), NetError> {
        check_name(&config.name)?;
        let mut record = LockedRecord::open(config)?;
        let route = Socket::route()?;
        let link = route::link_named(&route, &config.name)?;
        if link.as_ref().is_some_and(|link| !is_ours(link)) {
            return Err(NetError::NameTaken(config.name.clone()));
        }
        let filter = Socket::netfilter()?;
        foreign::withdraw(&filter, &config.name)?;
        table::remove(&filter, &config.name)?;
        if let Some(bridge) = link {
            let ports = route::links(&route)?.into_iter().filter(|port| port.master == bridge.index);
            for index in ports.map(|port| port.index).chain([bridge.index]) {
                let mut batch = Batch::new();
                route::delete_link(&mut batch, index);
                match route.execute(batch) {
                    // A container ended meanwhile.
                    Ok(()) | Err(Refusal { errno: Errno::NODEV, .. }) => {}
                    Err(refusal) => return Err(refusal.into()),
                }
            }
        }
        record.clear()
    }

    /// Removes the forwards of published ports whose container is gone: what is left when a supervisor was
    /// killed. Returns their number.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn sweep(&self) -> Result<usize, NetError> {
        let route = Socket::route()?;
        table::delete_stale(&self.filter, &self.name, || {
            let alive = cable::addresses(&route, self.index)?;
            Ok(move |address| !alive.contains(&address))
        })
    }

    /// The link's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The subnet of its containers.
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// The bridge's own address: the containers' default gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// The MTU in bytes, which its containers get as well.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }

    /// The netfilter socket of the host's namespace.
    pub(super) fn filter(&self) -> &Socket {
        &self.filter
    }

    pub(super) fn index(&self) -> u32 {
        self.index
    }

    fn from_link(link: &Link, addresses: &[(u32, Ipv4Addr, Subnet)], filter: &Arc<Socket>) -> Option<Self> {
        let (_, gateway, subnet) = *addresses.iter().find(|(index, _, _)| *index == link.index)?;
        let (name, filter) = (link.name.clone(), Arc::clone(filter));
        Some(Self { name, index: link.index, subnet, gateway, mtu: link.mtu, filter })
    }

    /// The bridge, if nothing is missing that needs the lock to be made.
    fn find_complete(route: &Socket, filter: &Arc<Socket>, name: &str) -> Result<Option<Self>, NetError> {
        let Some(link) = route::link_named(route, name)? else { return Ok(None) };
        if link.kind != "bridge" || !is_ours(&link) || !link.up {
            return Ok(None);
        }
        let Some(bridge) = Self::from_link(&link, &route::addresses(route)?, filter) else { return Ok(None) };
        Ok(nft::table_exists(filter, &table::name(name))?.then_some(bridge))
    }

    /// Makes what is missing, under the lock.
    fn complete(
        config: &BridgeConfig,
        route: &Socket,
        filter: &Arc<Socket>,
        mtu: u32,
    ) -> Result<Self, NetError> {
        let mut record = LockedRecord::open(config)?;
        // Another process may have been faster.
        if let Some(bridge) = Self::find_complete(route, filter, &config.name)? {
            return Ok(bridge);
        }
        let bridge = match route::link_named(route, &config.name)? {
            Some(link) if !is_ours(&link) => return Err(NetError::NameTaken(config.name.clone())),
            Some(link) => match Self::from_link(&link, &route::addresses(route)?, filter) {
                Some(bridge) => {
                    let mut batch = Batch::new();
                    route::change_link(&mut batch, link.index, None);
                    route.execute(batch)?;
                    bridge
                }
                // Killed between the link and its address: start afresh.
                None => {
                    let mut batch = Batch::new();
                    route::delete_link(&mut batch, link.index);
                    route.execute(batch)?;
                    Self::create(config, route, filter, &mut record, mtu)?
                }
            },
            None => Self::create(config, route, filter, &mut record, mtu)?,
        };
        table::build(filter, &bridge.name, bridge.subnet)?;
        Ok(bridge)
    }

    fn create(
        config: &BridgeConfig,
        route: &Socket,
        filter: &Arc<Socket>,
        record: &mut LockedRecord,
        mtu: u32,
    ) -> Result<Self, NetError> {
        let name = &config.name;
        abandoned::sweep(route, filter)?;
        let taken = route::networks_in_use(route)?;
        let recorded = record.subnet()?.filter(|subnet| !taken.iter().any(|other| other.overlaps(*subnet)));
        let wanted = recorded
            .or_else(|| subnet::choose(&taken, 0))
            .ok_or_else(|| NetError::NoFreeSubnet(name.clone()))?;
        let mut batch = Batch::new();
        let alias = abandoned::alias(&config.state);
        route::create_bridge(&mut batch, name, &alias, mac_of(wanted.gateway()), mtu);
        match route.execute(batch) {
            // Made by someone who does not share our lock.
            Err(Refusal { errno: Errno::EXIST, .. }) => return Err(NetError::NameTaken(name.clone())),
            other => other?,
        }
        let link = route::link_named(route, name)?.ok_or_else(|| NetError::NoBridge(name.clone()))?;
        let settled = settle(route, &link, wanted).and_then(|subnet| {
            record.store(subnet)?;
            let (name, filter) = (name.clone(), Arc::clone(filter));
            Ok(Self { name, index: link.index, subnet, gateway: subnet.gateway(), mtu, filter })
        });
        if settled.is_err() {
            let mut batch = Batch::new();
            route::delete_link(&mut batch, link.index);
            // The first error is the one to tell.
            let _ = route.execute(batch);
        }
        settled
    }
}

/// Gives a new bridge its address: in `wanted`, or in another subnet if another store, whose lock is another
/// one, took the same in the same instant.
fn settle(route: &Socket, link: &Link, mut wanted: Subnet) -> Result<Subnet, NetError> {
    // Routers among the containers must not configure the host.
    namespace::set_if_present(&format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", link.name), "1")?;
    namespace::set_if_present(&format!("/proc/sys/net/ipv6/conf/{}/accept_ra", link.name), "0")?;
    for attempt in 1..=SUBNET_ATTEMPTS {
        let mut batch = Batch::new();
        route::add_address(&mut batch, link.index, wanted.gateway(), wanted);
        route.execute(batch)?;
        let rivals = route::addresses(route)?;
        let mut rivals = rivals.iter().filter(|(index, _, _)| *index != link.index);
        if !rivals.any(|(_, _, rival)| rival.overlaps(wanted)) {
            return Ok(wanted);
        }
        let mut batch = Batch::new();
        route::delete_address(&mut batch, link.index, wanted.gateway(), wanted);
        route.execute(batch)?;
        match subnet::choose(&route::networks_in_use(route)?, scatter(&link.name, attempt)) {
            Some(next) => wanted = next,
            None => break,
        }
    }
    Err(NetError::NoFreeSubnet(link.name.clone()))
}

/// A hardware address from an IPv4 address, as Docker makes it: locally administered, and the same again when
/// the address is given out again, so that neighbours' caches stay right.
pub(super) fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// Different for two bridges that collided, and the same in every run.
fn scatter(name: &str, attempt: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    (name, attempt).hash(&mut hasher);
    usize::from(hasher.finish().to_le_bytes()[0])
}

fn check_name(name: &str) -> Result<(), NetError> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let good = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(letters)
        // "." and ".." are no file names under /proc/sys, and a number would read as a link's index.
        && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    if good { Ok(()) } else { Err(NetError::BridgeName(name.to_owned())) }
}

fn enable_forwarding() -> Result<(), NetError> {
    const PATH: &str = "/proc/sys/net/ipv4/ip_forward";
    // Written only if needed: /proc/sys may be read-only with the right value in it.
    if fs_err::read_to_string(PATH)?.trim() != "1" {
        fs_err::write(PATH, "1")?;
    }
    Ok(())
}

/// The bridge's record, locked until dropped.
struct LockedRecord(fs_err::File);

impl LockedRecord {
    fn open(config: &BridgeConfig) -> Result<Self, NetError> {
        fs_err::create_dir_all(&config.state)?;
        let path = config.state.join(format!("network-{}.json", config.name));
        let file =
            fs_err::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::io::retry_on_intr(|| flock(file.file(), FlockOperation::LockExclusive)).map_err(|errno| {
            NetError::Kernel { action: format!("lock {}", file.path().display()), source: errno.into() }
        })?;
        Ok(Self(file))
    }

    /// The recorded subnet; none in a new record or in one that a power cut left half written.
    fn subnet(&mut self) -> Result<Option<Subnet>, NetError> {
        let mut text = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut text)?;
        Ok(serde_json::from_str::<Record>(&text).ok().and_then(|record| record.subnet.parse().ok()))
    }

    fn store(&mut self, subnet: Subnet) -> Result<(), NetError> {
        let text =
            serde_json::to_string(&Record { subnet: subnet.to_string() }).map_err(std::io::Error::from)?;
        self.0.file().set_len(0)?;
        self.0.rewind()?;
        self.0.write_all(text.as_bytes())?;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), NetError> {
        Ok(self.0.file().set_len(0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_takes() {
        for good in ["strata0", "a", "st-1.x_y", "abcdefghijklmno"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "abcdefghijklmnop", "a b", "a/b", "br:0", "12", "é"] {
            assert!(matches!(check_name(bad), Err(NetError::BridgeName(name)) if name == bad), "{bad}");
        }
    }

    #[test]
    fn hardware_addresses_follow_the_address() {
        assert_eq!(mac_of(Ipv4Addr::new(172, 17, 0, 2)), [0x02, 0x42, 172, 17, 0, 2]);
    }
}
