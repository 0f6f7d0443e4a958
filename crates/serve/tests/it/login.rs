//! Names, passwords, and TLS.

use crate::world::World;
use std::process::Command;
use strata_testbed::Authority;

fn basic(pair: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

#[test]
fn only_those_in_the_file_come_in() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let hash = bcrypt::hash("s:ecret", 4).expect("a hash");
    fs_err::write(file.path(), format!("# users\nalice:{hash}\n")).expect("writable");
    let world = World::with(|options| options.htpasswd = Some(file.path().to_owned()));
    let status = |authorization: Option<&str>| {
        let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
        world.ask("GET", "/v2/_catalog", &headers, b"").status
    };
    let reply = world.get("/v2/");
    reply.refused(401, "UNAUTHORIZED");
    assert!(reply.header("www-authenticate").starts_with("Basic realm="));
    world.get("/nowhere").refused(401, "UNAUTHORIZED");
    for _ in 0..2 {
        assert_eq!(status(Some(&basic("alice:s:ecret"))), 200);
    }
    for wrong in ["alice:", "alice:secret", "bob:s:ecret", "alice", ":", "alice:s:ecret\0"] {
        assert_eq!(status(Some(&basic(wrong))), 401, "{wrong}");
    }
    for wrong in ["Basic", "Basic !!!", "Bearer x", "alice:s:ecret", ""] {
        assert_eq!(status(Some(wrong)), 401, "{wrong}");
    }
}

#[test]
fn tls_with_a_certificate_of_ones_own() {
    let Some(authority) = Authority::new() else { return };
    let (chain, key) = (authority.file("server.crt"), authority.file("server.key"));
    let world = World::with(|options| options.tls = Some((chain.clone(), key.clone())));
    let url = format!("https://localhost:{}/v2/", world.address.port());
    let curl = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "-w", "%{http_code}", "--cacert"])
        .arg(authority.file("ca.crt"))
        .arg(&url)
        .output();
    match curl {
        Err(_) => eprintln!("SKIP the request of tls_with_a_certificate_of_ones_own: no curl here"),
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), "{}200", "{output:?}"),
    }
    let address = "127.0.0.1:0".parse().expect("an address");
    for (chain, key, what) in [(&key, &key, "certificate"), (&chain, &chain, "private key")] {
        let mut options = strata_serve::Options::new(authority.file("registry"), address);
        options.tls = Some((chain.clone(), key.clone()));
        let error = strata_serve::Server::bind(options).expect_err(what).to_string();
        assert!(error.contains(what), "{error}");
    }
}
