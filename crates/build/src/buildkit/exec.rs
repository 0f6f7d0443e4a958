//! RUN: JSON of the structures that BuildKit's frontend makes of it, hashed.
use super::file::{InlineFile, cache_directory, inline_file};
use super::json::{flag, list, number, object, string, text};
use super::{Node, Release, Source, mount_selector, names, operation, selector};
use crate::lower::CACHE_MODE;
use crate::{ExecOp, Mount, MountKind, Network, SecretEnv, Security, Sharing, path};
use strata_oci::{Digest, Platform};

/// The path of all.
const ROOT: &str = "/";
/// Nothing stands at the input.
const NO_INPUT: i64 = -1;
/// Nothing is kept of what a step writes there.
const NO_OUTPUT: i64 = -1;
const SECRET: i64 = 1;
const SSH: i64 = 2;
const CACHE: i64 = 3;
const TMPFS: i64 = 4;
/// What is inside a cache mount that has an owner or a mode.
const CACHE_PATH: &str = "/cache";
const SCRIPTS: &str = "/dev/pipes/";
const SCRIPT_MODE: u32 = 0o755;

/// What a RUN stands on: since 0.13 it is said to be mounted from its root on, and up to 0.15 secrets and agents are, too.
pub(crate) fn at_root(node: Node, op: &ExecOp) -> Vec<Source> {
    let apart = op.mounts.iter().filter(|mount| !is_of_files(mount)).count();
    let mounted = |count: usize| Source::Selected(mount_selector(&vec![ROOT.to_owned(); count]), node);
    let both = (apart > 0).then(|| mounted(1 + apart));
    [Source::Whole(node), mounted(1)].into_iter().chain(both).collect()
}

/// Secrets and agents stand at no input.
pub(crate) const fn is_of_files(mount: &Mount) -> bool {
    !matches!(mount.kind, MountKind::Secret { .. } | MountKind::Ssh { .. })
}

/// The path of a mount within its input, for one that takes files from somewhere.
pub(crate) fn mount_paths(mount: &Mount) -> Option<(usize, &str)> {
    match &mount.kind {
        MountKind::Bind { input, source } => Some((*input, source)),
        MountKind::Cache { seed: Some((input, source)), .. } => Some((*input, source)),
        _ => None,
    }
}

/// What stands at the input of a mount that takes nothing from elsewhere but begins with something: a script, or the
/// directory of a cache with an owner or a mode.
pub(crate) fn first_content(mount: &Mount) -> Vec<Source> {
    match &mount.kind {
        MountKind::Script { content } => {
            let name = path::base_name(&mount.target).unwrap_or_default();
            vec![inline_file(&InlineFile { name, mode: SCRIPT_MODE, content }, ROOT)]
        }
        MountKind::Cache { seed: None, path, mode, uid, gid, .. } if path == ROOT && !is_usual(mount) => {
            let leaf = |release| Some(cache_directory(*mode, *uid, *gid, release));
            let selected = |leaf| Source::Selected(selector(&[CACHE_PATH.to_owned()]), Node::Leaf(leaf));
            names(leaf).into_iter().map(selected).collect()
        }
        _ => Vec::new(),
    }
}

/// A cache with the owner and the mode that it has without a word.
fn is_usual(mount: &Mount) -> bool {
    match mount.kind {
        MountKind::Cache { mode, uid, gid, .. } => (mode, uid, gid) == (CACHE_MODE, 0, 0),
        _ => true,
    }
}

/// A RUN whose files are mounted in the order of their targets, each from the input with this number; `None` for one with
/// devices, or with mounts that a release writes in another way.
pub(crate) fn exec(
    op: &ExecOp,
    platform: &Platform,
    root: i64,
    files: &[(&Mount, i64)],
    release: Release,
) -> Option<Digest> {
    let has_mounts = !op.mounts.is_empty() || !op.secret_env.is_empty();
    let seeded = |(mount, _): &(&Mount, i64)| mount_paths(mount).is_some() && !is_usual(mount);
    if !op.devices.is_empty() || has_mounts && release == Release::V0_8 || files.iter().any(seeded) {
        return None;
    }
    let env: Vec<String> = op.env.iter().map(|(name, value)| string(&format!("{name}={value}"))).collect();
    let meta = object(&[
        ("args", Some(list(op.argv.iter().map(|word| string(word))))),
        ("env", (!env.is_empty()).then(|| list(env))),
        ("cwd", text(&op.cwd)),
        ("user", text(&op.user)),
        ("hostname", text(&op.hostname)),
        ("removeMountStubsRecursive", flag(release > Release::V0_8)),
    ]);
    let network = match op.network {
        Network::Default => 0,
        Network::Host => 1,
        Network::None => 2,
    };
    let exec = object(&[
        ("meta", Some(meta)),
        ("mounts", (!op.mounts.is_empty()).then(|| mounts(op, root, files, release))),
        ("network", number(network)),
        ("security", number(i64::from(op.security == Security::Insecure))),
        ("secretenv", (!op.secret_env.is_empty()).then(|| list(op.secret_env.iter().map(secret_env)))),
    ]);
    Some(operation(&object(&[
        ("Type", Some(string("buildkit.exec.v0"))),
        ("Exec", Some(exec)),
        ("OS", Some(string(&platform.os))),
        ("Arch", Some(string(&platform.architecture))),
        ("Variant", text(variant(platform))),
    ])))
}

/// The variant that every machine of an architecture has is not written.
fn variant(platform: &Platform) -> &str {
    match (platform.architecture.as_str(), platform.variant.as_deref().unwrap_or_default()) {
        ("arm64", "v8" | "8") | ("amd64", "v1") => "",
        (_, variant) => variant,
    }
}

/// The root and the files first, then secrets, then agents.
fn mounts(op: &ExecOp, root: i64, files: &[(&Mount, i64)], release: Release) -> String {
    let of = |what: fn(&MountKind) -> bool| op.mounts.iter().filter(move |mount| what(&mount.kind));
    let root = Written { input: root, target: ROOT, output: 0, release };
    let files = files.iter().map(|(mount, input)| {
        let target = if is_script(&mount.kind) { SCRIPTS } else { &mount.target };
        Written { input: *input, target, output: NO_OUTPUT, release }.json(mount)
    });
    let apart = of(|kind| matches!(kind, MountKind::Secret { .. }));
    let apart = apart.chain(of(|kind| matches!(kind, MountKind::Ssh { .. })));
    // An oversight, mended in 0.16.
    let input = if release < Release::V0_17 { 0 } else { NO_INPUT };
    let apart = apart.map(|mount| Written { input, target: &mount.target, output: 0, release }.json(mount));
    list(std::iter::once(object(&root.fields())).chain(files).chain(apart))
}

const fn is_script(kind: &MountKind) -> bool {
    matches!(kind, MountKind::Script { .. })
}

/// What all mounts have.
struct Written<'a> {
    input: i64,
    target: &'a str,
    output: i64,
    release: Release,
}

impl<'a> Written<'a> {
    fn fields(&self) -> [(&'a str, Option<String>); 3] {
        let zero = |value: i64| (value != 0 || self.release < Release::V0_17).then(|| value.to_string());
        [("input", zero(self.input)), ("dest", text(self.target)), ("output", zero(self.output))]
    }

    fn json(&self, mount: &Mount) -> String {
        let mut fields = self.fields().to_vec();
        // A secret is read-only without a word.
        let is_plain = !matches!(mount.kind, MountKind::Secret { .. } | MountKind::Ssh { .. });
        fields.push(("readonly", flag(is_plain && mount.read_only)));
        match &mount.kind {
            MountKind::Bind { .. } | MountKind::Script { .. } => {}
            MountKind::Tmpfs { size } => {
                let size = size.and_then(|size| i64::try_from(size).ok()).unwrap_or_default();
                fields.push(("mountType", number(TMPFS)));
                fields.push(("TmpfsOpt", Some(object(&[("size", number(size))]))));
            }
            MountKind::Cache { id, sharing, .. } => {
                let id = told_id(id, &mount.target).filter(|_| *sharing == Sharing::Shared);
                fields.push(("mountType", number(CACHE)));
                fields.push(("cacheOpt", Some(object(&[("ID", id.map(|id| string(&id)))]))));
            }
            MountKind::Secret { id, required, mode, uid, gid } => {
                let id = text(id);
                fields.push(("mountType", number(SECRET)));
                fields.push(("secretOpt", Some(permissions(id, [*uid, *gid, *mode], *required))));
            }
            MountKind::Ssh { id, required, mode, uid, gid } => {
                // Without an id there is none to BuildKit.
                let id = text(id).filter(|_| id != "default");
                fields.push(("mountType", number(SSH)));
                fields.push(("SSHOpt", Some(permissions(id, [*uid, *gid, *mode], *required))));
            }
        }
        object(&fields)
    }
}

/// Only what a cache is called when nobody has named it counts: its target, behind a namespace.
fn told_id(id: &str, target: &str) -> Option<String> {
    if id == target {
        return Some(format!("/{id}"));
    }
    id.split_once('/').is_some_and(|(_, rest)| rest == target).then(|| id.to_owned())
}

fn permissions(id: Option<String>, [uid, gid, mode]: [u32; 3], required: bool) -> String {
    let number = |value: u32| number(i64::from(value));
    object(&[
        ("ID", id),
        ("uid", number(uid)),
        ("gid", number(gid)),
        ("mode", number(mode)),
        ("optional", flag(!required)),
    ])
}

fn secret_env(secret: &SecretEnv) -> String {
    object(&[("ID", text(&secret.id)), ("name", text(&secret.name)), ("optional", flag(!secret.required))])
}
