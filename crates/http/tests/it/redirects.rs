//! Elsewhere.
use super::answers::answer;
use super::client;
use strata_http::{Error, Redirects, Request};
use strata_testbed::Server;

/// Sends everything at `/` to `to`, everything else is there.
fn sends_to(to: impl Fn() -> String + Send + Sync + 'static) -> Server {
    Server::keeping(move |request, out| match request.target.as_str() {
        "/" => answer(out, "307 Temporary Redirect", &[("Location", &to())], b"moved"),
        "/loop" => answer(out, "302 Found", &[("Location", "/loop")], b""),
        path => answer(out, "200 OK", &[], path.as_bytes()),
    })
}

#[test]
fn the_same_host_sees_the_same_credentials() {
    let server = sends_to(|| "there?x=1".to_owned());
    let request = Request::get(server.url("/")).header("Authorization", "Bearer t");
    let response = client().send(request).unwrap();
    assert_eq!(response.url().as_str(), server.url("/there?x=1"));
    assert_eq!(response.into_body().bytes(100).unwrap(), b"/there?x=1");
    assert_eq!(server.seen()[1].header("authorization"), Some("Bearer t"));
}

#[test]
fn another_host_does_not() {
    let other = Server::keeping(|_, out| answer(out, "200 OK", &[], b""));
    let target = other.url("/blob");
    let server = sends_to(move || target.clone());
    let request = Request::get(server.url("/"))
        .header("Authorization", "Bearer t")
        .header("Cookie", "c")
        .header("Accept", "a/b");
    client().send(request).unwrap();
    // Credentials in the URL are no different.
    let url = server.url("/").replace("http://", "http://user:password@");
    client().send(Request::get(url)).unwrap();
    assert_eq!(server.seen()[1].header("authorization"), Some("Basic dXNlcjpwYXNzd29yZA=="));
    for seen in other.seen() {
        assert_eq!(seen.header("authorization"), None);
        assert_eq!(seen.header("cookie"), None);
    }
    assert_eq!(other.seen()[0].header("accept"), Some("a/b"));
}

#[test]
fn credentials_of_the_new_address_are_used() {
    let other = Server::keeping(|_, out| answer(out, "200 OK", &[], b""));
    let target = other.url("/").replace("http://", "http://a:b@");
    let server = sends_to(move || target.clone());
    client().send(Request::get(server.url("/")).header("Authorization", "Bearer t")).unwrap();
    assert_eq!(other.seen()[0].header("authorization"), Some("Basic YTpi"));
}

#[test]
fn the_caller_may_want_to_know() {
    let server = sends_to(|| "/there".to_owned());
    let response = client().send(Request::get(server.url("/")).redirects(Redirects::Return)).unwrap();
    assert_eq!((response.status(), response.header("location")), (307, Some("/there")));
    // What has a body, or could change something, is not sent twice.
    let response = client().send(Request::put(server.url("/")).bytes(b"x")).unwrap();
    assert_eq!(response.status(), 307);
    assert_eq!(client().send(Request::delete(server.url("/"))).unwrap().status(), 307);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn what_changes_something_is_sent_again_when_it_may_be() {
    let other = Server::keeping(|request, out| answer(out, "201 Created", &[], &request.body));
    let target = other.url("/elsewhere");
    let server = Server::keeping(move |request, out| {
        let (status, to) = match request.target.as_str() {
            "/near" => ("307 Temporary Redirect", "/there".to_owned()),
            "/far" => ("308 Permanent Redirect", target.clone()),
            // Whoever follows these changes the method: not what was asked for.
            "/found" => ("302 Found", "/there".to_owned()),
            _ => return answer(out, "200 OK", &[], &request.body),
        };
        answer(out, status, &[("Location", &to)], b"")
    });
    let send = |method: &str, at: &str| {
        let request = Request::new(method, server.url(at)).header("Authorization", "Bearer t");
        client().send(request.redirects(Redirects::Repeat(3)).bytes(b"content")).unwrap()
    };
    assert_eq!(send("PUT", "/near").into_body().bytes(100).unwrap(), b"content");
    let last = server.seen().pop().unwrap();
    assert_eq!((last.method.as_str(), last.header("authorization")), ("PUT", Some("Bearer t")));
    let response = send("POST", "/far");
    assert_eq!((response.status(), response.url().as_str()), (201, &*other.url("/elsewhere")));
    let seen = other.seen().pop().unwrap();
    assert_eq!((seen.method.as_str(), seen.body.as_slice()), ("POST", &b"content"[..]));
    assert_eq!(seen.header("authorization"), None, "another host gets no credentials");
    assert_eq!(send("PUT", "/found").status(), 302);
    let empty = Request::delete(server.url("/near")).redirects(Redirects::Repeat(1));
    assert_eq!(client().send(empty).unwrap().status(), 200);
    // A reader is read once.
    let mut reader = &b"content"[..];
    let request = Request::put(server.url("/near")).redirects(Redirects::Repeat(3));
    assert_eq!(client().send(request.reader(&mut reader, Some(7))).unwrap().status(), 307);
}

#[test]
fn there_is_an_end() {
    let server = sends_to(String::new);
    let error =
        client().send(Request::head(server.url("/loop")).redirects(Redirects::Follow(3))).unwrap_err();
    assert!(matches!(error, Error::Redirects { limit: 3, .. }));
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn only_the_web_is_elsewhere() {
    let server = sends_to(|| "file:///etc/passwd".to_owned());
    let error = client().send(Request::get(server.url("/"))).unwrap_err();
    assert!(matches!(error, Error::Url { .. }), "{error}");
}
