//! The host ends of cables (veth pairs), whose names say which address is at the other end.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use super::netlink::Socket;
use super::{NetError, route};

const PREFIX: &str = "veth";

/// The name of the cable's host end: the address in hexadecimal. Unique in the host's namespace because no
/// two bridges share an address.
pub(super) fn host_end(address: Ipv4Addr) -> String {
    format!("{PREFIX}{:08x}", address.to_bits())
}

fn address_of(link: &str) -> Option<Ipv4Addr> {
    let digits = link.strip_prefix(PREFIX).filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().map(Ipv4Addr::from_bits)
}

/// The addresses of the containers on the bridge whose link has this index.
pub(super) fn addresses(socket: &Socket, bridge: u32) -> Result<HashSet<Ipv4Addr>, NetError> {
    let links = route::links(socket)?.into_iter().filter(|link| link.master == bridge);
    Ok(links.filter_map(|link| address_of(&link.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_end_is_named_after_its_address() {
        let address = Ipv4Addr::new(172, 17, 0, 2);
        assert_eq!(host_end(address), "vethac110002");
        assert_eq!(address_of("vethac110002"), Some(address));
        assert_eq!(address_of("vethabc"), None);
        assert_eq!(address_of("eth0"), None);
    }
}
