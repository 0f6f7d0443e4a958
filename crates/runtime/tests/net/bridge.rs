//! The bridge itself, and containers on it.

use std::net::{Ipv4Addr, SocketAddrV4};

use strata_runtime::net::{Bridge, Endpoint, EndpointConfig, Namespace, NetError};

use crate::world::{Container, call, on_a_host, tool};

#[test]
fn containers_reach_each_other_and_the_gateway() {
    on_a_host(|host| {
        let bridge = host.bridge("st0");
        assert_eq!(bridge.subnet().to_string(), "172.17.0.0/16");
        assert_eq!(bridge.gateway(), Ipv4Addr::new(172, 17, 0, 1));
        assert_eq!(bridge.mtu(), 1500, "there is no default route");
        let (one, two) = (Container::on(&bridge), Container::on(&bridge));
        assert_eq!(one.address(), Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(two.address(), Ipv4Addr::new(172, 17, 0, 3));
        two.echo(7);
        let seen = one.inside(|| call(SocketAddrV4::new(two.address(), 7), b"from a neighbour")).unwrap();
        assert_eq!(seen, one.address());
        crate::world::serve_echo(std::net::TcpListener::bind((bridge.gateway(), 7)).unwrap());
        let seen = one.inside(|| call(SocketAddrV4::new(bridge.gateway(), 7), b"to the host")).unwrap();
        assert_eq!(seen, one.address());
        assert_eq!(call(SocketAddrV4::new(two.address(), 7), b"from the host").unwrap(), bridge.gateway());
        println!("{}", tool("nft list ruleset"));
        let routes = one.inside(|| tool("ip route"));
        assert!(routes.contains("default via 172.17.0.1 dev eth0"), "{routes}");
    });
}
