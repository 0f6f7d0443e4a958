//! Published ports: host ports that lead to a container.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::netlink::Refusal;
use super::ports::{HostPort, PortMapping, Protocol};
use super::proxy::{Listener, Proxy, RunningProxy};
use super::table::{self, Forward};
use super::{Bridge, NetError, conntrack};

/// How often an ephemeral port is asked for when the first one is free for IPv4 only.
const EPHEMERAL_ATTEMPTS: usize = 16;

/// A host port as it was bound: what `docker port` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortBinding {
    /// The host address; `0.0.0.0` and `::` are all of their family.
    pub host_ip: IpAddr,
    /// The host port, never 0.
    pub host_port: u16,
    /// The port inside the container.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

#[derive(Debug)]
enum Service {
    Listening(Proxy),
    Serving { _proxy: RunningProxy },
}

/// The published ports of one container. The host ports are reserved as long as this value lives.
///
/// Packets from other hosts are redirected by the kernel from the first instant; connections from the host's
/// loopback, over IPv6 and from containers wait until [`Published::serve`].
#[derive(Debug)]
pub struct Published {
    bridge: Bridge,
    bindings: Vec<PortBinding>,
    forwards: Vec<Forward>,
    service: Service,
}

/// Publishes `mappings`, all or none. The container must be [attached](super::Endpoint::attach) already.
///
/// # Errors
///
/// [`NetError::PortAllocated`] and [`NetError::RangeAllocated`] when the host ports are taken,
/// [`NetError::Bind`] when the host address is none of this host's, [`NetError::Unpublishable`] for SCTP, or
/// what the kernel refused.
pub fn publish(bridge: &Bridge, mappings: &[PortMapping]) -> Result<Published, NetError> {
    // Dropped on any error, which takes back what was done so far.
    let mut published = Published {
        bridge: bridge.clone(),
        bindings: Vec::new(),
        forwards: Vec::new(),
        service: Service::Listening(Proxy::new(bridge.name())),
    };
    for mapping in mappings {
        published.add(mapping)?;
    }
    conntrack::forget_before(bridge.filter(), &published.forwards)?;
    Ok(published)
}

impl Published {
    /// The bound host ports, in the order of the mappings; IPv4 before IPv6.
    pub fn bindings(&self) -> &[PortBinding] {
        &self.bindings
    }

    /// Starts the proxy on a thread of this process. Does nothing the second time.
    ///
    /// # Errors
    ///
    /// [`NetError::Kernel`] when there is no thread or descriptor left.
    pub fn serve(&mut self) -> Result<(), NetError> {
        let Service::Listening(proxy) = &mut self.service else { return Ok(()) };
        let proxy = std::mem::replace(proxy, Proxy::new(self.bridge.name()));
        if !proxy.is_empty() {
            self.service = Service::Serving { _proxy: proxy.spawn()? };
        }
        Ok(())
    }

    /// Removes the forwards, ends the proxy with all its connections, and frees the ports. To be called
    /// before the container's namespace is dropped; dropping the value does the same but cannot tell errors.
    ///
    /// # Errors
    ///
    /// What the kernel refused; the proxy has ended anyway.
    pub fn close(mut self) -> Result<(), NetError> {
        self.withdraw()
    }

    /// Forwards first: a port whose listener is closed is free for the next container, whose own forward must
    /// find its place empty.
    fn withdraw(&mut self) -> Result<(), NetError> {
        let forwards = std::mem::take(&mut self.forwards);
        if forwards.is_empty() {
            return Ok(());
        }
        let filter = self.bridge.filter();
        table::delete(filter, self.bridge.name(), &forwards)?;
        conntrack::forget_after(filter, &forwards)
    }

    fn add(&mut self, mapping: &PortMapping) -> Result<(), NetError> {
        let addresses = match mapping.host_ip {
            Some(address) => vec![address],
            None => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        };
        let first = SocketAddr::new(addresses[0], 0);
        match mapping.host_port {
            HostPort::Fixed(port) => self.try_port(mapping, &addresses, port),
            HostPort::FirstFree(from, to) => {
                for port in from..=to {
                    match self.try_port(mapping, &addresses, port) {
                        Err(NetError::PortAllocated(_)) => {}
                        other => return other,
                    }
                }
                let address = SocketAddr::new(addresses[0], from);
                Err(NetError::RangeAllocated { address, first: from, last: to })
            }
            HostPort::Ephemeral => {
                let mut outcome = Err(NetError::PortAllocated(first));
                for _ in 0..EPHEMERAL_ATTEMPTS {
                    outcome = self.try_port(mapping, &addresses, 0);
                    if !matches!(outcome, Err(NetError::PortAllocated(_))) {
                        break;
                    }
                }
                outcome
            }
        }
    }

    /// Binds `port` (0 is any) on every address and adds the forward; all or nothing.
    fn try_port(&mut self, mapping: &PortMapping, addresses: &[IpAddr], port: u16) -> Result<(), NetError> {
        let (listeners, port) = bind_all(mapping, addresses, port)?;
        let forward = forward(mapping, port);
        if let Some(forward) = forward {
            add_forward(&self.bridge, forward)?;
            self.forwards.push(forward);
        }
        self.bindings.extend(listeners.iter().map(|(address, _)| PortBinding {
            host_ip: address.ip(),
            host_port: port,
            container_port: mapping.container_port,
            protocol: mapping.protocol,
        }));
        if let Service::Listening(proxy) = &mut self.service {
            listeners.into_iter().for_each(|(_, listener)| proxy.add(listener));
        }
        Ok(())
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // The namespace goes next, and a stale forward is removed by whoever gets its address or its port.
        let _ = self.withdraw();
    }
}

fn bind_all(
    mapping: &PortMapping,
    addresses: &[IpAddr],
    mut port: u16,
) -> Result<(Vec<(SocketAddr, Listener)>, u16), NetError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for ip in addresses {
        let address = SocketAddr::new(*ip, port);
        let opened = match mapping.protocol {
            Protocol::Tcp => Listener::tcp(address, mapping.container()),
            Protocol::Udp => Listener::udp(address, mapping.container()),
            Protocol::Sctp => {
                let (port, protocol) = (mapping.container_port, mapping.protocol);
                return Err(NetError::Unpublishable { port, protocol });
            }
        };
        match opened {
            Ok(listener) => {
                port = listener.port().map_err(|source| bind_error(mapping, address, source))?;
                listeners.push((SocketAddr::new(*ip, port), listener));
            }
            // "Every address" on a host without IPv6 is every IPv4 address.
            Err(error) if mapping.host_ip.is_none() && ip.is_ipv6() && lacks_ipv6(&error) => {}
            Err(error) => return Err(bind_error(mapping, address, error)),
        }
    }
    Ok((listeners, port))
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn bind_error(mapping: &PortMapping, address: SocketAddr, source: io::Error) -> NetError {
    match Errno::from_io_error(&source) {
        Some(Errno::ADDRINUSE) => NetError::PortAllocated(address),
        _ => NetError::Bind { address, protocol: mapping.protocol, source },
    }
}

/// What the kernel redirects: IPv4 to an address that other hosts can see. The rest is the proxy's.
fn forward(mapping: &PortMapping, host_port: u16) -> Option<Forward> {
    let host_ip = match mapping.host_ip {
        None => None,
        Some(IpAddr::V4(address)) if address.is_unspecified() => None,
        Some(IpAddr::V4(address)) if address.is_loopback() => return None,
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(_)) => return None,
    };
    Some(Forward { host_ip, host_port, protocol: mapping.protocol, container: mapping.container() })
}

fn add_forward(bridge: &Bridge, forward: Forward) -> Result<(), NetError> {
    let exists = |outcome: &Result<(), Refusal>| matches!(outcome, Err(Refusal { errno: Errno::EXIST, .. }));
    let mut added = table::add(bridge.filter(), bridge.name(), &[forward]);
    // The listener was free but the map is not: the forward of a container whose supervisor was killed. If
    // the container is gone as well, the forward is rubbish.
    if exists(&added) && bridge.sweep()? > 0 {
        added = table::add(bridge.filter(), bridge.name(), &[forward]);
    }
    if exists(&added) {
        let ip = forward.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        return Err(NetError::PortAllocated(SocketAddr::new(IpAddr::V4(ip), forward.host_port)));
    }
    Ok(added?)
}
