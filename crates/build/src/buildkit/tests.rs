//! Docker 20.10.24 (BuildKit 0.8) wrote these records into the images it built with `BUILDKIT_INLINE_CACHE=1`, Docker 26.1.5
//! (0.13) and 28.5.2 (0.25) into caches with `--cache-to type=local,mode=max`.
use super::Release::{V0_8, V0_13, V0_17};
use super::*;
use crate::{CopyOp, CopySource, ExecOp, Mount, MountKind, Network, Security, Sharing};
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
    hex(exec(&op, &amd64(), 0, &[], V0_8))
}

fn amd64() -> Platform {
    Platform { architecture: "amd64".to_owned(), os: "linux".to_owned(), variant: None }
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
    assert_eq!(hex(mkdir("/app", "", Base::Something, V0_8)), "807b3e87");
    assert_eq!(hex(mkdir("/app/sub", "5:6", Base::Something, V0_8)), "60295771");
}

#[test]
fn copies() {
    let key = |op: &CopyOp| hex(copy(op, Base::Something, V0_8));
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
    assert_eq!(hex(copy(&copied(&["a"], "/", Some("app")), Base::Nothing, V0_8)), "none");
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
    let record = |digest: Digest| leaf(Source::Content(selected_digest(&[digest])).node());
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

/// In what Docker 26 and 28 were given, `ENV PATH=/bin:/sbin A="x & <y>"` and `ARG N=3`.
fn step(command: &str, mounts: Vec<Mount>) -> ExecOp {
    let env = [("N", "3"), ("PATH", "/bin:/sbin"), ("A", "x & <y>")];
    ExecOp {
        argv: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        cwd: "/app".to_owned(),
        user: String::new(),
        hostname: String::new(),
        network: Network::None,
        security: Security::Sandbox,
        devices: Vec::new(),
        mounts,
        secret_env: Vec::new(),
        proxy: Vec::new(),
    }
}

fn mount(target: &str, kind: MountKind) -> Mount {
    let read_only = matches!(kind, MountKind::Bind { .. } | MountKind::Secret { .. });
    Mount { target: target.to_owned(), read_only, kind }
}

fn cache(id: &str, sharing: Sharing) -> MountKind {
    let (id, path) = (id.to_owned(), "/".to_owned());
    MountKind::Cache { id, sharing, seed: None, path, mode: 0o755, uid: 0, gid: 0 }
}

#[test]
fn runs_of_later_releases() {
    let bind = MountKind::Bind { input: 0, source: "/dir".to_owned() };
    let secret = MountKind::Secret { id: "s".to_owned(), required: false, mode: 0o400, uid: 0, gid: 0 };
    let of = |command: &str, mount: Option<Mount>| step(command, mount.into_iter().collect());
    let own_cache = mount("/c", cache("/c", Sharing::Shared));
    let other_cache = mount("/c", cache("other", Sharing::Locked));
    // Which input is mounted where, and the names.
    let steps = [
        (of("echo $N $A > n", None), None, ["e5c59b11", "e5c59b11"]),
        (of("echo c > /cached", Some(own_cache)), Some(-1), ["44540034", "795a7e97"]),
        (of("echo c > /cached2", Some(other_cache)), Some(-1), ["ca002c18", "86940848"]),
        (of("ls /b > /bound", Some(mount("/b", bind))), Some(1), ["3008cc37", "4deba66e"]),
        (
            of("cat /run/secrets/s > /dev/null", Some(mount("/run/secrets/s", secret))),
            None,
            ["15e67650", "3d770fb4"],
        ),
        (
            of("echo t > /tmpfs", Some(mount("/t", MountKind::Tmpfs { size: None }))),
            Some(-1),
            ["3a47e0a5", "824376f2"],
        ),
    ];
    for (op, input, expected) in &steps {
        let files: Vec<(&Mount, i64)> = op.mounts.iter().zip(*input).collect();
        let name = |release| hex(exec(op, &amd64(), 0, &files, release));
        assert_eq!([V0_13, V0_17].map(name), *expected, "{:?}", op.argv);
        assert_eq!(name(V0_8) == "none", !op.mounts.is_empty(), "{:?}", op.argv);
    }
}

#[test]
fn copies_of_later_releases() {
    let copied = |sources: &[&str], destination: &str| copied(sources, destination, None);
    let inline = CopySource::Inline { name: "EOF".to_owned(), content: b"hello 3\n".to_vec() };
    let chown = |owner: &str, op: CopyOp| CopyOp { chown: Some(owner.to_owned()), ..op };
    let ops = [
        (copied(&["a"], "/app/"), ["abb70de5", "abb70de5", "abb70de5"]),
        (chown("1:2", copied(&["b", "dir"], "/d/")), ["3c8ec458", "3c8ec458", "0061e8fc"]),
        (chown("app:www", copied(&["b"], "/e/")), ["3afe96b4", "3afe96b4", "33508d59"]),
        (CopyOp { chmod: Some("u+x".to_owned()), ..copied(&["a"], "/fx") }, ["none", "none", "a7b8f47d"]),
        (
            CopyOp { exclude: vec!["sub".to_owned()], ..copied(&["dir"], "/ex/") },
            ["none", "331f7ab9", "331f7ab9"],
        ),
        (CopyOp { sources: vec![inline], ..copied(&[], "/here") }, ["none", "c6ff0fd9", "c6ff0fd9"]),
    ];
    for (op, expected) in &ops {
        let named = Release::ALL.map(|release| hex(copy(op, Base::Something, release)));
        assert_eq!(named, *expected, "{:?} {:?}", op.sources, op.destination);
    }
    let linked = CopyOp { link: true, ..copied(&["a"], "/linked") };
    let names = Release::ALL.map(|release| hex(copy(&linked, Base::Nothing, release)));
    assert_eq!(names, ["none", "b7b3efd3", "b7b3efd3"]);
    assert_eq!(Release::ALL.map(|release| hex(merge(release))), ["none", "24b141c4", "5dbfbafe"]);
    let script = InlineFile { name: "EOF", mode: 0o644, content: b"hello 3\n" };
    assert_eq!(leaf(inline_file(&script, "EOF").node()), "c7e89936");
    assert_eq!(leaf(inline_content(&script).node()), "435bdda7");
}

#[test]
fn listings() {
    let record = |digest: Digest| leaf(Source::Content(selected_digest(&[digest])).node());
    let directory = Digest::of(&file_header(&Header { typeflag: b'5', mode: 0o755, ..Header::default() }));
    let list = |entries: &[(&str, &str, Digest)], pattern: &str| {
        let mut listing = Listing::default();
        entries.iter().for_each(|(name, path, digest)| listing.add(name.as_bytes(), path.as_bytes(), digest));
        listing.digests(pattern.as_bytes())
    };
    let wild = [
        ("x", "x", directory),
        ("f", "x/f", file(0o644, "wx\n")),
        ("y", "y", directory),
        ("g", "y/g", file(0o644, "wy\n")),
    ];
    let [by_name, by_path] = list(&wild, "*");
    assert_eq!(record(by_name), "21e02df9");
    assert_ne!(by_name, by_path);
    assert_eq!(list(&wild[1..2], "f"), [wild[1].2; 2], "the only one, and called so");
    assert_eq!(list(&[], "*"), [Digest::of(b""); 2]);
}
