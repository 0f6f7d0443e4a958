//! Published ports, by every way that leads to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use strata_runtime::net::{Bridge, Namespace, NetError, Published, parse_publish, publish};

use crate::world::{Container, Host, PATIENCE, call, call_udp, on_a_host, outside, tool};

const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

fn try_publish(bridge: &Bridge, container: &Container, ports: &str) -> Result<Published, NetError> {
    let specs = parse_publish(ports).unwrap();
    let mappings: Vec<_> = specs.into_iter().map(|spec| spec.to(container.address())).collect();
    let mut published = publish(bridge, &mappings)?;
    published.serve()?;
    Ok(published)
}

struct Setting {
    outside: Namespace,
    bridge: Bridge,
    container: Container,
}

fn setting(host: &Host) -> Setting {
    let outside = outside(1500);
    let bridge = host.bridge("st0");
    let container = Container::on(&bridge);
    container.echo(80);
    container.echo_udp(53);
    Setting { outside, bridge, container }
}

fn from<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    namespace.enter(|| Ok(work())).unwrap()
}

#[test]
fn a_tcp_port_from_everywhere() {
    on_a_host(|host| tcp_from_everywhere(host, "1"));
}

#[test]
fn a_tcp_port_from_everywhere_without_br_netfilter() {
    on_a_host(|host| tcp_from_everywhere(host, "0"));
}

/// With `br_netfilter` packets between containers pass the host's rules as well, which changes what hairpins
/// meet.
fn tcp_from_everywhere(host: &Host, br_netfilter: &str) {
    let setting_file = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if fs_err::exists(setting_file).unwrap() {
        fs_err::write(setting_file, br_netfilter).unwrap();
    }
    let Setting { outside, bridge, container } = setting(host);
    let published = try_publish(&bridge, &container, "8080:80").unwrap();
    let bound: Vec<_> =
        published.bindings().iter().map(|b| (b.host_ip, b.host_port, b.container_port)).collect();
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    assert_eq!(bound, any.map(|address| (address, 8080, 80)));

    let seen = from(&outside, || call((HOST, 8080), b"from outside")).unwrap();
    assert_eq!(seen, OUTSIDE, "the container sees the real source");
    let gateway = IpAddr::V4(bridge.gateway());
    assert_eq!(call((Ipv4Addr::LOCALHOST, 8080), b"IPv4 loopback").unwrap(), gateway);
    assert_eq!(call((Ipv6Addr::LOCALHOST, 8080), b"IPv6 loopback").unwrap(), gateway);
    call((HOST, 8080), b"the host's own address").unwrap();
    call((bridge.gateway(), 8080), b"the bridge's address").unwrap();
    container.inside(|| call((bridge.gateway(), 8080), b"the container itself")).unwrap();
    let other = Container::on(&bridge);
    other.inside(|| call((bridge.gateway(), 8080), b"a neighbour by the gateway")).unwrap();
    other.inside(|| call((HOST, 8080), b"a neighbour by the host's address")).unwrap();
    let elsewhere = Container::on(&host.bridge("st1"));
    elsewhere.inside(|| call((HOST, 8080), b"another bridge")).unwrap();
}

#[test]
fn a_udp_port_from_everywhere() {
    on_a_host(|host| {
        let Setting { outside, bridge, container } = setting(host);
        let _published = try_publish(&bridge, &container, "5353:53/udp").unwrap();
        assert_eq!(from(&outside, || call_udp((HOST, 5353), b"outside")).unwrap(), OUTSIDE);
        for loopback in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            assert_eq!(call_udp((loopback, 5353), b"loopback").unwrap(), bridge.gateway());
        }
        call_udp((bridge.gateway(), 5353), b"the bridge's address").unwrap();
        container.inside(|| call_udp((bridge.gateway(), 5353), b"itself")).unwrap();
        // The proxy's answers come from the address that was asked, not from the one the route would choose.
        container.inside(|| call_udp((HOST, 5353), b"itself by another address")).unwrap();
        call_udp((Ipv4Addr::new(127, 0, 0, 9), 5353), b"another loopback address").unwrap();
        fs_err::write("/proc/sys/net/ipv6/conf/up0/disable_ipv6", "0").unwrap();
        tool("ip addr add fd00::1/64 dev up0 nodad");
        tool("ip addr add fd00::7/64 dev up0 nodad");
        from(&outside, || {
            fs_err::write("/proc/sys/net/ipv6/conf/out0/disable_ipv6", "0").unwrap();
            tool("ip addr add fd00::2/64 dev out0 nodad");
            for address in ["fd00::1", "fd00::7"] {
                call_udp((address.parse::<Ipv6Addr>().unwrap(), 5353), b"IPv6 from outside").unwrap();
            }
        });
        assert!(call((Ipv4Addr::LOCALHOST, 5353), b"tcp").is_err(), "TCP is not published");
    });
}

#[test]
fn large_transfers_and_many_clients() {
    on_a_host(|host| {
        let Setting { outside, bridge, container } = setting(host);
        let _published = try_publish(&bridge, &container, "8080:80").unwrap();
        let message: Vec<u8> = (0..8_000_000_u32).map(|byte| (byte % 251) as u8).collect();
        let start = Instant::now();
        call((Ipv4Addr::LOCALHOST, 8080), &message).unwrap();
        println!("8 MB there and back by the proxy: {:?}", start.elapsed());
        let start = Instant::now();
        from(&outside, || call((HOST, 8080), &message)).unwrap();
        println!("8 MB there and back by the kernel: {:?}", start.elapsed());
        std::thread::scope(|scope| {
            for client in 0..40_u8 {
                scope.spawn(move || call((Ipv4Addr::LOCALHOST, 8080), &vec![client; 100_000]).unwrap());
            }
        });
    });
}

#[test]
fn a_port_can_be_had_once() {
    on_a_host(|host| {
        let Setting { bridge, container, .. } = setting(host);
        let first = try_publish(&bridge, &container, "8080:80").unwrap();
        let other = Container::on(&bridge);
        let taken = try_publish(&bridge, &other, "8080:80").unwrap_err();
        assert_eq!(taken.to_string(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
        let taken = try_publish(&bridge, &other, "127.0.0.1:8080:80").unwrap_err();
        assert_eq!(taken.to_string(), "Bind for 127.0.0.1:8080 failed: port is already allocated");
        assert!(TcpListener::bind("0.0.0.0:8080").is_err(), "reserved against other programs");
        try_publish(&bridge, &other, "8080:80/udp").unwrap().close().unwrap();

        // All or none: 8081 is given back when 8080 cannot be had.
        let before = tool("nft list map ip strata-st0 ports");
        assert!(try_publish(&bridge, &other, "8079-8080:80-81").is_err());
        assert_eq!(tool("nft list map ip strata-st0 ports"), before);
        TcpListener::bind("0.0.0.0:8079").unwrap();

        let program = TcpListener::bind("0.0.0.0:9090").unwrap();
        let taken = try_publish(&bridge, &other, "9090:80").unwrap_err();
        assert_eq!(taken.to_string(), "Bind for 0.0.0.0:9090 failed: port is already allocated");
        drop(program);

        first.close().unwrap();
        assert!(!tool("nft list map ip strata-st0 ports").contains("8080"));
        try_publish(&bridge, &other, "8080:80").unwrap();
    });
}

#[test]
fn ephemeral_ports_and_ranges() {
    on_a_host(|host| {
        let Setting { bridge, container, outside } = setting(host);
        let published = try_publish(&bridge, &container, "80").unwrap();
        let ports: Vec<u16> = published.bindings().iter().map(|binding| binding.host_port).collect();
        assert!(ports.len() == 2 && ports[0] == ports[1] && ports[0] >= 1024, "{ports:?}");
        from(&outside, || call((HOST, ports[0]), b"ephemeral")).unwrap();
        let range = |_| try_publish(&bridge, &container, "7000-7002:80");
        let three: Vec<Published> = (0..3).map(|number| range(number).unwrap()).collect();
        let chosen: Vec<u16> = three.iter().map(|published| published.bindings()[0].host_port).collect();
        assert_eq!(chosen, [7000, 7001, 7002]);
        let full = range(3).unwrap_err();
        assert_eq!(full.to_string(), "Bind for 0.0.0.0:7000 failed: no port of 7000-7002 is free");
        let refused = try_publish(&bridge, &container, "80/sctp").unwrap_err();
        assert!(matches!(refused, NetError::Unpublishable { port: 80, .. }), "{refused}");
    });
}

#[test]
fn a_port_on_one_host_address() {
    on_a_host(|host| {
        let Setting { outside, bridge, container } = setting(host);
        tool("ip addr add 198.51.100.7/24 dev up0");
        let _published = try_publish(&bridge, &container, "198.51.100.7:8080:80").unwrap();
        let _local = try_publish(&bridge, &container, "127.0.0.1:8081:80").unwrap();
        let _six = try_publish(&bridge, &container, "[::1]:8082:80").unwrap();
        from(&outside, || {
            assert_eq!(call(([198, 51, 100, 7], 8080), b"this address").unwrap(), OUTSIDE);
            assert!(call((HOST, 8080), b"another address").is_err());
            assert!(call((HOST, 8081), b"published on the loopback").is_err());
        });
        call(([198, 51, 100, 7], 8080), b"from the host").unwrap();
        call((Ipv4Addr::LOCALHOST, 8081), b"loopback").unwrap();
        call((Ipv6Addr::LOCALHOST, 8082), b"loopback").unwrap();
        assert!(call((Ipv4Addr::LOCALHOST, 8080), b"loopback").is_err());
        let missing = try_publish(&bridge, &container, "203.0.113.1:8080:80").unwrap_err();
        assert!(
            missing.to_string().starts_with("failed to bind host port 203.0.113.1:8080/tcp"),
            "{missing}"
        );
    });
}

#[test]
fn closing_ends_connections_and_forwards() {
    on_a_host(|host| {
        let Setting { outside, bridge, container } = setting(host);
        let published = try_publish(&bridge, &container, "8080:80").unwrap();
        let mut open = TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)).unwrap();
        open.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = [0; 1];
        std::io::Read::read_exact(&mut open, &mut greeting).unwrap();
        published.close().unwrap();
        let mut rest = Vec::new();
        match std::io::Read::read_to_end(&mut open, &mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        assert!(call((Ipv4Addr::LOCALHOST, 8080), b"closed").is_err());
        assert!(from(&outside, || call((HOST, 8080), b"closed")).is_err());
    });
}

#[test]
fn a_refused_connection_is_passed_on() {
    on_a_host(|host| {
        let Setting { bridge, container, .. } = setting(host);
        let _published = try_publish(&bridge, &container, "8080:81").unwrap();
        let start = Instant::now();
        assert!(call((Ipv4Addr::LOCALHOST, 8080), b"nobody listens on 81").is_err());
        assert!(start.elapsed() < PATIENCE, "at once, not by a timeout");
    });
}

/// Without the bridge a packet for a container address would leave by the default route. The machine outside
/// would see it.
#[test]
fn nothing_leaves_by_the_default_route_when_the_bridge_is_gone() {
    on_a_host(|host| {
        let Setting { outside, bridge, container } = setting(host);
        let _published = try_publish(&bridge, &container, "8080:80").unwrap();
        let _udp = try_publish(&bridge, &container, "5353:53/udp").unwrap();
        call_udp((Ipv4Addr::LOCALHOST, 5353), b"a session that outlives the bridge").unwrap();
        // Outside plays the container's address, so that a packet that escapes is answered.
        let caught = from(&outside, || {
            tool(&format!("ip addr add {}/32 dev out0", container.address()));
            let tcp = TcpListener::bind((container.address(), 80)).unwrap();
            tcp.set_nonblocking(true).unwrap();
            let udp = UdpSocket::bind((container.address(), 53)).unwrap();
            udp.set_nonblocking(true).unwrap();
            (tcp, udp)
        });
        tool("ip link del st0");
        assert!(
            TcpStream::connect_timeout(&SocketAddr::from((container.address(), 80)), PATIENCE).is_ok(),
            "an ordinary socket would escape: the trap works"
        );
        while caught.0.accept().is_ok() {}
        let start = Instant::now();
        assert!(call((Ipv4Addr::LOCALHOST, 8080), b"lost").is_err());
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"lost", (Ipv4Addr::LOCALHOST, 5353)).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(start.elapsed() < PATIENCE, "refused at once");
        assert!(caught.0.accept().is_err(), "no TCP packet left");
        assert!(caught.1.recv_from(&mut [0; 64]).is_err(), "no UDP packet left");
    });
}

/// The kernel decides where a UDP connection leads when it sees its first packet.
#[test]
fn a_udp_client_that_never_stops_follows_the_container() {
    on_a_host(|host| {
        let Setting { outside, bridge, container } = setting(host);
        let client = from(&outside, || UdpSocket::bind((OUTSIDE, 4000)).unwrap());
        client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        client.connect((HOST, 5353)).unwrap();
        let answered = || {
            let mut buffer = [0; 64];
            // The host's "port unreachable" for an earlier datagram may be reported on a later call.
            (0..3).any(|_| client.send(b"x").is_ok() && client.recv(&mut buffer).is_ok())
        };
        assert!(!answered(), "not published yet");
        let published = try_publish(&bridge, &container, "5353:53/udp").unwrap();
        assert!(answered(), "it was sending before the port was published");
        let next = Container::on(&bridge);
        next.echo_udp(53);
        published.close().unwrap();
        assert!(!answered(), "the port is closed, although the container still runs");
        let _published = try_publish(&bridge, &next, "5353:53/udp").unwrap();
        assert!(answered(), "it was sending to the container before");
        let tracked = tool("cat /proc/net/nf_conntrack");
        let ours = tracked.lines().filter(|line| line.contains("dport=5353")).collect::<Vec<_>>();
        assert!(ours.len() == 1 && ours[0].contains(&format!("src={}", next.address())), "{tracked}");
    });
}

#[test]
fn many_publish_and_close_at_once() {
    on_a_host(|host| {
        let Setting { bridge, container, .. } = setting(host);
        let empty = tool("nft list map ip strata-st0 ports");
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        try_publish(&bridge, &container, "80").unwrap().close().unwrap();
                    }
                });
            }
        });
        assert_eq!(tool("nft list map ip strata-st0 ports"), empty);
        let range = try_publish(&bridge, &container, "20000-20149:1000-1149").unwrap();
        assert_eq!(range.bindings().len(), 300);
        range.close().unwrap();
        assert_eq!(tool("nft list map ip strata-st0 ports"), empty);
    });
}

#[test]
fn what_a_killed_supervisor_leaves_is_swept() {
    on_a_host(|host| {
        let Setting { bridge, container, .. } = setting(host);
        let address = container.address();
        // As after SIGKILL: the listeners close, the forwards stay.
        let forward = format!("add element ip strata-st0 ports {{ tcp . 8080 : {address} . 80 }}");
        let leave = || tool(&format!("nft {forward}"));
        leave();
        assert_eq!(bridge.sweep().unwrap(), 0, "the container still runs, and so does its port");
        let other = Container::on(&bridge);
        let taken = try_publish(&bridge, &other, "8080:80").unwrap_err();
        assert_eq!(taken.to_string(), "Bind for 0.0.0.0:8080 failed: port is already allocated");

        gone(container);
        try_publish(&bridge, &other, "8080:80")
            .expect("the port of a container that is gone is free")
            .close()
            .unwrap();
        leave();
        assert_eq!(bridge.sweep().unwrap(), 1);
        leave();
        let heir = Container::on(&bridge);
        assert_eq!(heir.address(), address);
        let ports = tool("nft list map ip strata-st0 ports");
        assert!(!ports.contains("8080"), "the next owner of the address does not inherit its ports: {ports}");
    });
}

/// Ends a container.
fn gone(container: Container) {
    let link = format!("veth{:08x}", container.address().to_bits());
    drop(container);
    // The sockets of its echo servers still hold the namespace.
    tool(&format!("ip link del {link}"));
}
