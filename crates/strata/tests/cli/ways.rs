//! The way to a registry as a machine is set up: proxies and credentials of the environment; and what a terminal shows of it.

use crate::terminal::Terminal;
use crate::world::World;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::sync::{Arc, Mutex};
use strata_testbed::{Fault, Guard, Registry, Request, Server, Setup, USER, Wire};

/// A name that only the proxy knows.
const FAR: &str = "registry.invalid:5000";

/// A proxy for plain http, which knows [`FAR`] to be the registry; and what came to it.
fn proxy(registry: &Registry) -> Server {
    let (host, from) = (registry.host(), format!("http://{FAR}"));
    Server::start(move |request: &Request, out| {
        let Some(path) = request.target.strip_prefix(&from) else {
            let _ = out.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            return;
        };
        let mut onwards = TcpStream::connect(&host).expect("the registry listens");
        let mut head = format!("{} {path} HTTP/1.1\r\nConnection: close\r\n", request.method);
        for (name, value) in &request.headers {
            let hop = ["connection", "proxy-authorization", "transfer-encoding", "content-length"];
            if !hop.contains(&name.to_lowercase().as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", request.body.len()));
        onwards.write_all(head.as_bytes()).and_then(|()| onwards.write_all(&request.body)).expect("sent");
        let mut answer = Vec::new();
        onwards.read_to_end(&mut answer).expect("answered");
        let _ = out.write_all(&answer);
    })
}

fn run(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = world.command(arguments);
    for name in ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        command.env_remove(name);
    }
    command.env("DOCKER_CONFIG", world.path("docker")).env("HOME", world.path("home"));
    command.env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME");
    command.env("STRATA_CONFIG", world.path("settings.json"));
    command.envs(variables.iter().copied()).output().expect("strata starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn registries_are_reached_through_the_proxy_of_the_environment() {
    let Some(registry) = Registry::start() else { return };
    let (world, proxy) = (World::with_base(), proxy(&registry));
    world.file("settings.json", format!("{{\"insecure-registries\": [\"{FAR}\"]}}").as_bytes());
    let (name, address) =
        (format!("{FAR}/team/base:1"), format!("http://me:hunter2@127.0.0.1:{}", proxy.port()));
    world.ok(&["tag", "base:1", &name]);
    let through = [("http_proxy", address.as_str())];
    let pushed = run(&world, &["push", &name], &through);
    assert!(pushed.status.success(), "{}", stderr(&pushed));
    world.ok(&["rmi", &name]);
    let pulled = run(&world, &["pull", "-q", &name], &[("HTTP_PROXY", &address)]);
    assert!(pulled.status.success(), "{}", stderr(&pulled));
    let seen = proxy.seen();
    assert!(seen.iter().any(|request| request.method == "PATCH" || request.method == "PUT"));
    assert!(seen.iter().any(|request| request.method == "GET"));
    let known = |request: &Request| request.header("proxy-authorization") == Some("Basic bWU6aHVudGVyMg==");
    assert!(seen.iter().all(known), "the proxy's password goes to the proxy, and with every request");

    // Registries on this machine have no proxy, and others only as `NO_PROXY` leaves them one.
    let before = proxy.seen().len();
    let near = format!("{}/team/base:1", registry.host());
    assert!(run(&world, &["pull", "-q", &near], &through).status.success());
    for none in ["*", "registry.invalid", ".invalid", FAR] {
        let refused = run(&world, &["pull", &name], &[through[0], ("no_proxy", none)]);
        let told = stderr(&refused);
        assert!(told.contains("cannot resolve registry.invalid"), "{none}: {told}");
    }
    assert_eq!(proxy.seen().len(), before);
    for other in ["other.invalid", "invalid:443", "gistry.invalid"] {
        assert!(run(&world, &["pull", "-q", &name], &[through[0], ("NO_PROXY", other)]).status.success());
    }
    // https goes by a tunnel, which this proxy refuses; its password is nobody else's business.
    let refused = run(&world, &["pull", "secure.invalid/a:1"], &[("https_proxy", &address)]);
    let told = stderr(&refused);
    assert!(told.contains(&format!("127.0.0.1:{}", proxy.port())) && told.contains("403"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    let last = proxy.seen().pop().expect("asked");
    assert_eq!((last.method.as_str(), last.target.as_str()), ("CONNECT", "secure.invalid:443"));
}

#[test]
fn the_file_of_credentials_is_the_one_that_is_named() {
    let setup = Setup { guard: Guard::Password, ..Setup::default() };
    let Some(registry) = Registry::with(&setup) else { return };
    let (world, host) = (World::with_base(), registry.host());
    let name = format!("{host}/a:1");
    world.ok(&["tag", "base:1", &name]);
    let file = world.path("elsewhere/auth.json").display().to_string();
    let named = [("REGISTRY_AUTH_FILE", file.as_str())];
    // podman's file, which is nobody's who does not name it.
    let auth = "dGVzdGVyOnBhc3M6d29yZA==";
    world.file(
        "elsewhere/auth.json",
        format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{auth}\"}}}}}}").as_bytes(),
    );
    assert!(!run(&world, &["push", "-q", &name], &[]).status.success());
    let pushed = run(&world, &["push", "-q", &name], &named);
    assert!(pushed.status.success(), "{}", stderr(&pushed));
    // With it, Docker's own counts no more.
    world.file(
        "docker/config.json",
        format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{auth}\"}}}}}}").as_bytes(),
    );
    assert!(run(&world, &["pull", "-q", &name], &[]).status.success());
    let empty = world.path("elsewhere/none.json").display().to_string();
    let refused = run(&world, &["pull", &name], &[("REGISTRY_AUTH_FILE", &empty)]);
    assert!(!refused.status.success() && stderr(&refused).contains("strata login"), "{}", stderr(&refused));
    // What is logged in and out of is that file, too.
    let login = ["login", "-u", USER.0, "-p", USER.1, &host];
    let told = run(&world, &login, &[("REGISTRY_AUTH_FILE", &empty)]);
    assert!(told.status.success(), "{}", stderr(&told));
    assert!(fs_err::read_to_string(&empty).expect("written").contains(auth));
    assert!(run(&world, &["logout", &host], &[("REGISTRY_AUTH_FILE", &empty)]).status.success());
    assert!(!fs_err::read_to_string(&empty).expect("there").contains(auth));
    assert!(fs_err::read_to_string(world.path("docker/config.json")).expect("there").contains(auth));
}

/// Waits for a text, unless it is there already.
fn shows(terminal: &mut Terminal, text: &str) {
    if !terminal.shown().contains(text) {
        terminal.expect(text);
    }
}

/// Bars while something is under way, one line for each layer, drawn over the last ones.
#[test]
fn a_terminal_shows_bars() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new();
    let content: Vec<u8> =
        (0..400_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for layer in ["a", "b"] {
        world.file(&format!("ctx/{layer}"), &[layer.as_bytes(), &content].concat());
    }
    world.file("ctx/Dockerfile", b"FROM scratch\nCOPY a /\nCOPY b /\n");
    let direct = format!("{}/bars:1", registry.host());
    world.ok(&["build", "-q", "-t", &direct, "ctx"]);
    world.ok(&["push", "-q", &direct]);
    // One layer of each transfer stops in the middle.
    let held = Arc::new(Mutex::new(0));
    let wire = Wire::to(&registry.host(), move |request, _| {
        let (get, patch) =
            (request.method == "GET" && request.target.contains("/blobs/"), request.method == "PATCH");
        let mut held = held.lock().expect("no panics");
        *held += usize::from(get || patch);
        match (get, patch, *held) {
            // After the config.
            (true, _, 2) => Fault::HoldAnswer(500_000),
            // The first of the blocks that a layer is compressed in has a megabyte.
            (_, true, _) => Fault::HoldRequest(1_300_000),
            _ => Fault::Pass,
        }
    });
    let other = World::new();
    let mut pulling = Terminal::start(&other, &["pull", &format!("{}/bars:1", wire.host())]);
    shows(&mut pulling, "Downloading [");
    shows(&mut pulling, "=>");
    shows(&mut pulling, "kB/1.6");
    shows(&mut pulling, "Pull complete");
    // The cursor goes up to draw the lines anew.
    shows(&mut pulling, "\x1b[2A");
    pulling.send("\x03");
    pulling.ends_with(130);
    let name = format!("{}/sent:1", wire.host());
    world.ok(&["tag", &direct, &name]);
    let mut pushing = Terminal::start(&world, &["push", &name]);
    shows(&mut pushing, "Pushing [=");
    shows(&mut pushing, "/1.6");
    pushing.send("\x03");
    pushing.ends_with(130);
}
