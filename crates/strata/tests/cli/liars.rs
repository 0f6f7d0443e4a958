//! Registries that lie to the program as users start it: an error that says what was wrong, no space, and nobody's password.

use crate::world::World;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};
use strata_oci::Digest;
use strata_testbed::{Request, Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// `me:hunter2`.
const AUTH: &str = "bWU6aHVudGVyMg==";

/// How a registry answers a GET of its one manifest, and of its one layer.
#[derive(Clone)]
enum Answer {
    Honest,
    /// Other bytes, of this length.
    Bytes(Vec<u8>),
    /// So many bytes are promised, and zeros come as long as anybody reads.
    Endless(Option<u64>),
    /// There.
    Redirect(String),
}

/// An image of one layer, and where its registry lies about it.
#[derive(Clone)]
struct Lie {
    manifest: Answer,
    layer: Answer,
    /// What the manifest says of the layer's length, if not the truth.
    size: Option<u64>,
    /// What the config says that it unpacks to, if not the truth.
    diff_id: Option<Digest>,
    blob: Vec<u8>,
}

impl Lie {
    fn none() -> Self {
        let (manifest, layer) = (Answer::Honest, Answer::Honest);
        Self { manifest, layer, size: None, diff_id: None, blob: gzipped(&tar()) }
    }

    fn documents(&self) -> (Vec<u8>, Vec<u8>) {
        let diff_id = self.diff_id.unwrap_or_else(|| Digest::of(&tar()));
        let config = json!({ "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [diff_id.to_string()] } });
        let config = config.to_string().into_bytes();
        let described = |kind: &str, bytes: &[u8], size: u64| -> Value {
            json!({ "mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": size })
        };
        let size = self.size.unwrap_or(self.blob.len() as u64);
        let config_type = "application/vnd.oci.image.config.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described(config_type, &config, config.len() as u64),
            "layers": [described(LAYER, &self.blob, size)] });
        (manifest.to_string().into_bytes(), config)
    }

    /// A registry that wants a password and then lies. Every request is answered on a connection of its own.
    fn serve(self) -> Server {
        let (manifest, config) = self.documents();
        let (manifest_path, layer_path) =
            ("/v2/lie/manifests/".to_owned(), format!("/v2/lie/blobs/{}", Digest::of(&self.blob)));
        Server::start(move |request, out| {
            let whole = |out: &mut dyn Write, bytes: &[u8]| {
                head(out, "200 OK", &length(bytes.len() as u64)).and_then(|()| out.write_all(bytes))
            };
            let (answer, honest) = match request.target.as_str() {
                _ if request.header("authorization").is_none() => {
                    let _ = head(
                        out,
                        "401 Unauthorized",
                        "WWW-Authenticate: Basic realm=\"lies\"\r\nContent-Length: 0\r\n",
                    );
                    return;
                }
                path if path.starts_with(&manifest_path) => (self.manifest.clone(), &manifest),
                path if *path == layer_path => (self.layer.clone(), &self.blob),
                "/v2/" => (Answer::Bytes(Vec::new()), &manifest),
                _ => (Answer::Honest, &config),
            };
            let _ = match answer {
                Answer::Honest => whole(out, honest),
                Answer::Bytes(bytes) => whole(out, &bytes),
                Answer::Redirect(to) => {
                    head(out, "307 Temporary Redirect", &format!("Location: {to}\r\nContent-Length: 0\r\n"))
                }
                Answer::Endless(promised) => endless(out, promised),
            };
        })
    }
}

fn length(length: u64) -> String {
    format!("Content-Length: {length}\r\n")
}

fn head(out: &mut dyn Write, status: &str, headers: &str) -> std::io::Result<()> {
    out.write_all(
        format!("HTTP/1.1 {status}\r\nContent-Type: {MANIFEST}\r\nConnection: close\r\n{headers}\r\n")
            .as_bytes(),
    )
}

fn endless(out: &mut dyn Write, promised: Option<u64>) -> std::io::Result<()> {
    head(out, "200 OK", &promised.map(length).unwrap_or_default())?;
    // Until nobody reads any more.
    while out.write_all(&[0; 65_536]).is_ok() {}
    Ok(())
}

fn tar() -> Vec<u8> {
    crate::world::archive(&[("f", 0o644, b"content")]).into_inner().expect("memory")
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// What the store takes, in KiB, without its log, which grows by looking.
fn space(world: &World) -> u64 {
    let du = Command::new("du")
        .args(["-sk", "--exclude=*-wal", "--exclude=*-shm"])
        .arg(world.path("store"))
        .output();
    let text = String::from_utf8(du.expect("du").stdout).expect("UTF-8");
    text.split_whitespace().next().expect("a number").parse().expect("a number")
}

/// Pulls, and builds on, the image; gives what was said when both had failed, and left nothing.
fn refused(what: &str, lie: Lie) -> String {
    let server = lie.serve();
    // Something is there already: what every store takes is not the liar's.
    let world = World::with_base();
    world.file(
        "docker/config.json",
        json!({ "auths": { server.host(): { "auth": AUTH } } }).to_string().as_bytes(),
    );
    let name = format!("{}/lie:1", server.host());
    world.file("ctx/Dockerfile", format!("FROM {name}\nCOPY Dockerfile /\n").as_bytes());
    let (images, before) = (world.ok(&["images", "-aq"]), space(&world));
    let mut said = String::new();
    for line in [vec!["pull", &name], vec!["build", "-q", "ctx"]] {
        let mut command = world.command(&line);
        command.env("DOCKER_CONFIG", world.path("docker")).env_remove("REGISTRY_AUTH_FILE");
        let output = command.output().expect("strata starts");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {text}");
        assert!(!text.contains("hunter2") && !text.contains(AUTH), "{what}: {text}");
        said = said + &text;
    }
    assert!(server.seen().iter().any(|request| request.header("authorization").is_some()), "{what}");
    assert_eq!(world.ok(&["images", "-aq"]), images, "{what}");
    // What came of a blob that broke off is kept for the next pull; here nothing is worth that. A manifest and a config, of
    // a page each, may be remembered.
    let after = space(&world);
    assert!(after <= before + 64, "{what}: {before} KiB before, {after} after:\n{said}");
    said
}

#[test]
fn what_a_registry_lies_about_is_told_and_costs_no_space() {
    let mut changed = Lie::none().blob;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let whole = Lie::none().blob.len() as u64;
    let zeros = gzipped(&vec![0; 64 << 20]).repeat(12);
    for (what, lie, said) in [
        ("other bytes", Lie { layer: Answer::Bytes(changed), ..Lie::none() }, "what came has the digest"),
        ("a larger size", Lie { size: Some(whole + 9), ..Lie::none() }, "bytes"),
        ("a smaller size", Lie { size: Some(whole - 9), ..Lie::none() }, "bytes"),
        ("another layer", Lie { diff_id: Some(Digest::of(b"x")), ..Lie::none() }, "unpacks to"),
        ("a body without end", Lie { layer: Answer::Endless(None), ..Lie::none() }, "bytes"),
        ("a body that is longer", Lie { layer: Answer::Endless(Some(1 << 40)), ..Lie::none() }, "bytes"),
        ("a bomb", Lie { blob: zeros, ..Lie::none() }, "as only a bomb does"),
        ("100 MB of manifest", Lie { manifest: Answer::Endless(Some(100 << 20)), ..Lie::none() }, "manifest"),
        ("a manifest without end", Lie { manifest: Answer::Endless(None), ..Lie::none() }, "manifest"),
        ("no manifest", Lie { manifest: Answer::Bytes(b"<html>".to_vec()), ..Lie::none() }, "lie"),
    ] {
        let told = refused(what, lie);
        assert!(told.contains(said), "{what}: {told}");
    }
}

/// To where a registry leads its clients no password goes, whatever is asked for there.
#[test]
fn where_a_registry_leads_no_password_goes() {
    let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
    let (blob, log) = (Lie::none().blob, Arc::clone(&seen));
    let other = Server::start(move |request, out| {
        log.lock().expect("no panics").push(request.clone());
        // A challenge first: perhaps the client is talked into it.
        let _ = match request.target.as_str() {
            "/asks" => head(
                out,
                "401 Unauthorized",
                "WWW-Authenticate: Basic realm=\"give\"\r\nContent-Length: 0\r\n",
            ),
            _ => head(out, "200 OK", &length(blob.len() as u64)).and_then(|()| out.write_all(&blob)),
        };
    });
    let to = |path: &str| Answer::Redirect(format!("http://{}{path}", other.host()));
    let asked = refused("a layer elsewhere that asks", Lie { layer: to("/asks"), ..Lie::none() });
    assert!(asked.contains("lie"), "{asked}");
    refused("a manifest elsewhere that asks", Lie { manifest: to("/asks"), ..Lie::none() });
    // An honest one, as registries have that keep blobs in object stores.
    let server = Lie { layer: to("/blob?signature=x"), ..Lie::none() }.serve();
    let world = World::new();
    world.file(
        "docker/config.json",
        json!({ "auths": { server.host(): { "auth": AUTH } } }).to_string().as_bytes(),
    );
    let mut command = world.command(&["pull", "-q", &format!("{}/lie:1", server.host())]);
    let output = command.env("DOCKER_CONFIG", world.path("docker")).output().expect("strata starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = seen.lock().expect("no panics");
    assert!(seen.len() >= 3, "{seen:?}");
    for request in seen.iter() {
        let text = format!("{request:?}");
        assert!(!text.contains("hunter2") && !text.contains(AUTH), "{text}");
        assert!(request.header("authorization").is_none(), "{text}");
    }
}
