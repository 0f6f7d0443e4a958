//! A token server whose tokens docker-registry believes.
use crate::http::{Request, Server, answer};
use crate::registry::{Guard, USER};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The refresh token that the server gives out at login, and takes.
pub const REFRESH: &str = "refresh-token-of-the-tester";

/// Gives tokens to [`USER`] for everything, and to strangers for pulling what lies below `public/`.
///
/// Whoever asks for more than they may gets a token for less, as the specification wants it.
pub struct TokenServer {
    server: Server,
    directory: Arc<TempDir>,
}

impl TokenServer {
    /// Tokens are good for so many seconds. `None`, with a word, where there is no openssl.
    pub fn start(seconds: u64) -> Option<Self> {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-batch", "-days", "2"])
            .args(["-subj", "/CN=tokens of a test", "-keyout", "token.key", "-out", "token.crt"])
            .current_dir(directory.path())
            .stderr(Stdio::null())
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("SKIP: no openssl to sign tokens with");
            return None;
        }
        let keys = Arc::clone(&directory);
        let server = Server::start(move |request, out| {
            let (status, body) = respond(request, &keys, seconds);
            let _ = out.write_all(&answer(status, &[("Content-Type", "application/json")], body.to_string()));
        });
        Some(Self { server, directory })
    }

    /// Its address.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.server.host())
    }

    /// What makes a registry believe it.
    pub fn guard(&self) -> Guard {
        Guard::Token { realm: self.realm(), certificate: self.certificate() }
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.server.seen()
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("token.crt")
    }
}

fn respond(request: &Request, keys: &TempDir, seconds: u64) -> (u16, Value) {
    let user = match who(request) {
        Ok(user) => user,
        Err(why) => return (401, json!({ "details": why })),
    };
    let scopes = request.values("scope");
    let granted: Vec<Value> = scopes
        .iter()
        .flat_map(|scopes| scopes.split(' '))
        .filter_map(|scope| {
            let (resource, actions) = scope.rsplit_once(':')?;
            let (kind, name) = resource.split_once(':')?;
            let may = |action: &&str| user.is_some() || (*action == "pull" && name.starts_with("public/"));
            let actions: Vec<&str> = actions.split(',').filter(may).collect();
            (!actions.is_empty()).then(|| json!({ "type": kind, "name": name, "actions": actions }))
        })
        .collect();
    let token = sign(keys, user, &granted, seconds);
    let mut body = json!({ "token": token, "expires_in": seconds });
    if user.is_some() && request.values("offline_token") == ["true"] {
        body["refresh_token"] = json!(REFRESH);
    }
    (200, body)
}

fn who(request: &Request) -> Result<Option<&'static str>, &'static str> {
    if request.method == "POST" {
        let good =
            request.values("refresh_token") == [REFRESH] && request.values("grant_type") == ["refresh_token"];
        return if good { Ok(Some(USER.0)) } else { Err("refresh token is not valid") };
    }
    match request.header("authorization") {
        None => Ok(None),
        Some(header) if header == format!("Basic {}", STANDARD.encode(format!("{}:{}", USER.0, USER.1))) => {
            Ok(Some(USER.0))
        }
        Some(_) => Err("incorrect username or password"),
    }
}

fn sign(keys: &TempDir, user: Option<&str>, access: &[Value], seconds: u64) -> String {
    let certificate = fs_err::read_to_string(keys.path().join("token.crt")).unwrap();
    let der: String = certificate.lines().filter(|line| !line.starts_with('-')).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let claims = json!({
        "iss": "a test", "aud": "a test", "sub": user.unwrap_or_default(), "jti": format!("{now}"),
        "nbf": now - 10, "iat": now, "exp": now + seconds, "access": access,
    });
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign", "token.key"])
        .current_dir(keys.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let signature = openssl.wait_with_output().unwrap().stdout;
    format!("{text}.{}", encode(&signature))
}
