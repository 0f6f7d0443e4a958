//! ADD of URLs.
use crate::answers::answer;
use crate::world::{World, text};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use strata_engine::EngineError;
use strata_engine::build::{Secret, SecretSource};
use strata_testbed::Server;

const DATE: &str = "Thu, 01 Jan 1970 00:01:00 GMT";

/// One file, with what the server knows of versions.
#[derive(Clone)]
struct Published {
    body: Vec<u8>,
    etag: &'static str,
    date: &'static str,
}

fn publish(first: Published) -> (Server, Arc<Mutex<Published>>) {
    let now = Arc::new(Mutex::new(first));
    let shared = Arc::clone(&now);
    let server = Server::keeping(move |request, out| {
        let file = shared.lock().unwrap().clone();
        if request.header("if-none-match") == Some(file.etag) {
            return answer(out, "304 Not Modified", &[], b"");
        }
        answer(out, "200 OK", &[("ETag", file.etag), ("Last-Modified", file.date)], &file.body)
    });
    (server, now)
}

fn line_of(error: &EngineError, file: &str) -> usize {
    let EngineError::Build(error) = error else { panic!("{}", text(error)) };
    file[..error.spans.first().unwrap().start].matches('\n').count() + 1
}

#[test]
fn a_file_is_fetched_once_and_asked_about_again() {
    let Some(world) = World::with_base() else { return };
    let (server, now) = publish(Published { body: b"text".to_vec(), etag: "\"1\"", date: DATE });
    let url = server.url("/dir/a%20b.txt?query");
    let file = format!(
        "FROM busybox\nADD {url} /d/\nADD --chmod=644 --chown=5:6 {url} /e/renamed\n\
         RUN busybox stat -c '%a %u:%g %Y %s' '/d/a b.txt' | grep -qx '600 0:0 60 4'\n\
         RUN busybox stat -c '%a %u:%g %Y %s' /e/renamed | grep -qx '644 5:6 60 4'\n"
    );
    let request = world.context(&file, &[]);
    let first = world.build(&request).unwrap().id;
    assert_eq!(server.seen().len(), 1, "two steps of one build want the same file");
    assert_eq!(server.seen()[0].target, "/dir/a%20b.txt?query");
    assert_eq!(world.build(&request).unwrap().id, first);
    assert_eq!(server.seen()[1].header("if-none-match"), Some("\"1\""));
    // Another version with the same bytes: the layer is taken from the cache.
    *now.lock().unwrap() =
        Published { body: b"text".to_vec(), etag: "\"2\"", date: "Fri, 02 Jan 1970 00:00:00 GMT" };
    assert_eq!(world.build(&request).unwrap().id, first);
    // Other bytes.
    *now.lock().unwrap() = Published { body: b"more".to_vec(), etag: "\"3\"", date: DATE };
    assert_ne!(world.build(&request).unwrap().id, first);
    assert_eq!(server.seen().len(), 4);
    world.assert_sound();
}

#[test]
fn a_checksum_is_checked_and_spares_the_question() {
    let Some(world) = World::new() else { return };
    let (server, _) = publish(Published { body: b"text".to_vec(), etag: "\"1\"", date: DATE });
    let url = server.url("/f");
    let right = "sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";
    let wrong = format!("sha256:{}", "0".repeat(64));
    let file = format!("FROM scratch\nADD --checksum={wrong} {url} /f\n");
    let error = world.build(&world.context(&file, &[])).unwrap_err();
    assert_eq!(line_of(&error, &file), 2);
    let wanted = format!("{url}: digest mismatch: expected {wrong}, got {right}");
    assert!(text(&error).contains(&wanted), "{}", text(&error));
    world.assert_nothing_left();
    let request = world.context(&format!("FROM scratch\nADD --checksum={right} {url} /f\n"), &[]);
    let first = world.build(&request).unwrap().id;
    let asked = server.seen().len();
    assert_eq!(world.build(&request).unwrap().id, first);
    assert_eq!(server.seen().len(), asked, "the bytes that are meant are known");
    for (checksum, sentence) in
        [("sha256:12", "invalid checksum \"sha256:12\""), ("md5:0", "invalid checksum")]
    {
        let file = format!("FROM scratch\nADD --checksum={checksum} {url} /f\n");
        let error = world.build(&world.context(&file, &[])).unwrap_err();
        assert!(text(&error).contains(sentence), "{}", text(&error));
    }
    world.assert_sound();
}

/// Every answer ends early: the rest is asked for, as long as the file is the same.
#[test]
fn a_download_that_breaks_off_goes_on() {
    let Some(world) = World::with_base() else { return };
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let whole = body.clone();
    let server = Server::keeping(move |request, out| {
        let first: usize = request
            .header("range")
            .map_or(0, |range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap());
        let status = if first == 0 { "200 OK" } else { "206 Partial Content" };
        let _ = write!(
            out,
            "HTTP/1.1 {status}\r\nETag: \"x\"\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{}/{}\r\n\r\n",
            whole.len() - first,
            whole.len() - 1,
            whole.len()
        );
        let _ = out.write_all(&whole[first..whole.len().min(first + 500_000)]);
        first + 500_000 >= whole.len()
    });
    let digest = strata_oci::Digest::of(&body);
    let file = format!(
        "FROM busybox\nADD --checksum={digest} {} /f\nRUN busybox sha256sum /f | grep -q {}\n",
        server.url("/f"),
        digest.hex()
    );
    world.build(&world.context(&file, &[])).unwrap();
    let seen = server.seen();
    let ranges: Vec<_> = seen.iter().map(|request| request.header("range")).collect();
    assert_eq!(ranges, [None, Some("bytes=500000-"), Some("bytes=1000000-")]);
    assert_eq!(seen[1].header("if-range"), Some("\"x\""));
    world.assert_sound();
}

#[test]
fn a_server_without_ranges_is_asked_for_everything_again() {
    let Some(world) = World::new() else { return };
    let broken = AtomicBool::new(false);
    let server = Server::keeping(move |_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        let first = !broken.swap(true, Ordering::SeqCst);
        let _ = out.write_all(if first { b"01234" } else { b"0123456789" });
        false
    });
    let digest = strata_oci::Digest::of(b"0123456789");
    let file = format!("FROM scratch\nADD --checksum={digest} {} /f\n", server.url("/f"));
    world.build(&world.context(&file, &[])).unwrap();
    assert_eq!(server.seen().len(), 2);
    world.assert_sound();
}

#[test]
fn what_is_not_there_is_pointed_at() {
    let Some(world) = World::new() else { return };
    let server = Server::keeping(|_, out| answer(out, "404 Not Found", &[], b""));
    let url = server.url("/none").replace("http://", "http://user:secret@");
    let file = format!("FROM scratch\nLABEL a=b\nADD {url}?token=secret \\\n    /f\n");
    let error = world.build(&world.context(&file, &[])).unwrap_err();
    let wanted = format!("{}: invalid response status 404", server.url("/none"));
    assert!(text(&error).ends_with(&wanted), "{}", text(&error));
    assert!(!text(&error).contains("secret"));
    assert_eq!(line_of(&error, &file), 3);
    let EngineError::Build(error) = error else { unreachable!() };
    assert!(file[error.spans[0].start..error.spans[0].end].starts_with("http://"), "the caret is at the URL");
    world.assert_nothing_left();
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let Some(world) = World::new() else { return };
    let asked = AtomicBool::new(false);
    let server = Server::keeping(move |_, out| {
        if asked.swap(true, Ordering::SeqCst) {
            return answer(out, "200 OK", &[], b"at last");
        }
        answer(out, "503 Service Unavailable", &[("Retry-After", "0")], b"")
    });
    let request = world.context(&format!("FROM scratch\nADD {} /f\n", server.url("/f")), &[]);
    world.build(&request).unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn archives_stay_packed_unless_told() {
    let Some(world) = World::with_base() else { return };
    let tar = crate::world::Tar::default().file("inside", b"x").end();
    let server = Server::keeping(move |_, out| answer(out, "200 OK", &[], &tar));
    let url = server.url("/a.tar");
    let file = format!(
        "FROM busybox\nADD {url} /packed/\nADD --unpack=true {url} /unpacked\n\
         RUN test -f /packed/a.tar && test -f /unpacked/inside && test ! -e /unpacked/a.tar\n"
    );
    world.build(&world.context(&file, &[])).unwrap();
    world.assert_sound();
}

#[test]
fn credentials_are_secrets_of_the_build() {
    let Some(world) = World::new() else { return };
    let server = Server::keeping(|request, out| match request.header("authorization") {
        Some("Bearer tell") => answer(out, "200 OK", &[], b"told"),
        _ => answer(out, "401 Unauthorized", &[], b""),
    });
    let mut request = world.context(&format!("FROM scratch\nADD {} /f\n", server.url("/f")), &[]);
    let error = text(&world.build(&request).unwrap_err());
    assert!(error.contains("invalid response status 401") && error.contains("HTTP_AUTH_TOKEN_"), "{error}");
    request.secrets = vec![Secret {
        id: "HTTP_AUTH_TOKEN_127.0.0.1".to_owned(),
        source: SecretSource::Value("tell\n".to_owned()),
    }];
    world.build(&request).unwrap();
}

#[test]
fn a_cancelled_build_does_not_wait_for_a_server() {
    let Some(world) = World::new() else { return };
    let server = Server::keeping(|_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0");
        std::thread::sleep(Duration::from_secs(20));
        false
    });
    let request = world.context(&format!("FROM scratch\nADD {} /f\n", server.url("/f")), &[]);
    let (engine, cancel) = (world.engine(), AtomicBool::new(false));
    let dockerfile = fs_err::read_to_string(request.dockerfile_path.as_ref().unwrap()).unwrap();
    let dockerfile = strata_engine::build::parse(&dockerfile).unwrap();
    let contexts = engine.open_contexts(&request).unwrap();
    let started = Instant::now();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            cancel.store(true, Ordering::SeqCst);
        });
        let events = |_: strata_engine::build::Event<'_>| ();
        let error = engine.build(&request, &contexts, &dockerfile, &events, &cancel).unwrap_err();
        assert!(text(&error).contains("cancel"), "{}", text(&error));
    });
    assert!(started.elapsed() < Duration::from_secs(15));
    drop(engine);
    world.assert_nothing_left();
}
