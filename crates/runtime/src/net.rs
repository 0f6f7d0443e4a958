//! The network of containers: a bridge with NAT, network namespaces with one end of a cable in each,
//! published ports.
//!
//! Everything is netlink: no external program is started (`spec/executor.md` F, `spec/engine.md` section 4).
//! The calls act on the network namespace of the calling thread, which plays "the host".
//!
//! # Lifecycle
//!
//! 1. [`Bridge::ensure`]: the store's bridge, its NAT table and its subnet exist. Cheap when they do.
//! 2. [`Namespace::create`]: an empty network namespace, alive as long as its descriptor or a process in it.
//!    This needs nothing of step 1 and may run beside the preparation of the root file system.
//! 3. [`Endpoint::attach`]: a cable from the bridge into the namespace, with an address and a default route.
//!    The name of the cable's host end is made from the address, so the kernel itself arbitrates who has
//!    which address, and the lease ends when the namespace does: there is no list of addresses that a killed
//!    process could leave behind.
//! 4. [`publish`]: host ports that lead to the container: a map element in the kernel for packets from
//!    outside, and a proxy in the supervising process for the host's own loopback, for IPv6 and for other
//!    containers. Its listeners also reserve the port against every other program of the host.
//! 5. The end: [`Published::close`], then drop the [`Namespace`]. The order matters: the proxy must not
//!    outlive the address it connects to. Nothing else is needed; the cable goes with the namespace, off the
//!    critical path.
//!
//! [`Bridge::remove`] takes everything away again; [`Bridge::sweep`] removes what a killed supervisor left.

mod abandoned;
mod bridge;
mod cable;
mod conntrack;
mod endpoint;
mod files;
mod foreign;
mod namespace;
mod netlink;
mod nft;
mod ports;
mod proxy;
mod publish;
mod route;
mod subnet;
mod table;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

pub use bridge::{Bridge, BridgeConfig};
pub use endpoint::{Endpoint, EndpointConfig};
pub use files::{ResolvConf, hostname_file, hosts_file};
pub use namespace::Namespace;
pub use ports::{HostPort, ParsePublishError, PortMapping, Protocol, PublishSpec, parse_publish};
pub use publish::{PortBinding, Published, publish};
pub use subnet::{InvalidSubnet, Subnet};

/// What can go wrong with a container's network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The kernel refused a netlink or socket request.
    #[error("cannot {action}")]
    Kernel {
        /// What was asked, "create bridge strata0".
        action: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A file under `/proc/sys` or of the network's state could not be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// A bridge name that the kernel cannot take.
    #[error("invalid bridge name {0:?}: 1 to 15 characters, letters, digits, '-', '_' and '.', not a number")]
    BridgeName(String),
    /// The name belongs to a link that is not a bridge of strata.
    #[error("network link {0} exists and was not made by strata; remove it or choose another bridge name")]
    NameTaken(String),
    /// The bridge exists without its address, or vanished while it was used.
    #[error("bridge {0} does not exist")]
    NoBridge(String),
    /// Every address pool overlaps an address or a route of this host.
    #[error(
        "no free subnet for bridge {0}: 172.17-31.0.0/16 and 192.168.0.0/16 overlap networks of this host"
    )]
    NoFreeSubnet(String),
    /// Every address of the bridge's subnet belongs to a container.
    #[error("no free address on bridge {bridge}: every address of {subnet} is in use")]
    NoFreeAddress {
        /// The bridge.
        bridge: String,
        /// Its subnet.
        subnet: Subnet,
    },
    /// The wanted container address belongs to another container.
    #[error("address {address} is already in use on bridge {bridge}")]
    AddressInUse {
        /// The address.
        address: Ipv4Addr,
        /// The bridge.
        bridge: String,
    },
    /// The wanted container address is not one that containers of the bridge can have.
    #[error("address {address} is not a container address of {subnet}")]
    AddressOutside {
        /// The address.
        address: Ipv4Addr,
        /// The bridge's subnet.
        subnet: Subnet,
    },
    /// Another container or program has the host port.
    #[error("Bind for {0} failed: port is already allocated")]
    PortAllocated(SocketAddr),
    /// None of a range of host ports is free.
    #[error("Bind for {address} failed: no port of {first}-{last} is free")]
    RangeAllocated {
        /// The host address, with the first port.
        address: SocketAddr,
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// The host address cannot be listened on.
    #[error("failed to bind host port {address}/{protocol}")]
    Bind {
        /// The host address and port.
        address: SocketAddr,
        /// The transport protocol.
        protocol: Protocol,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The protocol cannot be published.
    #[error("cannot publish port {port}/{protocol}: only tcp and udp ports can be published")]
    Unpublishable {
        /// The container port.
        port: u16,
        /// The transport protocol.
        protocol: Protocol,
    },
}
