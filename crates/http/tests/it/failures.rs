//! Time, broken connections, names.
use super::answers::answer;
use super::client;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use strata_http::{Client, Error, Options, Request};
use strata_testbed::Server;

fn impatient(idle: u64) -> Client {
    Client::new(Options { idle_timeout: Duration::from_millis(idle), ..Options::default() }).unwrap()
}

#[test]
fn a_body_that_stalls_fails_and_a_slow_one_does_not() {
    let server = Server::keeping(|request, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
        for at in 0..12 {
            let _ = out.write_all(b"x");
            let stall = request.target == "/stall" && at == 5;
            std::thread::sleep(Duration::from_millis(if stall { 20_000 } else { 60 }));
        }
        true
    });
    // The slow one takes longer altogether than the client's patience, which is more than a busy machine needs.
    let slow = impatient(600).send(Request::get(server.url("/slow"))).unwrap();
    assert_eq!(slow.into_body().bytes(100).unwrap(), b"xxxxxxxxxxxx");
    let mut stalled = impatient(600).send(Request::get(server.url("/stall"))).unwrap().into_body();
    let (mut got, started) = (Vec::new(), Instant::now());
    let error = stalled.read_to_end(&mut got).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!((got.len(), error.kind()), (6, ErrorKind::TimedOut));
    let wanted = format!("{}: timed out: nothing came for 0.6 seconds", server.url("/stall"));
    assert_eq!(error.to_string(), wanted);
    assert!(Error::of_read(&error).unwrap().is_transient());
}

#[test]
fn an_answer_that_never_comes() {
    let server = Server::keeping(|_, out| {
        std::thread::sleep(Duration::from_millis(900));
        answer(out, "200 OK", &[], b"late")
    });
    let error = impatient(200).send(Request::get(server.url("/"))).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    // One request may have more patience than its client.
    let patient = Request::get(server.url("/")).idle_timeout(Duration::from_secs(5));
    assert_eq!(impatient(200).send(patient).unwrap().status(), 200);
}

#[test]
fn a_short_body_is_no_body() {
    let server = Server::keeping(|_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
        false
    });
    let mut body = client().send(Request::get(server.url("/short"))).unwrap().into_body();
    let mut got = Vec::new();
    let error = body.read_to_end(&mut got).unwrap_err();
    assert_eq!((got.as_slice(), error.kind()), (&b"only this"[..], ErrorKind::UnexpectedEof));
    let wanted = format!("{}: the connection was closed before the end", server.url("/short"));
    assert_eq!(error.to_string(), wanted);
    assert!(Error::of_read(&error).unwrap().is_transient());
}

#[test]
fn chunks_that_end_early_are_no_body() {
    let server = Server::keeping(|_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n");
        false
    });
    let body = client().send(Request::get(server.url("/"))).unwrap().into_body();
    let error = body.bytes(100).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
}

#[test]
fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error =
        client().send(Request::get(format!("http://u:secret@127.0.0.1:{port}/a?t=secret"))).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(!error.is_transient());
    let text = error.to_string();
    assert!(text.starts_with(&format!("http://127.0.0.1:{port}/a: cannot connect: ")), "{text}");
    assert!(text.contains("refused") && !text.contains("secret"), "{text}");
}

#[test]
fn a_name_without_an_address() {
    let error = client().send(Request::get("http://nowhere.invalid/x")).unwrap_err();
    let Error::Unresolved { host, .. } = &error else { panic!("{error}") };
    assert_eq!(host, "nowhere.invalid");
    assert!(error.to_string().starts_with("http://nowhere.invalid/x: cannot resolve nowhere.invalid: "));
}

#[test]
fn what_is_no_http_says_so() {
    let server = Server::keeping(|_, out| {
        let _ = out.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
        false
    });
    let error = client().send(Request::get(server.url("/"))).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
}

#[test]
fn bad_headers_and_methods_are_told_before_anything_is_sent() {
    let error = client().send(Request::get("http://h/").header("X-Y", "a\r\nB: secret")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "http://h/: header \"X-Y\" cannot be sent: it holds characters that no header may have"
    );
    let error = client().send(Request::new("GE T", "http://h/")).unwrap_err();
    assert_eq!(error.to_string(), "invalid URL \"http://h/\": \"GE T\" is not a method");
}

#[test]
fn shutting_down_ends_what_waits() {
    let server = Server::keeping(|_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx");
        std::thread::sleep(Duration::from_secs(20));
        false
    });
    let client = client();
    let mut body = client.send(Request::get(server.url("/"))).unwrap().into_body();
    let other = client.clone();
    let started = Instant::now();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        other.shut_down();
    });
    let error = body.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(15), "{error}");
    thread.join().unwrap();
    let error = client.send(Request::get(server.url("/"))).unwrap_err();
    assert!(error.to_string().contains("shut down"), "{error}");
}
