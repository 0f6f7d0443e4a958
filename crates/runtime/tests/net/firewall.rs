//! Beside other people's firewall rules.

use std::net::{Ipv4Addr, SocketAddrV4};

use strata_runtime::net::Bridge;

use crate::world::{Container, call, on_a_host, outside, serve_echo, snapshot, tool};

const DROPPING: &str = "add table ip filter; \
     add chain ip filter FORWARD { type filter hook forward priority filter; policy drop; }";

fn nft(script: &str) {
    let output = std::process::Command::new("nft").arg(script).output().expect("the test machine has nft");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn traffic_passes_a_forward_chain_that_drops() {
    on_a_host(|host| {
        let outside = outside(1500);
        nft(DROPPING);
        let before = snapshot();
        let bridge = host.bridge("st0");
        let (one, two) = (Container::on(&bridge), Container::on(&bridge));
        two.echo(7);
        one.inside(|| call(SocketAddrV4::new(two.address(), 7), b"neighbour")).unwrap();
        serve_echo(outside.enter(|| Ok(std::net::TcpListener::bind("198.51.100.2:7").unwrap())).unwrap());
        let seen = one.inside(|| call(([198, 51, 100, 2], 7), b"out")).unwrap();
        assert_eq!(seen, Ipv4Addr::new(198, 51, 100, 1));

        let rules = tool("nft list chain ip filter FORWARD");
        for rule in ["iifname \"st0\" counter", "oifname \"st0\" counter"] {
            assert_eq!(rules.matches(rule).count(), 1, "{rules}");
        }
        assert_eq!(rules.matches("accept comment \"strata:st0\"").count(), 2, "{rules}");
        host.bridge("st0");
        assert_eq!(tool("nft list chain ip filter FORWARD").matches("strata:st0").count(), 2, "once only");

        // Another engine starts again and flushes its chain: the next container start puts the rules back.
        nft("flush chain ip filter FORWARD");
        host.bridge("st0");
        assert_eq!(tool("nft list chain ip filter FORWARD").matches("strata:st0").count(), 2);
        Bridge::remove(&host.config("st0")).unwrap();
        assert_eq!(snapshot(), before);
    });
}

#[test]
fn the_chain_left_to_others_is_preferred() {
    on_a_host(|host| {
        nft(DROPPING);
        nft("add chain ip filter DOCKER-USER; add rule ip filter FORWARD jump DOCKER-USER");
        let before = snapshot();
        let bridge = host.bridge("st0");
        assert_eq!(tool("nft list chain ip filter DOCKER-USER").matches("strata:st0").count(), 2);
        assert_eq!(tool("nft list chain ip filter FORWARD").matches("strata:st0").count(), 0);
        let (one, two) = (Container::on(&bridge), Container::on(&bridge));
        two.echo(7);
        one.inside(|| call(SocketAddrV4::new(two.address(), 7), b"neighbour")).unwrap();
        Bridge::remove(&host.config("st0")).unwrap();
        assert_eq!(snapshot(), before);
    });
}

#[test]
fn a_forward_chain_that_accepts_is_left_alone() {
    on_a_host(|host| {
        nft("add table ip filter; add chain ip filter FORWARD { type filter hook forward priority filter; }");
        host.bridge("st0");
        assert!(!tool("nft list chain ip filter FORWARD").contains("strata"));
    });
}
