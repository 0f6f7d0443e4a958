//! IPv4 subnets and the choice of a free one (`spec/engine.md` section 4, Network).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network: its first address and its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The network of `prefix` (at most 32) bits that `address` lies in.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { network: Ipv4Addr::from_bits(address.to_bits() & bits(prefix)), prefix }
    }

    /// The first address, `172.17.0.0`.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// The prefix length, `16`.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The mask, `255.255.0.0`.
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(bits(self.prefix))
    }

    /// The first usable address, which the bridge takes.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().saturating_add(1))
    }

    /// The last address.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !bits(self.prefix))
    }

    /// Whether `address` lies in the network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & bits(self.prefix) == self.network.to_bits()
    }

    /// Whether the two networks share an address.
    pub fn overlaps(self, other: Subnet) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// Whether containers may have `address`: it lies in the network and is not its network, gateway or
    /// broadcast address.
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address > self.gateway() && address < self.broadcast()
    }

    /// The addresses containers may have, lowest first: all but network, gateway and broadcast.
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        (self.gateway().to_bits().saturating_add(1)..self.broadcast().to_bits()).map(Ipv4Addr::from_bits)
    }
}

fn bits(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// A text that is not `a.b.c.d/prefix` with zero host bits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid subnet {0:?}: expected a.b.c.d/prefix with zero host bits")]
pub struct InvalidSubnet(pub String);

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let invalid = || InvalidSubnet(text.to_owned());
        let (network, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let network: Ipv4Addr = network.parse().map_err(|_| invalid())?;
        let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
        let subnet = Self::containing(network, prefix);
        if prefix > 32 || subnet.network != network {
            return Err(invalid());
        }
        Ok(subnet)
    }
}

/// Docker's default pools: `172.17.0.0/16` to `172.31.0.0/16`, then sixteen of `192.168.0.0/20`.
pub(super) fn pools() -> impl Iterator<Item = Subnet> {
    let large = (17..=31).map(|second| Subnet { network: Ipv4Addr::new(172, second, 0, 0), prefix: 16 });
    let small = (0..16).map(|block| Subnet { network: Ipv4Addr::new(192, 168, block * 16, 0), prefix: 20 });
    large.chain(small)
}

/// A pool that overlaps nothing in `taken`: the lowest, or with `skip` a later one (wrapping around), so that
/// two engines that collided once do not collide again.
pub(super) fn choose(taken: &[Subnet], skip: usize) -> Option<Subnet> {
    let free: Vec<Subnet> = pools().filter(|pool| !taken.iter().any(|other| pool.overlaps(*other))).collect();
    free.get(skip.checked_rem(free.len())?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn arithmetic() {
        let net = subnet("172.17.0.0/16");
        assert_eq!(net.gateway(), Ipv4Addr::new(172, 17, 0, 1));
        assert_eq!(net.broadcast(), Ipv4Addr::new(172, 17, 255, 255));
        assert_eq!(net.mask(), Ipv4Addr::new(255, 255, 0, 0));
        assert_eq!(net.hosts().next(), Some(Ipv4Addr::new(172, 17, 0, 2)));
        assert_eq!(net.hosts().count(), 65_536 - 3);
        assert!(net.hosts().all(|host| net.is_host(host)) && !net.is_host(net.gateway()));
        assert!(!net.is_host(net.network()) && !net.is_host(net.broadcast()));
        assert!(net.contains(Ipv4Addr::new(172, 17, 3, 4)));
        assert!(!net.contains(Ipv4Addr::new(172, 18, 0, 1)));
        assert!(net.overlaps(subnet("172.17.4.0/24")) && subnet("172.0.0.0/8").overlaps(net));
        assert!(!net.overlaps(subnet("172.18.0.0/16")));
        assert!(subnet("0.0.0.0/0").contains(Ipv4Addr::BROADCAST));
        assert_eq!(subnet("10.0.0.1/32").hosts().count(), 0);
    }

    #[test]
    fn text_round_trip_and_refusals() {
        assert_eq!(subnet("192.168.16.0/20").to_string(), "192.168.16.0/20");
        for bad in ["", "10.0.0.0", "10.0.0.1/24", "10.0.0.0/33", "x/8", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Subnet>(), Err(InvalidSubnet(bad.to_owned())));
        }
    }

    #[test]
    fn the_lowest_free_pool_is_chosen() {
        assert_eq!(choose(&[], 0), Some(subnet("172.17.0.0/16")));
        assert_eq!(choose(&[], 1), Some(subnet("172.18.0.0/16")));
        assert_eq!(
            choose(&[subnet("172.17.9.0/24"), subnet("172.18.0.0/16")], 0),
            Some(subnet("172.19.0.0/16"))
        );
        assert_eq!(choose(&[subnet("172.16.0.0/12")], 0), Some(subnet("192.168.0.0/20")));
        assert_eq!(
            choose(&[subnet("172.16.0.0/12"), subnet("192.168.1.0/24")], 0),
            Some(subnet("192.168.16.0/20"))
        );
        assert_eq!(choose(&[subnet("172.16.0.0/12"), subnet("192.168.0.0/16")], 0), None);
        assert_eq!(choose(&[], 31), Some(subnet("172.17.0.0/16")), "the choice wraps around");
    }
}
