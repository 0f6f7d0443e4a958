//! Published ports carry traffic: through the proxy on the host's loopback addresses, IPv4 and IPv6.

use crate::world::{World, wait_for};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What the service answers to `question`; `None` while it does not.
fn ask(address: &str, question: &str) -> Option<String> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    stream.write_all(question.as_bytes()).ok()?;
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

fn host_port(world: &World, name: &str, port: &str) -> String {
    let template = format!("{{{{(index (index .NetworkSettings.Ports \"{port}\") 0).HostPort}}}}");
    world.ok(&["inspect", "-f", &template, name]).trim().to_owned()
}

#[test]
fn traffic_reaches_the_container_and_comes_back() {
    let Some(world) = World::with_shell("traffic_reaches_the_container_and_comes_back") else { return };
    let serve = "exec nc -ll -p 8080 -e sh -c 'read x; echo \"$x from $(hostname)\"'";
    world.ok(&[
        "run",
        "-d",
        "--name",
        "echo",
        "--hostname",
        "inside",
        "-p",
        "8080",
        "box:1",
        "sh",
        "-c",
        serve,
    ]);
    let port = host_port(&world, "echo", "8080/tcp");
    for host in ["127.0.0.1", "[::1]"] {
        let address = format!("{host}:{port}");
        wait_for(|| ask(&address, "ready\n").is_some());
        assert_eq!(ask(&address, "hello\n").as_deref(), Some("hello from inside\n"), "{host}");
    }
    world.ok(&["rm", "-f", "echo"]);
    assert_eq!(ask(&format!("127.0.0.1:{port}"), "x\n"), None, "closed with the container");
}

/// A port published on one address is not there on the others.
#[test]
fn an_address_is_the_only_one() {
    let Some(world) = World::with_shell("an_address_is_the_only_one") else { return };
    let serve = "exec nc -ll -p 9 -e sh -c 'echo here'";
    let run = ["run", "-d", "--name", "six", "-p", "[::1]:0:9", "box:1", "sh", "-c", serve];
    world.ok(&run);
    let port = host_port(&world, "six", "9/tcp");
    wait_for(|| ask(&format!("[::1]:{port}"), "x\n").is_some());
    assert_eq!(ask(&format!("127.0.0.1:{port}"), "x\n"), None);
    world.ok(&["rm", "-f", "six"]);
}
