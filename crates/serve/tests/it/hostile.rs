//! Names, paths, numbers and bodies that nobody honest sends.

use crate::world::{World, files};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use strata_oci::Digest;

#[test]
fn no_name_leads_out_of_the_directory() {
    let world = World::new();
    let digest = world.push("a", b"x");
    let secret = world.root().parent().expect("a parent").join("secret");
    fs_err::write(&secret, "secret").expect("a file");
    let before = files(secret.parent().expect("a parent"));
    for target in [
        "/v2/../secret/manifests/latest",
        "/v2/../../secret",
        "/v2/a/../../../secret/tags/list",
        "/v2/%2e%2e/%2e%2e/secret/tags/list",
        "/v2/a%2f..%2f..%2f..%2fsecret/tags/list",
        "/v2/_uploads/tags/list",
        "/v2/a/_tags/tags/list",
        "/v2/a/manifests/..%2f..%2f..%2f..%2fsecret",
        "/v2/a/manifests/%2fetc%2fpasswd",
        "/v2/a/blobs/sha256:..%2f..%2f..%2f..%2fsecret",
        "/v2/a/blobs/uploads/..%2f..%2f..%2f..%2fsecret",
        "/v2/a/blobs/uploads/%2e%2e",
        "/v2/a/referrers/..",
        "/v2/a%00b/tags/list",
        "/v2/a/manifests/x%00",
        "/v2/a%0d%0aX-Injected:%20yes/tags/list",
        "/v2/\u{e4}/tags/list",
    ] {
        for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"] {
            let reply = world.ask(method, target, &[], b"{}");
            assert!((400..406).contains(&reply.status), "{method} {target}: {reply:?}");
            assert_eq!(reply.find("x-injected"), None);
            assert!(!reply.body.windows(6).any(|six| six == b"secret\n"));
        }
    }
    let mount = format!("/v2/b/blobs/uploads/?mount={digest}&from=../../secret");
    assert_eq!(world.ask("POST", &mount, &[], b"").status, 202);
    let after = files(secret.parent().expect("a parent"));
    let new: Vec<_> = after.iter().filter(|file| !before.contains(file)).collect();
    assert!(new.iter().all(|(name, _)| name.starts_with("registry/repositories/b/_uploads/")), "{new:?}");
}

#[test]
fn long_names_and_heads_are_refused_not_served() {
    let world = World::new();
    let component = "a".repeat(250);
    assert_eq!(world.ask("POST", &format!("/v2/{component}/blobs/uploads/"), &[], b"").status, 202);
    for name in ["a".repeat(256), format!("{component}/{component}"), "a/".repeat(200)] {
        assert_eq!(world.ask("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"").status, 400);
    }
    let long = "x".repeat(2_000_000);
    let status = world.ask("GET", &format!("/v2/{long}/tags/list"), &[], b"").status;
    assert!(matches!(status, 400 | 414 | 431), "{status}");
    let status = world.ask("GET", "/v2/", &[("X-Long", &long)], b"").status;
    assert!(matches!(status, 400 | 431), "{status}");
    assert_eq!(world.get("/v2/").status, 200);
}

#[test]
fn nonsense_on_the_wire_ends_its_connection_only() {
    let world = World::new();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = TcpStream::connect(world.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        stream.write_all(bytes).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("shut");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.0 4"),
            "{text}"
        );
    }
    assert_eq!(world.get("/v2/").status, 200);
}

#[test]
fn an_early_answer_is_read_by_a_client_that_still_sends() {
    let world = World::new();
    let location = world.begin("a");
    let body = vec![0; 3_000_000];
    let reply = world.ask("PATCH", &location, &[("Content-Range", "5-3000004")], &body);
    reply.refused(416, "BLOB_UPLOAD_INVALID");
    world.ask("PUT", "/v2/A/manifests/x", &[], &body).refused(400, "NAME_INVALID");
}

#[test]
fn a_hundred_uploads_left_open_keep_nobody_out() {
    let world = World::new();
    let open: Vec<TcpStream> = (0..100)
        .map(|_| {
            let location = world.begin("a");
            let mut stream = TcpStream::connect(world.address).expect("a connection");
            let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\npart");
            stream.write_all(head.as_bytes()).expect("sent");
            stream
        })
        .collect();
    let digest = world.push("a", b"mine");
    assert_eq!(world.get(&format!("/v2/a/blobs/{digest}")).body, b"mine");
    drop(open);
}

#[test]
fn damage_on_the_disk_is_told_not_served() {
    let world = World::new();
    let manifest = world.image("a", "1", "x");
    let hex = Digest::of(&manifest).hex();
    let path = world.root().join("blobs/sha256").join(&hex[..2]).join(&hex);
    fs_err::write(&path, "{}").expect("writable");
    world.get("/v2/a/manifests/1").refused(500, "UNKNOWN");
    fs_err::remove_file(&path).expect("there");
    world.get("/v2/a/manifests/1").refused(404, "MANIFEST_UNKNOWN");
    fs_err::write(world.root().join("repositories/a/_tags/1"), "nonsense").expect("writable");
    world.get("/v2/a/manifests/1").refused(500, "UNKNOWN");
    assert_eq!(world.get("/v2/a/tags/list").status, 200);
}
