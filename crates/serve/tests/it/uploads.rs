//! Category "Push": blobs in chunks, their order, cuts, and clients that come back.

use crate::world::{World, blobs};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use strata_oci::Digest;

fn chunk(world: &World, location: &str, first: usize, content: &[u8]) -> crate::world::Reply {
    let range = format!("{first}-{}", first + content.len() - 1);
    world.ask("PATCH", location, &[("Content-Range", &range)], content)
}

#[test]
fn chunks_in_order() {
    let world = World::new();
    let location = world.begin("a");
    let reply = world.get(&location);
    assert_eq!((reply.status, reply.header("range"), reply.header("location")), (204, "0-0", &*location));
    let reply = chunk(&world, &location, 0, b"0123");
    assert_eq!((reply.status, reply.header("range"), reply.header("location")), (202, "0-3", &*location));
    assert!(location.ends_with(reply.header("docker-upload-uuid")));
    // A stream without a range goes to the end, too.
    assert_eq!(world.ask("PATCH", &location, &[], b"456").header("range"), "0-6");
    assert_eq!(world.get(&location).header("range"), "0-6");
    let digest = Digest::of(b"0123456789");
    let last = [("Content-Range", "7-9")];
    let reply = world.ask("PUT", &format!("{location}?digest={digest}"), &last, b"789");
    assert_eq!((reply.status, reply.header("location")), (201, &*format!("/v2/a/blobs/{digest}")));
    assert_eq!(world.get(&format!("/v2/a/blobs/{digest}")).body, b"0123456789");
    world.get(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn chunks_out_of_order_say_where_to_go_on() {
    let world = World::new();
    let location = world.begin("a");
    for (first, received, range) in [(3, 0, "0-0"), (0, 4, "0-3"), (5, 4, "0-3")] {
        if received == 4 && world.get(&location).header("range") == "0-0" {
            assert_eq!(chunk(&world, &location, 0, b"0123").status, 202);
        }
        let reply = chunk(&world, &location, first, b"xyz");
        reply.refused(416, "BLOB_UPLOAD_INVALID");
        assert_eq!((reply.header("range"), reply.header("location")), (range, &*location));
    }
    let digest = Digest::of(b"0123456");
    let put = format!("{location}?digest={digest}");
    world.ask("PUT", &put, &[("Content-Range", "9-11")], b"456").refused(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(world.ask("PUT", &put, &[("Content-Range", "4-6")], b"456").status, 201);
}

#[test]
fn a_range_that_does_not_fit_its_body() {
    let world = World::new();
    let location = world.begin("a");
    let patch = |range: &str, body: &[u8]| world.ask("PATCH", &location, &[("Content-Range", range)], body);
    patch("0-9", b"123").refused(400, "SIZE_INVALID");
    patch("0-1", b"123").refused(400, "SIZE_INVALID");
    patch("1", b"123").refused(400, "BLOB_UPLOAD_INVALID");
    patch("5-2", b"123").refused(400, "BLOB_UPLOAD_INVALID");
    patch("0-18446744073709551615", b"123").refused(400, "BLOB_UPLOAD_INVALID");
    // In chunked encoding the length shows only while it comes: no more than announced counts.
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Range: 0-1\r\n");
    let long = format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n");
    world.raw(long.as_bytes()).refused(400, "SIZE_INVALID");
    assert_eq!(world.get(&location).header("range"), "0-0");
}

#[test]
fn a_cancelled_upload_is_gone() {
    let world = World::new();
    let location = world.begin("a");
    assert_eq!(chunk(&world, &location, 0, b"0123").status, 202);
    assert_eq!(world.ask("DELETE", &location, &[], b"").status, 204);
    world.ask("DELETE", &location, &[], b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
    chunk(&world, &location, 4, b"4567").refused(404, "BLOB_UPLOAD_UNKNOWN");
    let elsewhere = world.begin("a").replace("/a/", "/b/");
    world.get(&elsewhere).refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn what_came_before_a_cut_stays() {
    let world = World::new();
    let content: Vec<u8> = (0..900_000_u32).map(|n| (n % 253) as u8).collect();
    // Asking ends what the cut request still had in the pipe, so that the answer is final: it gets time to come first,
    // and more time where that was not enough.
    let (location, received) = [500, 5000, 20_000]
        .into_iter()
        .map(|pause| {
            let location = world.begin("a");
            let mut stream = TcpStream::connect(world.address).expect("a connection");
            let length = content.len();
            let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            stream.write_all(&content[..700_000]).expect("sent");
            drop(stream);
            std::thread::sleep(Duration::from_millis(pause));
            let received = received(&world, &location);
            (location, received)
        })
        // No byte and one byte look alike.
        .find(|(_, received)| *received > 1)
        .expect("something came");
    assert!((1..=700_000).contains(&received), "{received} bytes that came count");
    assert_eq!(chunk(&world, &location, received, &content[received..]).status, 202);
    let digest = Digest::of(&content);
    assert_eq!(world.ask("PUT", &format!("{location}?digest={digest}"), &[], b"").status, 201);
}

fn received(world: &World, location: &str) -> usize {
    let reply = world.get(location);
    reply.header("range")[2..].parse::<usize>().expect("a number") + 1
}

#[test]
fn a_client_that_comes_back_need_not_wait_for_its_own_ghost() {
    let world = World::new();
    // The first request hangs with its connection open; the second one takes the upload over. On a busy machine it may
    // come before the first one's bytes were read, which are lost then: that is another story, so again with more time.
    let (location, reply, took) = [50, 500, 5000]
        .into_iter()
        .map(|pause| {
            let location = world.begin("a");
            let mut ghost = TcpStream::connect(world.address).expect("a connection");
            let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nghost");
            ghost.write_all(head.as_bytes()).expect("sent");
            std::thread::sleep(Duration::from_millis(pause));
            let begin = Instant::now();
            let reply = chunk(&world, &location, 5, b"writer");
            (location, reply, begin.elapsed())
        })
        .find(|(_, reply, _)| reply.status != 416)
        .expect("the ghost's bytes were read");
    assert_eq!((reply.status, reply.header("range")), (202, "0-10"));
    assert!(took < Duration::from_secs(5));
    let digest = Digest::of(b"ghostwriter");
    assert_eq!(world.ask("PUT", &format!("{location}?digest={digest}"), &[], b"").status, 201);
}

#[test]
fn an_upload_outlives_the_server() {
    let world = World::new();
    let location = world.begin("a");
    assert_eq!(chunk(&world, &location, 0, b"before").status, 202);
    let world = world.again();
    assert_eq!(world.get(&location).header("range"), "0-5");
    assert_eq!(chunk(&world, &location, 6, b" and after").status, 202);
    let digest = Digest::of(b"before and after");
    assert_eq!(world.ask("PUT", &format!("{location}?digest={digest}"), &[], b"").status, 201);
    let world = world.again();
    assert_eq!(world.get(&format!("/v2/a/blobs/{digest}")).body, b"before and after");
}

#[test]
fn many_clients_push_the_same_and_different_blobs_at_once() {
    let world = World::new();
    let content = |n: usize| vec![n as u8; 300_000];
    std::thread::scope(|scope| {
        for client in 0..12 {
            let (world, content) = (&world, &content);
            scope.spawn(move || {
                for n in 0..3 {
                    world.push(&format!("r{}", client % 3), &content(n));
                }
                world.image(&format!("r{}", client % 3), "latest", &format!("client {client}"));
            });
        }
    });
    assert_eq!(
        blobs(&world.root()),
        3 + 12 * 3,
        "three shared blobs; config, layer, manifest of each client"
    );
    for n in 0..3 {
        assert!(world.get(&format!("/v2/r1/blobs/{}", Digest::of(&content(n)))).body == content(n));
    }
    assert_eq!(world.get("/v2/r0/manifests/latest").status, 200);
    let left: Vec<_> = crate::world::files(&world.root().join("staging"));
    assert_eq!(left, []);
}
