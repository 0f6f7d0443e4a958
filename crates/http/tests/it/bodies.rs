//! What is sent and what comes back.
use super::answers::answer;
use super::client;
use std::io::{Cursor, Read};
use std::time::{Duration, SystemTime};
use strata_http::{Error, Request};
use strata_testbed::Server;

#[test]
fn every_status_is_an_answer_with_headers_and_a_body() {
    let server = Server::keeping(|request, out| {
        let headers = [
            ("ETag", "\"x\""),
            ("Link", "<a>"),
            ("Link", "<b>"),
            ("Last-Modified", "Thu, 01 Jan 1970 00:01:00 GMT"),
            ("Retry-After", "7"),
        ];
        answer(out, &format!("{} Because", &request.target[1..]), &headers, b"why")
    });
    for status in [200_u16, 304, 404, 429, 503] {
        let response = client().send(Request::get(server.url(&format!("/{status}")))).unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.is_success(), status == 200);
        assert_eq!(response.is_transient(), status == 429 || status == 503);
        assert_eq!(response.header("etag"), Some("\"x\""));
        assert_eq!(response.headers("link").collect::<Vec<_>>(), ["<a>", "<b>"]);
        assert_eq!(response.last_modified(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)));
        assert_eq!(response.retry_after(), Some(Duration::from_secs(7)));
        let wanted: &[u8] = if status == 304 { b"" } else { b"why" };
        assert_eq!(response.into_body().bytes(100).unwrap(), wanted, "{status}");
    }
}

#[test]
fn requests_carry_what_was_said_and_nothing_that_asks_for_compression() {
    let server = Server::keeping(|_, out| answer(out, "200 OK", &[], b""));
    let request = Request::get(server.url("/a b?q=1#f"))
        .header("X-One", "1")
        .header("X-One", "2")
        .range(5, Some(9))
        .header("Accept", "application/json");
    client().send(request).unwrap();
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/a%20b?q=1"));
    let ones: Vec<_> = seen.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-one")).collect();
    assert_eq!(ones.len(), 2);
    assert_eq!(seen.header("range"), Some("bytes=5-9"));
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert_eq!(seen.header("accept-encoding"), None);
    assert_eq!(seen.header("user-agent"), Some(concat!("strata/", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_part_says_where_it_lies() {
    let server = Server::keeping(|_, out| {
        answer(out, "206 Partial Content", &[("Content-Range", "bytes 5-9/100")], b"56789")
    });
    let response = client().send(Request::get(server.url("/")).range(5, Some(9))).unwrap();
    assert_eq!(response.content_range(), Some((5, 9, Some(100))));
    assert_eq!(response.content_length(), Some(5));
}

#[test]
fn bodies_are_sent_with_a_length_or_in_chunks() {
    let server = Server::keeping(|_, out| answer(out, "201 Created", &[], b""));
    let client = client();
    client.send(Request::put(server.url("/bytes")).bytes(b"four")).unwrap();
    client.send(Request::post(server.url("/nothing"))).unwrap();
    let large = vec![7_u8; 300_000];
    let (mut known, mut unknown) = (Cursor::new(&large), Cursor::new(&large));
    client.send(Request::patch(server.url("/known")).reader(&mut known, Some(300_000))).unwrap();
    client.send(Request::post(server.url("/unknown")).reader(&mut unknown, None)).unwrap();
    client.send(Request::delete(server.url("/gone"))).unwrap();
    let seen = server.seen();
    let length = |at: usize| seen[at].header("content-length").map(str::to_owned);
    assert_eq!((seen[0].body.as_slice(), length(0).as_deref()), (&b"four"[..], Some("4")));
    assert_eq!(length(1).as_deref(), Some("0"));
    assert_eq!((length(2).as_deref(), &seen[2].body), (Some("300000"), &large));
    assert_eq!((length(3), &seen[3].body), (None, &large));
    assert_eq!((seen[4].method.as_str(), seen[4].body.len()), ("DELETE", 0));
}

#[test]
fn only_the_said_length_is_sent() {
    let server = Server::keeping(|_, out| answer(out, "200 OK", &[], b""));
    let mut reader = Cursor::new(b"0123456789");
    client().send(Request::put(server.url("/")).reader(&mut reader, Some(4))).unwrap();
    assert_eq!(server.seen()[0].body, b"0123");
    assert_eq!(reader.position(), 4);
}

#[test]
fn a_body_that_cannot_be_read_is_not_the_servers_fault() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk on fire"))
        }
    }
    let server = Server::keeping(|_, out| answer(out, "200 OK", &[], b""));
    let error = client().send(Request::put(server.url("/x")).reader(&mut Broken, None)).unwrap_err();
    let wanted = format!("{}: cannot read what is to be sent: disk on fire", server.url("/x"));
    assert_eq!(error.to_string(), wanted);
    assert!(!error.is_transient());
    let error = client().send(Request::put(server.url("/x")).reader(&mut Cursor::new(b"abc"), Some(5)));
    let wanted = format!("{}: cannot read what is to be sent: it ended 2 bytes early", server.url("/x"));
    assert_eq!(error.unwrap_err().to_string(), wanted);
}

#[test]
fn a_small_answer_is_bounded() {
    let server = Server::keeping(|_, out| answer(out, "200 OK", &[], &[1; 1000]));
    let body = |limit| client().send(Request::get(server.url("/"))).unwrap().into_body().bytes(limit);
    assert_eq!(body(1000).unwrap().len(), 1000);
    assert!(matches!(body(999), Err(Error::TooLarge { limit: 999, .. })));
}

#[test]
fn connections_are_used_again() {
    let server = Server::keeping(|request, out| {
        // One connection is one thread of the server.
        let thread = format!("{:?}", std::thread::current().id());
        answer(out, "200 OK", &[("X-Thread", &thread)], request.target.as_bytes())
    });
    let client = client();
    let thread = |path: &str| {
        let response = client.send(Request::get(server.url(path))).unwrap();
        let thread = response.header("x-thread").unwrap().to_owned();
        assert_eq!(response.into_body().bytes(100).unwrap(), path.as_bytes());
        thread
    };
    assert_eq!(thread("/a"), thread("/b"));
}
