//! Through proxies. Loopback has none, so the targets are names that only the proxy would know.
use super::answers::answer;
use super::client;
use strata_http::{Client, Error, Options, Proxies, Request};
use strata_testbed::Server;

fn through(http: Option<String>, https: Option<String>) -> Client {
    let proxies = Proxies { http, https, none: "direct.invalid".to_owned() };
    Client::new(Options { proxies, ..Options::default() }).unwrap()
}

#[test]
fn plain_http_is_asked_for_in_absolute_form() {
    let proxy = Server::keeping(|request, out| answer(out, "200 OK", &[], request.target.as_bytes()));
    let client = through(Some(format!("http://us%40er:pw@127.0.0.1:{}", proxy.port())), None);
    for path in ["/a?b=c", "/second"] {
        let response = client.send(Request::get(format!("http://far.invalid:8080{path}"))).unwrap();
        let wanted = format!("http://far.invalid:8080{path}");
        assert_eq!(response.into_body().bytes(100).unwrap(), wanted.as_bytes());
    }
    let body = vec![b'x'; 200_000];
    client.send(Request::put("http://far.invalid:8080/up").bytes(&body)).unwrap();
    let seen = proxy.seen();
    assert_eq!(seen[0].header("host"), Some("far.invalid:8080"));
    assert_eq!(seen[0].header("proxy-authorization"), Some("Basic dXNAZXI6cHc="));
    assert_eq!(seen[2].body, body);
}

#[test]
fn https_goes_through_a_tunnel() {
    let proxy = Server::keeping(|_, out| answer(out, "403 Forbidden", &[], b"no"));
    let address = format!("http://user:pw@127.0.0.1:{}", proxy.port());
    let error = through(None, Some(address)).send(Request::get("https://far.invalid/x")).unwrap_err();
    assert_eq!(
        (proxy.seen()[0].method.as_str(), proxy.seen()[0].target.as_str()),
        ("CONNECT", "far.invalid:443")
    );
    assert_eq!(proxy.seen()[0].header("proxy-authorization"), Some("Basic dXNlcjpwdw=="));
    let Error::Proxy { proxy: shown, .. } = &error else { panic!("{error}") };
    assert_eq!(shown, &format!("http://127.0.0.1:{}", proxy.port()));
    assert!(error.to_string().contains("403"), "{error}");
}

#[test]
fn some_hosts_have_none() {
    let proxy = Server::keeping(|_, out| answer(out, "200 OK", &[], b""));
    let client = through(Some(format!("http://127.0.0.1:{}", proxy.port())), None);
    let error = client.send(Request::get("http://direct.invalid/")).unwrap_err();
    assert!(matches!(error, Error::Unresolved { .. }), "{error}");
    assert_eq!(proxy.seen().len(), 0);
}

#[test]
fn a_proxy_that_is_not_there() {
    let client = through(Some("http://127.0.0.1:1".to_owned()), None);
    let error = client.send(Request::get("http://far.invalid/")).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let client = through(Some("http://proxy.invalid".to_owned()), None);
    let error = client.send(Request::get("http://far.invalid/")).unwrap_err();
    assert!(error.to_string().contains("cannot resolve proxy.invalid"), "{error}");
}

#[test]
fn names_below_localhost_are_this_machine() {
    let server = Server::keeping(|request, out| answer(out, "200 OK", &[], request.target.as_bytes()));
    let url = format!("http://bucket.s3.localhost:{}/key", server.port());
    assert_eq!(client().send(Request::get(url)).unwrap().into_body().bytes(10).unwrap(), b"/key");
    let host = format!("bucket.s3.localhost:{}", server.port());
    assert_eq!(server.seen()[0].header("host"), Some(host.as_str()));
}
