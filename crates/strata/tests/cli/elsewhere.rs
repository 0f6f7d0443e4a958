//! Builds of what is elsewhere: servers on loopback.

use crate::answers::answer;
use crate::world::{World, archive, wait_for};
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};
use strata_testbed::Server;

const DOCKERFILE: &[u8] = b"FROM scratch\nCOPY f /f\n";

/// An archive with a Dockerfile at `/context.tar`, the Dockerfile alone at `/Dockerfile`, `text` anywhere else.
fn server() -> Server {
    let tar = archive(&[
        ("Dockerfile", 0o644, DOCKERFILE),
        ("f", 0o644, b"x"),
        ("sub/Dockerfile", 0o644, b"FROM scratch\n"),
    ]);
    let tar = tar.into_inner().expect("memory");
    Server::keeping(move |request, out| match request.target.as_str() {
        "/context.tar" => answer(out, "200 OK", &[("ETag", "\"1\"")], &tar),
        "/Dockerfile" => answer(out, "200 OK", &[], b"FROM scratch\nLABEL from=elsewhere\n"),
        "/missing" => answer(out, "404 Not Found", &[], b""),
        _ => answer(out, "200 OK", &[], b"text"),
    })
}

#[test]
fn contexts_and_dockerfiles_at_urls() {
    let (world, server) = (World::new(), server());
    world.file("ctx/f", b"x");
    let url = |path: &str| server.url(path);
    let id = world.ok(&["build", "-q", &url("/context.tar")]);
    assert_eq!(world.ok(&["build", "-q", &url("/context.tar")]), id);
    world.ok(&["build", "-q", "-f", "sub/Dockerfile", &url("/context.tar")]);
    world.ok(&["build", "-q", "-t", "plain", &url("/Dockerfile")]);
    let labels = world.ok(&["inspect", "-f", "{{json .Config.Labels}}", "plain"]);
    assert_eq!(labels, "{\"from\":\"elsewhere\"}\n");
    world.ok(&["build", "-q", "-f", &url("/Dockerfile"), "ctx"]);
    world.file("named/Dockerfile", b"FROM scratch\nCOPY --from=far /note.txt /\n");
    let named = format!("far={}", url("/note.txt"));
    world.ok(&["build", "-q", "--build-context", &named, "named"]);
}

#[test]
fn an_image_of_a_layout_is_a_context() {
    let world = World::with_base();
    for (directory, label) in [("one", "x=1"), ("two", "x=2")] {
        world.file("labelled/Dockerfile", format!("FROM base:1\nLABEL {label}\n").as_bytes());
        let output = format!("type=oci,dest={directory},tar=false,name=base:{directory}");
        world.ok(&["build", "-q", "-o", &output, "labelled"]);
    }
    world.file("named/Dockerfile", b"FROM from-layout\nCOPY --from=from-layout /data/seed /seed\n");
    let build = |value: &str| {
        let context = format!("from-layout=oci-layout://{value}");
        world.output(&["build", "-q", "-t", "named", "--build-context", &context, "named"])
    };
    let label = || world.ok(&["inspect", "-f", "{{.Config.Labels.x}}", "named"]);
    for (value, wanted) in [("one", "1\n"), ("two:two", "2\n")] {
        let output = build(value);
        assert!(output.status.success(), "{value}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(label(), wanted, "{value}");
    }
    let index = fs_err::read_to_string(world.path("one/index.json")).expect("a layout");
    let at = index.find("sha256:").expect("a digest");
    assert!(build(&format!("one@{}", &index[at..at + 71])).status.success());
    assert_eq!(label(), "1\n");
    let missing = String::from_utf8_lossy(&build("one:three").stderr).into_owned();
    assert!(missing.contains("one: the layout holds no image three; it holds: "), "{missing}");
    assert_eq!(build("nosuch").status.code(), Some(1));
    // What was looked at is no image here: the last results are, and the base.
    let all = world.ok(&["images", "-a", "--format", "{{.Repository}}"]);
    let ids = world.ok(&["images", "-aq", "--filter", "dangling=true"]);
    assert_eq!((all.lines().filter(|name| *name == "<none>").count(), ids.lines().count()), (1, 1), "{all}");
}

/// `SOURCE_DATE_EPOCH` names a stage that fetches something: the time of that.
#[test]
fn the_time_of_a_stage_that_fetches() {
    let world = World::new();
    let tar = archive(&[("new", 0o644, b"x")]).into_inner().expect("memory");
    let server = Server::keeping(move |request, out| match request.target.as_str() {
        "/dated" => answer(out, "200 OK", &[("Last-Modified", "Sun, 13 Sep 2020 12:26:40 GMT")], b"text"),
        "/tar" => answer(out, "200 OK", &[], &tar),
        _ => answer(out, "200 OK", &[], b"text"),
    });
    let created = |target: &str| {
        let url = server.url(target);
        let text = format!(
            "ARG SOURCE_DATE_EPOCH=Source\nFROM scratch AS source\nADD {url} /\nFROM scratch\nARG SOURCE_DATE_EPOCH\n\
             LABEL epoch=$SOURCE_DATE_EPOCH\nCOPY --from=source / /\n"
        );
        world.file("ctx/Dockerfile", text.as_bytes());
        world.ok(&["build", "-q", "-t", "dated", "ctx"]);
        world.ok(&["inspect", "-f", "{{.Created}} {{.Config.Labels.epoch}}", "dated"])
    };
    assert_eq!(created("/dated"), "2020-09-13T12:26:40Z 1600000000\n");
    // The server does not say, but the newest file in the archive does.
    assert_eq!(created("/tar"), "2023-11-14T22:13:20Z 1700000000\n");
    assert!(created("/undated").ends_with("Z \n"), "nothing says when it was made");
    world.file("ctx/Dockerfile", b"ARG SOURCE_DATE_EPOCH=s\nFROM scratch AS s\nCOPY f /\n");
    let output = world.output(&["build", "ctx"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("source-only requirements: unsupported COPY instruction"), "{stderr}");
    assert!(stderr.contains("Dockerfile:2:1"), "{stderr}");
}

#[test]
fn what_cannot_be_fetched_is_told() {
    let (world, server) = (World::new(), server());
    let missing = server.url("/missing");
    let output = world.output(&["build", &missing]);
    assert_eq!(output.status.code(), Some(1));
    let wanted = format!("ERROR: failed to build: {missing}: invalid response status 404\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), wanted);
    let output = world.output(&["build", "-f", "nosuch", &server.url("/context.tar")]);
    let wanted =
        "ERROR: failed to build: failed to read dockerfile: open nosuch: no such file or directory\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), wanted);
    world.file("add/Dockerfile", format!("FROM scratch\nADD {missing} /x\n").as_bytes());
    let output = world.output(&["build", "--progress=plain", "add"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(&format!(">>> ADD {missing} /x\n     |         ^^^^^^^")), "{stderr}");
    assert!(
        stderr.ends_with(&format!("failed to solve: {missing}: invalid response status 404\n")),
        "{stderr}"
    );
}

/// Ctrl-C while a server is silent: in a context, in a repository, in an ADD.
#[test]
fn a_silent_server_can_be_interrupted() {
    let world = World::new();
    let server = Server::keeping(|request, out| {
        if request.target != "/stop" {
            let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx");
            std::thread::sleep(std::time::Duration::from_secs(30));
        }
        false
    });
    world.file("add/Dockerfile", format!("FROM scratch\nADD {} /x\n", server.url("/x")).as_bytes());
    for (number, context) in
        [server.url("/context"), server.url("/x.git"), "add".to_owned()].iter().enumerate()
    {
        let mut child =
            world.command(&["build", "-q", context]).stderr(Stdio::piped()).spawn().expect("starts");
        wait_for(|| server.seen().len() > number);
        let started = Instant::now();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{context}");
        assert!(started.elapsed() < Duration::from_secs(20), "{context}");
        let mut stderr = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        assert!(stderr.ends_with("canceled\n") && !stderr.contains("cache key"), "{stderr}");
    }
}

#[test]
fn proxies_of_the_environment_are_used() {
    let world = World::new();
    // As a proxy it is asked for whole addresses.
    let proxy = Server::keeping(|request, out| {
        assert_eq!(request.target, "http://far.invalid/f");
        answer(out, "200 OK", &[], b"by proxy")
    });
    world.file("add/Dockerfile", b"FROM scratch\nADD http://far.invalid/f /f\n");
    let address = format!("http://127.0.0.1:{}", proxy.port());
    let mut command = world.command(&["build", "-q", "add"]);
    let output =
        command.env("http_proxy", &address).env_remove("HTTP_PROXY").output().expect("strata starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(proxy.seen().len(), 1);
    let output = world
        .command(&["build", "--no-cache", "add"])
        .env("http_proxy", &address)
        .env("NO_PROXY", "*")
        .output();
    let stderr = String::from_utf8_lossy(&output.expect("strata starts").stderr).into_owned();
    assert!(stderr.contains("cannot resolve far.invalid"), "{stderr}");
}
