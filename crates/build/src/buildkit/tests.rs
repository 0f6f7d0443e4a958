//! Docker 20.10.24 (BuildKit 0.8) wrote these records into the images it built with `BUILDKIT_INLINE_CACHE=1`.
use super::*;
use crate::{CopyOp, CopySource, ExecOp, Network, Security};
use strata_oci::{ChainId, DiffId, Platform};

const PATH: &str = "/bin:/usr/bin:/sbin:/usr/sbin";

fn run(command: &str, env: &[(&str, &str)], cwd: &str, user: &str) -> String {
    let op = ExecOp {
        argv: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        cwd: cwd.to_owned(),
        user: user.to_owned(),
        hostname: String::new(),
        network: Network::None,
        security: Security::Sandbox,
        devices: Vec::new(),
        mounts: Vec::new(),
        secret_env: Vec::new(),
        proxy: vec![("HTTP_PROXY".to_owned(), "x".to_owned())],
    };
    let platform = Platform { architecture: "amd64".to_owned(), os: "linux".to_owned(), variant: None };
    hex(exec(&op, &platform))
}

fn copied(sources: &[&str], destination: &str, chown: Option<&str>) -> CopyOp {
    CopyOp {
        sources: sources.iter().map(|source| CopySource::Path((*source).to_owned())).collect(),
        destination: destination.to_owned(),
        chown: chown.map(str::to_owned),
        chmod: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        unpack: false,
        epoch: None,
    }
}

/// The first eight digits tell the records apart.
fn hex(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "none".to_owned(), |digest| digest.hex()[..8].to_owned())
}

fn leaf(node: Node) -> String {
    match node {
        Node::Leaf(digest) => hex(Some(digest)),
        Node::Step(_) => "a step".to_owned(),
    }
}

#[test]
fn images_runs_and_directories() {
    let layer: DiffId =
        "sha256:3eb62599848372cdd6fa5f7e08fb5dc7a6b6af0bd03a791a90902ddd48f1244f".parse().expect("a digest");
    // Of one layer the chain is the layer.
    let chain = ChainId::of(&[layer]).expect("a layer");
    assert_eq!(chain.to_string(), layer.to_string());
    assert_eq!(hex(Some(image(&chain))), "e6b2e926");
    assert_eq!(run("echo one > one", &[("PATH", PATH)], "/app", ""), "58015ee2");
    let env = [("PATH", PATH), ("A", "b"), ("N", "3")];
    assert_eq!(run("echo $N > n", &env, "/app", ""), "85d73869");
    assert_eq!(run("id > /tmp/id", &env, "/app/sub", "5:6"), "680aaad8");
    assert_eq!(run("cat /src/a.txt /src/a.txt > /made", &[("PATH", PATH)], "/", ""), "f9b70e2b");
    assert_eq!(hex(mkdir("/app", "", Base::Something)), "807b3e87");
    assert_eq!(hex(mkdir("/app/sub", "5:6", Base::Something)), "60295771");
}

#[test]
fn copies() {
    let key = |op: &CopyOp| hex(copy(op, Base::Something));
    assert_eq!(key(&copied(&["a.txt"], "/app/", None)), "4246240a");
    assert_eq!(key(&copied(&["dir"], "/dir", None)), "e6ee387b");
    assert_eq!(key(&copied(&["b.txt"], "/srv/x/", Some("1:2"))), "75846de5");
    assert_eq!(key(&copied(&["w*.cfg"], "/cfg/", None)), "09d92948");
    assert_eq!(key(&copied(&["/made"], "/bin/made", None)), "71e2684a");
    assert_eq!(key(&copied(&["."], "/all", None)), "4be93e6d");
    assert_eq!(hex(Some(selector(&["made".to_owned()]))), "3db6985f");
    let linked = CopyOp { link: true, ..copied(&["a"], "/", None) };
    let moded = CopyOp { chmod: Some("u+x".to_owned()), ..copied(&["a"], "/", None) };
    let fixed = CopyOp { epoch: Some(jiff::Timestamp::UNIX_EPOCH), ..copied(&["a"], "/", None) };
    for op in [linked, moded, fixed, copied(&[], "/", None)] {
        assert_eq!(key(&op), "none");
    }
    assert_eq!(hex(copy(&copied(&["a"], "/", Some("app")), Base::Nothing)), "none");
}

fn file(mode: u32, content: &str) -> Digest {
    let header = Header { typeflag: b'0', mode, size: content.len() as u64, ..Header::default() };
    Digest::of(&[&file_header(&header), content.as_bytes()].concat())
}

fn named(name: &str, digest: Digest) -> (Vec<u8>, Digest) {
    (name.as_bytes().to_vec(), digest)
}

#[test]
fn contents() {
    let record = |digest: Digest| leaf(files(&selected_digest(&[digest])));
    assert_eq!(record(file(0o644, "hello\n")), "c24a47b5");
    assert_eq!(record(file(0o755, "b file\n")), "0395d2cd");
    let matched = [named("w1.cfg", file(0o644, "x\n")), named("w2.cfg", file(0o644, "y\n"))];
    assert_eq!(record(names_digest(&matched)), "e5326273");
    let other = |typeflag, mode, link: &str| {
        let header = Header { typeflag, mode, link: link.as_bytes().to_vec(), ..Header::default() };
        Digest::of(&file_header(&header))
    };
    let sub = dir_digest(&other(b'5', 0o755, ""), &[named("s", file(0o644, "sub\n"))]);
    let entries =
        [named("link", other(b'2', 0o700, "t")), named("sub", sub), named("t", file(0o644, "top\n"))];
    assert_eq!(record(dir_digest(&other(b'5', 0o755, ""), &entries)), "1801cfa5");
}

#[test]
fn json_as_go_writes_it() {
    let written = json::string("a\"\\\n\u{8}<&>\u{2028}é\u{7f}");
    assert_eq!(written, "\"a\\\"\\\\\\n\\u0008\\u003c\\u0026\\u003e\\u2028é\u{7f}\"");
}
