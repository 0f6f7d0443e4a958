//! Links, addresses and routes as rtnetlink messages (`spec/executor.md` F, steps 1 to 5).

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::NetError;
use super::netlink::{
    ACK, Batch, CREATE, DUMP, EXCL, Refusal, Socket, attribute, attributes, read_text, read_u16, read_u32,
};
use super::subnet::Subnet;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const VETH_INFO_PEER: u16 = 1;
/// Leaves the statistics out of the answer: they are most of its size.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTAX_MTU: u16 = 2;
const TABLE_MAIN: u32 = 254;
const PROTOCOL_STATIC: u8 = 4;
const TYPE_UNICAST: u8 = 1;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 1;
const ROUTE_HEADER: usize = 12;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// The index of a loopback interface: the first of every network namespace.
pub(super) const LOOPBACK: u32 = 1;
/// MTU where no default route names one.
const DEFAULT_MTU: u32 = 1500;

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// What the kernel says about a link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) up: bool,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) alias: String,
    pub(super) mtu: u32,
    pub(super) master: u32,
}

impl Link {
    fn parse(body: &[u8]) -> Option<Self> {
        let rest = body.get(LINK_HEADER..)?;
        let mut link = Self {
            index: read_u32(body, 4)?,
            up: read_u32(body, 8)? & IFF_UP != 0,
            name: String::new(),
            kind: String::new(),
            alias: String::new(),
            mtu: 0,
            master: 0,
        };
        for (kind, value) in attributes(rest) {
            match kind {
                IFLA_IFNAME => link.name = read_text(value),
                IFLA_MTU => link.mtu = read_u32(value, 0)?,
                IFLA_MASTER => link.master = read_u32(value, 0)?,
                IFLA_IFALIAS => link.alias = read_text(value),
                IFLA_LINKINFO => {
                    link.kind = attribute(value, IFLA_INFO_KIND).map(read_text).unwrap_or_default()
                }
                _ => {}
            }
        }
        Some(link)
    }
}

fn link_header(index: u32, flags: u32, change: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// The link called `name`, or `None`.
pub(super) fn link_named(socket: &Socket, name: &str) -> Result<Option<Link>, NetError> {
    get_link(socket, 0, Some(name))
}

fn get_link(socket: &Socket, index: u32, name: Option<&str>) -> Result<Option<Link>, NetError> {
    let mut found = None;
    let action = format!("look at link {}", name.unwrap_or("by index"));
    let asked = socket.query(
        &action,
        RTM_GETLINK,
        0,
        &link_header(index, 0, 0),
        |message| {
            if let Some(name) = name {
                message.text(IFLA_IFNAME, name);
            }
            message.number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        },
        |body| found = Link::parse(body),
    );
    match asked {
        Err(Refusal { errno: Errno::NODEV, .. }) => Ok(None),
        Err(refusal) => Err(refusal.into()),
        Ok(()) => Ok(found),
    }
}

/// Every link of the namespace.
pub(super) fn links(socket: &Socket) -> Result<Vec<Link>, NetError> {
    let mut links = Vec::new();
    socket.query(
        "list the links",
        RTM_GETLINK,
        DUMP,
        &link_header(0, 0, 0),
        |message| {
            message.number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        },
        |body| links.extend(Link::parse(body)),
    )?;
    Ok(links)
}

/// Every IPv4 address of the namespace with its network: (link index, address, network).
pub(super) fn addresses(socket: &Socket) -> Result<Vec<(u32, Ipv4Addr, Subnet)>, NetError> {
    let mut found = Vec::new();
    let mut header = [0; ADDRESS_HEADER];
    header[0] = AF_INET;
    socket.query(
        "list the addresses",
        RTM_GETADDR,
        DUMP,
        &header,
        |_| {},
        |body| {
            let Some(rest) = body.get(ADDRESS_HEADER..).filter(|_| body[0] == AF_INET) else { return };
            let local = attribute(rest, IFA_LOCAL).or_else(|| attribute(rest, IFA_ADDRESS));
            // On a point-to-point link the peer's address is the one with the prefix.
            let network = attribute(rest, IFA_ADDRESS).and_then(read_ipv4);
            if let (Some(index), Some(local)) = (read_u32(body, 4), local.and_then(read_ipv4)) {
                found.push((index, local, Subnet::containing(network.unwrap_or(local), body[1])));
            }
        },
    )?;
    Ok(found)
}

fn read_ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))
}

struct Route {
    destination: Subnet,
    table: u32,
    metric: u32,
    device: Option<u32>,
    mtu: Option<u32>,
}

impl Route {
    fn parse(body: &[u8]) -> Option<Self> {
        let rest = body.get(ROUTE_HEADER..)?;
        let mut route = Self {
            destination: Subnet::containing(Ipv4Addr::UNSPECIFIED, body[1]),
            table: u32::from(body[4]),
            metric: 0,
            device: None,
            mtu: None,
        };
        for (kind, value) in attributes(rest) {
            match kind {
                RTA_DST if body[0] == AF_INET => {
                    route.destination = Subnet::containing(read_ipv4(value)?, body[1]);
                }
                RTA_TABLE => route.table = read_u32(value, 0)?,
                RTA_PRIORITY => route.metric = read_u32(value, 0)?,
                RTA_OIF => route.device = read_u32(value, 0),
                // struct rtnexthop: u16 length, u8 flags, u8 hops, i32 device; the first hop decides.
                RTA_MULTIPATH if read_u16(value, 0).is_some() => route.device = read_u32(value, 4),
                RTA_METRICS => route.mtu = attribute(value, RTAX_MTU).and_then(|mtu| read_u32(mtu, 0)),
                _ => {}
            }
        }
        Some(route)
    }
}

fn routes(socket: &Socket, family: u8) -> Result<Vec<Route>, NetError> {
    let mut found = Vec::new();
    let mut header = [0; ROUTE_HEADER];
    header[0] = family;
    socket.query(
        "list the routes",
        RTM_GETROUTE,
        DUMP,
        &header,
        |_| {},
        |body| {
            found.extend(Route::parse(body).filter(|_| body[0] == family));
        },
    )?;
    Ok(found)
}

/// The networks that are in use: those of addresses and the destinations of routes, but for default routes.
pub(super) fn networks_in_use(socket: &Socket) -> Result<Vec<Subnet>, NetError> {
    let mut taken: Vec<Subnet> = addresses(socket)?.into_iter().map(|(_, _, network)| network).collect();
    let routed = routes(socket, AF_INET)?.into_iter().map(|route| route.destination);
    // A VPN may split the default route into two halves; those say nothing about who uses an address either.
    taken.extend(routed.filter(|network| network.prefix() > 1));
    Ok(taken)
}

/// The MTU that packets leaving by the default route can have: the route's own, else its device's, else 1500.
/// A larger MTU inside a container would lose its large packets without a word.
pub(super) fn uplink_mtu(socket: &Socket) -> Result<u32, NetError> {
    for family in [AF_INET, AF_INET6] {
        let defaults = routes(socket, family)?.into_iter().filter(|route| {
            route.destination.prefix() == 0 && route.table == TABLE_MAIN && route.device.is_some()
        });
        let Some(best) = defaults.min_by_key(|route| route.metric) else { continue };
        if best.mtu.is_some_and(|mtu| mtu > 0) {
            return Ok(best.mtu.unwrap_or(DEFAULT_MTU));
        }
        if let Some(device) = get_link(socket, best.device.unwrap_or_default(), None)?
            // The v6 unreachable default of a namespace without one hangs on the loopback device.
            && device.index != LOOPBACK
        {
            return Ok(device.mtu);
        }
    }
    Ok(DEFAULT_MTU)
}

/// Creates a bridge that is up and carries `alias`; `EEXIST` if the name is taken.
pub(super) fn create_bridge(batch: &mut Batch, name: &str, alias: &str, mac: Mac, mtu: u32) {
    let action = format!("create bridge {name}");
    batch.push(action, RTM_NEWLINK, ACK | CREATE | EXCL, &link_header(0, IFF_UP, IFF_UP), |message| {
        message.bytes(IFLA_ADDRESS, &mac).text(IFLA_IFNAME, name).number(IFLA_MTU, mtu);
        message.nested(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "bridge").nested(IFLA_INFO_DATA, |bridge| {
                bridge.number(IFLA_BR_STP_STATE, 0).byte(IFLA_BR_MCAST_SNOOPING, 0);
            });
        });
    });
    // A new link cannot have an alias at once; in the same send there is no moment at which a kill could come
    // between.
    batch.push(format!("mark bridge {name}"), RTM_NEWLINK, ACK, &link_header(0, 0, 0), |message| {
        message.text(IFLA_IFNAME, name).bytes(IFLA_IFALIAS, alias.as_bytes());
    });
}

/// Brings an existing link up and sets its MTU, if one is given.
pub(super) fn change_link(batch: &mut Batch, index: u32, mtu: Option<u32>) {
    let action = format!("configure link {index}");
    batch.push(action, RTM_NEWLINK, ACK, &link_header(index, IFF_UP, IFF_UP), |message| {
        if let Some(mtu) = mtu {
            message.number(IFLA_MTU, mtu);
        }
    });
}

/// Deletes a link. This blocks for tens of milliseconds: never on a container's exit path.
pub(super) fn delete_link(batch: &mut Batch, index: u32) {
    batch.push(format!("delete link {index}"), RTM_DELLINK, ACK, &link_header(index, 0, 0), |_| {});
}

/// A pair of virtual Ethernet devices: one end on a bridge here, the other in another namespace, down.
pub(super) struct VethPair<'a> {
    pub(super) host_name: &'a str,
    pub(super) bridge: u32,
    pub(super) mtu: u32,
    pub(super) namespace: BorrowedFd<'a>,
    pub(super) peer_name: &'a str,
    pub(super) peer_mac: Mac,
}

/// Creates the pair; `EEXIST` if the host name is taken.
pub(super) fn create_veth(batch: &mut Batch, pair: &VethPair<'_>) {
    let action = format!("create link {}", pair.host_name);
    let namespace = pair.namespace.as_raw_fd().cast_unsigned();
    batch.push(action, RTM_NEWLINK, ACK | CREATE | EXCL, &link_header(0, IFF_UP, IFF_UP), |message| {
        message.text(IFLA_IFNAME, pair.host_name).number(IFLA_MTU, pair.mtu).number(IFLA_MASTER, pair.bridge);
        message.nested(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, |veth| {
                veth.nested_after(VETH_INFO_PEER, &link_header(0, 0, 0), |peer| {
                    peer.text(IFLA_IFNAME, pair.peer_name)
                        .number(IFLA_MTU, pair.mtu)
                        .bytes(IFLA_ADDRESS, &pair.peer_mac)
                        .number(IFLA_NET_NS_FD, namespace);
                });
            });
        });
    });
}

/// Gives link `index` the address `address` in `subnet`; `EEXIST` if it has it.
pub(super) fn add_address(batch: &mut Batch, index: u32, address: Ipv4Addr, subnet: Subnet) {
    let action = format!("add address {address}/{}", subnet.prefix());
    batch.push(action, RTM_NEWADDR, ACK | CREATE | EXCL, &address_header(index, subnet), |message| {
        message
            .bytes(IFA_ADDRESS, &address.octets())
            .bytes(IFA_LOCAL, &address.octets())
            .bytes(IFA_BROADCAST, &subnet.broadcast().octets());
    });
}

/// Takes the address from link `index`.
pub(super) fn delete_address(batch: &mut Batch, index: u32, address: Ipv4Addr, subnet: Subnet) {
    let action = format!("delete address {address}/{}", subnet.prefix());
    batch.push(action, RTM_DELADDR, ACK, &address_header(index, subnet), |message| {
        message.bytes(IFA_LOCAL, &address.octets());
    });
}

fn address_header(index: u32, subnet: Subnet) -> [u8; ADDRESS_HEADER] {
    let mut header = [AF_INET, subnet.prefix(), 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    header
}

/// Adds the default route through `gateway` on link `index`.
pub(super) fn add_default_route(batch: &mut Batch, index: u32, gateway: Ipv4Addr) {
    let table = TABLE_MAIN.to_le_bytes()[0];
    let header = [AF_INET, 0, 0, 0, table, PROTOCOL_STATIC, 0, TYPE_UNICAST, 0, 0, 0, 0];
    let action = format!("add the default route through {gateway}");
    batch.push(action, RTM_NEWROUTE, ACK | CREATE | EXCL, &header, |message| {
        message.bytes(RTA_GATEWAY, &gateway.octets()).number(RTA_OIF, index);
    });
}
