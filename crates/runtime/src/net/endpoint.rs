//! A container's place on a bridge: a cable, an address, a default route.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::bridge::mac_of;
use super::netlink::{Batch, Refusal, Socket};
use super::route::{self, Mac, VethPair};
use super::{Bridge, Namespace, NetError, cable, table};

/// The name of the interface inside.
const INSIDE: &str = "eth0";

/// What may be wished for an endpoint; the default leaves all to the bridge.
#[derive(Clone, Debug, Default)]
pub struct EndpointConfig {
    /// The hardware address; made from the IP address if absent.
    pub mac: Option<[u8; 6]>,
    /// The MTU in bytes; the bridge's if absent.
    pub mtu: Option<u32>,
}

/// A namespace on a bridge. There is nothing to drop or to detach: the cable goes when its namespace does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    address: Ipv4Addr,
    prefix: u8,
    gateway: Ipv4Addr,
    mac: Mac,
}

impl Endpoint {
    /// Connects `namespace` to `bridge` as `eth0` with `ip`, or with the lowest free address, and a default
    /// route through the bridge. Forwards of published ports that an earlier owner of the address left behind
    /// are removed.
    ///
    /// # Errors
    ///
    /// [`NetError::AddressInUse`], [`NetError::AddressOutside`], [`NetError::NoFreeAddress`], or what the
    /// kernel refused.
    pub fn attach(
        bridge: &Bridge,
        namespace: &Namespace,
        ip: Option<Ipv4Addr>,
        config: &EndpointConfig,
    ) -> Result<Self, NetError> {
        let socket = Socket::route()?;
        let address = match ip {
            Some(wanted) => {
                if !bridge.subnet().is_host(wanted) {
                    return Err(NetError::AddressOutside { address: wanted, subnet: bridge.subnet() });
                }
                if !plug_in(&socket, bridge, namespace, wanted, config)? {
                    return Err(NetError::AddressInUse { address: wanted, bridge: bridge.name().to_owned() });
                }
                wanted
            }
            None => plug_in_anywhere(&socket, bridge, namespace, config)?,
        };
        table::delete_stale(bridge.filter(), bridge.name(), || Ok(move |forwarded| forwarded == address))?;

        // Asked, not chosen: the kernel may have given the namespace some tunnel devices.
        let inside = route::link_named(namespace.socket(), INSIDE)?;
        let index = inside.ok_or_else(|| NetError::NoBridge(bridge.name().to_owned()))?.index;
        let mut inside = Batch::new();
        route::add_address(&mut inside, index, address, bridge.subnet());
        route::change_link(&mut inside, index, None);
        route::add_default_route(&mut inside, index, bridge.gateway());
        namespace.socket().execute(inside)?;
        let mac = config.mac.unwrap_or_else(|| mac_of(address));
        Ok(Self { address, prefix: bridge.subnet().prefix(), gateway: bridge.gateway(), mac })
    }

    /// The container's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The length of its subnet's prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The bridge's address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// The hardware address of `eth0`.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }
}

fn plug_in_anywhere(
    socket: &Socket,
    bridge: &Bridge,
    namespace: &Namespace,
    config: &EndpointConfig,
) -> Result<Ipv4Addr, NetError> {
    let taken = cable::addresses(socket, bridge.index())?;
    for address in bridge.subnet().hosts().filter(|address| !taken.contains(address)) {
        // Refused only if another process was faster with this address: then the next.
        if plug_in(socket, bridge, namespace, address, config)? {
            return Ok(address);
        }
    }
    Err(NetError::NoFreeAddress { bridge: bridge.name().to_owned(), subnet: bridge.subnet() })
}

/// Makes the cable whose name claims the address; `false` if the address is claimed already.
fn plug_in(
    socket: &Socket,
    bridge: &Bridge,
    namespace: &Namespace,
    address: Ipv4Addr,
    config: &EndpointConfig,
) -> Result<bool, NetError> {
    let mut batch = Batch::new();
    let pair = VethPair {
        host_name: &cable::host_end(address),
        bridge: bridge.index(),
        mtu: config.mtu.unwrap_or(bridge.mtu()),
        namespace: namespace.as_fd(),
        peer_name: INSIDE,
        peer_mac: config.mac.unwrap_or_else(|| mac_of(address)),
    };
    route::create_veth(&mut batch, &pair);
    match socket.execute(batch) {
        Ok(()) => Ok(true),
        // EEXIST is also the answer when the namespace has an eth0: then the name outside is free.
        Err(Refusal { errno: Errno::EXIST, action }) => match route::link_named(socket, pair.host_name)? {
            Some(_) => Ok(false),
            None => Err(Refusal { errno: Errno::EXIST, action }.into()),
        },
        Err(Refusal { errno: Errno::NODEV, .. }) => Err(NetError::NoBridge(bridge.name().to_owned())),
        Err(refusal) => Err(refusal.into()),
    }
}
