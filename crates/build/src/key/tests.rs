//! The encoding, and each part of an operation by itself: whether it counts. Whole builds are in `tests/it/cache.rs`.
use super::*;
use crate::{SecretEnv, Sharing};
use jiff::Timestamp;

#[test]
fn borders_between_names_and_values_count() {
    let keys = [
        hash(&[input("a", "bc")]),
        hash(&[input("ab", "c")]),
        hash(&[input("a", "b"), input("c", "")]),
        hash(&[input("a", "b"), input("", "c")]),
        hash(&[input("c", ""), input("a", "b")]),
        hash(&[]),
    ];
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{index}");
    }
}

/// Files may be called what the encoding calls other things.
#[test]
fn no_source_is_taken_for_another() {
    let names = ["a", "<<a", "http(s) file a", "source <<a", "git repository", "git", ""];
    let path = |name: &str| CopySource::Path(name.to_owned());
    let here_document = |name: &str| CopySource::Inline { name: name.to_owned(), content: Vec::new() };
    let download =
        |name: &str| CopySource::Http { url: String::new(), name: name.to_owned(), checksum: None };
    let url = "https://h/r.git".to_owned();
    let source = crate::GitSource::parse(&url).expect("an address").expect("a repository");
    let mut sources = vec![CopySource::Git { url, source }];
    sources.extend(names.iter().flat_map(|name| [path(name), here_document(name), download(name)]));
    let mut keys = std::collections::HashSet::new();
    for first in &sources {
        for second in &sources {
            let op = CopyOp {
                sources: vec![first.clone(), second.clone()],
                destination: "/".to_owned(),
                chown: None,
                chmod: None,
                link: false,
                parents: true,
                exclude: Vec::new(),
                unpack: true,
                epoch: None,
            };
            let every_run = (&Platform::default(), &[][..]);
            let op = Op::File(FileOp::Copy(op));
            let key = encode("ADD", &op, every_run, &scratch(), &[Digest::of(b"")]).own;
            assert!(keys.insert(key.to_string()), "{first:?}, {second:?}");
        }
    }
}

/// All short lists of short inputs: no two have the same key.
#[test]
fn the_encoding_is_unambiguous() {
    const TEXTS: [&str; 4] = ["", "a", "aa", "\0\0\0\0\0\0\0\0"];
    let pairs: Vec<Input> = TEXTS.iter().flat_map(|name| TEXTS.map(|value| input(name, value))).collect();
    let mut lists: Vec<Vec<Input>> = vec![Vec::new()];
    let mut keys = std::collections::HashSet::new();
    for _ in 0..4 {
        assert!(lists.iter().all(|list| keys.insert(hash(list).to_string())));
        let longer = |list: &Vec<Input>| {
            pairs.iter().map(|pair| [&list[..], std::slice::from_ref(pair)].concat()).collect::<Vec<_>>()
        };
        lists = lists.iter().flat_map(longer).collect();
    }
    assert_eq!(keys.len(), 1 + 16 + 256 + 4096);
}

/// A key that moves makes every user's cache worthless: if this fails on purpose, `VERSION` goes up with it.
#[test]
fn keys_stay_where_they_are() {
    let key = hash(&[input("step", "RUN"), input(COMMAND, "[\"make\"]"), scratch().input()]);
    assert_eq!(key.to_string(), "d70a6b99c855211c94ccca90657082c8ddf31e64cdd8c660d923daf589e471aa");
}

fn exec_op() -> ExecOp {
    ExecOp {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), "make".to_owned()],
        env: vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())],
        cwd: "/src".to_owned(),
        user: "web".to_owned(),
        hostname: String::new(),
        network: Network::Default,
        security: Security::Sandbox,
        devices: Vec::new(),
        mounts: Vec::new(),
        secret_env: Vec::new(),
        proxy: Vec::new(),
    }
}

fn mount(kind: MountKind) -> Mount {
    Mount { target: "/m".to_owned(), read_only: true, kind }
}

fn bind() -> MountKind {
    MountKind::Bind { input: 0, source: "/".to_owned() }
}

fn cache() -> MountKind {
    let (id, path) = ("c".to_owned(), "/".to_owned());
    MountKind::Cache { id, sharing: Sharing::Shared, seed: None, path, mode: CACHE_MODE, uid: 0, gid: 0 }
}

fn secret(id: &str, required: bool, mode: u32) -> MountKind {
    MountKind::Secret { id: id.to_owned(), required, mode, uid: 0, gid: 0 }
}

fn ssh(id: &str, required: bool, mode: u32) -> MountKind {
    MountKind::Ssh { id: id.to_owned(), required, mode, uid: 0, gid: 0 }
}

fn key(instruction: &str, op: Op) -> CacheKey {
    let digests = [Digest::of(b"files"), Digest::of(b"files")];
    encode(instruction, &op, (&Platform::default(), &[]), &scratch(), &digests).own
}

/// What is changed, whether that counts, and how it is done.
type Case<'a, O> = (&'a str, bool, &'a dyn Fn(&mut O));

/// Whether the change of an operation changes its key; every case by itself.
fn check<O: Clone>(base: &O, key: impl Fn(O) -> CacheKey, cases: &[Case<O>]) {
    let usual = key(base.clone());
    assert_eq!(usual, key(base.clone()));
    for (what, counts, change) in cases {
        let mut changed = base.clone();
        change(&mut changed);
        assert_eq!(key(changed) != usual, *counts, "{what}");
    }
}

#[test]
fn what_counts_of_a_run() {
    let run = |op| key("RUN", Op::Exec(op));
    check(
        &exec_op(),
        run,
        &[
            ("an argument", true, &|op| op.argv[2].push(' ')),
            ("the border between arguments", true, &|op| op.argv = vec!["/bin/sh -c make".to_owned()]),
            ("the value of a variable", true, &|op| op.env[0].1.push('0')),
            ("one more variable", true, &|op| op.env.push(("C".to_owned(), String::new()))),
            ("the order of variables", true, &|op| op.env.reverse()),
            ("the working directory", true, &|op| op.cwd = "/".to_owned()),
            ("the user", true, &|op| op.user = String::new()),
            ("the host name", true, &|op| op.hostname = "box".to_owned()),
            ("no network", true, &|op| op.network = Network::None),
            ("the host's network", true, &|op| op.network = Network::Host),
            ("--security", true, &|op| op.security = Security::Insecure),
            ("a device", true, &|op| op.devices = vec!["vendor.com/gpu=0".to_owned()]),
            ("a mount", true, &|op| op.mounts.push(mount(bind()))),
            ("a secret", true, &|op| {
                op.secret_env.push(SecretEnv { name: "S".to_owned(), id: "s".to_owned(), required: false });
            }),
            ("proxies", false, &|op| op.proxy = vec![("HTTP_PROXY".to_owned(), "http://p".to_owned())]),
        ],
    );
    let with_secret = ExecOp {
        secret_env: vec![SecretEnv { name: "S".to_owned(), id: "s".to_owned(), required: false }],
        ..exec_op()
    };
    check(
        &with_secret,
        run,
        &[
            ("the variable of a secret", true, &|op| op.secret_env[0].name.push('2')),
            ("the id of a secret", true, &|op| op.secret_env[0].id.push('2')),
            ("that a secret is required", true, &|op| op.secret_env[0].required = true),
        ],
    );
}

#[test]
fn what_counts_of_a_mount() {
    let run = |mount| key("RUN", Op::Exec(ExecOp { mounts: vec![mount], ..exec_op() }));
    let common: [Case<Mount>; 1] = [("its place", true, &|mount| mount.target.push('2'))];
    for kind in [bind(), cache(), secret("s", false, SECRET_MODE), ssh("a", false, SSH_MODE)] {
        check(&mount(kind), run, &common);
    }
    check(
        &mount(bind()),
        run,
        &[
            ("that a bind may be written", true, &|mount| mount.read_only = false),
            // What lies at the path is the digest's business.
            ("the path of a bind", false, &|mount| {
                mount.kind = MountKind::Bind { input: 0, source: "/x".to_owned() }
            }),
            ("its kind", true, &|mount| mount.kind = MountKind::Tmpfs { size: None }),
        ],
    );
    check(
        &mount(MountKind::Tmpfs { size: None }),
        run,
        &[("the size of a tmpfs", true, &|mount| mount.kind = MountKind::Tmpfs { size: Some(1 << 20) })],
    );
    let with = |change: &dyn Fn(&mut String, &mut Sharing, &mut String, &mut u32, &mut u32)| {
        let mut kind = cache();
        if let MountKind::Cache { id, sharing, path, mode, uid, .. } = &mut kind {
            change(id, sharing, path, mode, uid);
        }
        kind
    };
    check(
        &mount(cache()),
        run,
        &[
            ("the id of a cache", false, &|mount| mount.kind = with(&|id, _, _, _, _| id.push('2'))),
            ("who shares it", false, &|mount| {
                mount.kind = with(&|_, sharing, _, _, _| *sharing = Sharing::Locked)
            }),
            ("which part of it", false, &|mount| mount.kind = with(&|_, _, path, _, _| path.push('x'))),
            ("its mode", true, &|mount| mount.kind = with(&|_, _, _, mode, _| *mode = 0o700)),
            ("its owner", true, &|mount| mount.kind = with(&|_, _, _, _, uid| *uid = 7)),
            ("that it may not be written", true, &|mount| mount.read_only = false),
        ],
    );
    type Make = fn(&str, bool, u32) -> MountKind;
    for (make, usual) in [(secret as Make, SECRET_MODE), (ssh as Make, SSH_MODE)] {
        check(
            &mount(make("s", false, usual)),
            run,
            &[
                ("its id", true, &|mount| mount.kind = make("t", false, usual)),
                ("that it is required", true, &|mount| mount.kind = make("s", true, usual)),
                ("its mode", true, &|mount| mount.kind = make("s", false, 0o444)),
            ],
        );
    }
}

#[test]
fn what_counts_of_a_copy() {
    let base = CopyOp {
        sources: vec![CopySource::Path("dir/file".to_owned())],
        destination: "/d/".to_owned(),
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        unpack: false,
        epoch: None,
    };
    check(
        &base,
        |op| key("COPY", Op::File(FileOp::Copy(op))),
        &[
            ("the directory of a source", false, &|op| {
                op.sources = vec![CopySource::Path("other/file".to_owned())]
            }),
            ("the name of a source", true, &|op| op.sources = vec![CopySource::Path("dir/other".to_owned())]),
            ("the destination", true, &|op| op.destination = "/d".to_owned()),
            ("--chown", true, &|op| op.chown = Some("1".to_owned())),
            ("--chmod", true, &|op| op.chmod = Some("0".to_owned())),
            ("--link", true, &|op| op.link = true),
            ("--parents", true, &|op| op.parents = true),
            ("--exclude", true, &|op| op.exclude = vec!["x".to_owned()]),
            ("--unpack", true, &|op| op.unpack = true),
            ("the epoch", true, &|op| op.epoch = Some(Timestamp::UNIX_EPOCH)),
        ],
    );
}

#[test]
fn what_counts_of_a_workdir() {
    let (path, owner) = ("/w".to_owned(), String::new());
    let base = FileOp::Workdir { path, owner, epoch: None };
    let changed = |change: &dyn Fn(&mut String, &mut String, &mut Option<Timestamp>)| {
        let mut op = base.clone();
        if let FileOp::Workdir { path, owner, epoch } = &mut op {
            change(path, owner, epoch);
        }
        op
    };
    check(
        &base,
        |op| key("WORKDIR", Op::File(op)),
        &[
            ("the path", true, &|op| *op = changed(&|path, _, _| path.push('2'))),
            ("the owner", true, &|op| *op = changed(&|_, owner, _| owner.push('7'))),
            ("the epoch", true, &|op| *op = changed(&|_, _, epoch| *epoch = Some(Timestamp::UNIX_EPOCH))),
            ("another epoch", true, &|op| {
                *op = changed(&|_, _, epoch| *epoch = Timestamp::from_second(1).ok());
            }),
        ],
    );
}

/// The platform counts for what is executed, and through the base for everything that stands on it.
#[test]
fn what_counts_besides_the_operation() {
    let arm: Platform = "linux/arm64".parse().expect("a platform");
    let digests = [Digest::of(b"files")];
    let all = |platform: &Platform, parent: &Parent, digest: &Digest, op: &Op| {
        encode("X", op, (platform, &[]), parent, &[*digest])
    };
    let run = Op::Exec(ExecOp { mounts: vec![mount(bind())], ..exec_op() });
    let here = Platform::default();
    let usual = all(&here, &scratch(), &digests[0], &run).own;
    assert_ne!(usual, all(&arm, &scratch(), &digests[0], &run).own, "the platform");
    assert_ne!(usual, all(&here, &Parent::Base("sha256:1".to_owned()), &digests[0], &run).own, "the base");
    assert_ne!(usual, all(&here, &Parent::Step(usual), &digests[0], &run).own, "the step before");
    assert_ne!(usual, all(&here, &scratch(), &Digest::of(b"others"), &run).own, "the files of a mount");
    let more = [input("ulimit nofile", "1:1")];
    assert_ne!(
        usual,
        encode("X", &run, (&here, &more), &scratch(), &digests).own,
        "what is said of every RUN"
    );
}
