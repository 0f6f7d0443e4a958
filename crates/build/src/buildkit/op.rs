//! Operations: JSON of the structures that BuildKit's frontend makes of instructions, hashed.
use super::json::{flag, list, number, object, string, text};
use super::record;
use crate::{CopyOp, CopySource, ExecOp, Network, Security, path};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use strata_oci::{ChainId, Digest, Platform};

/// What a file operation stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing: `FROM scratch`, and no step yet.
    Nothing,
    /// An image or a step.
    Something,
}

/// An image, by its layers.
pub(crate) fn image(chain: &ChainId) -> Digest {
    record(&Digest::of(format!("buildkit.source.v0:{chain}").as_bytes()), 0)
}

/// A RUN; `None` for one with mounts, secrets or devices.
pub(crate) fn exec(op: &ExecOp, platform: &Platform) -> Option<Digest> {
    if !op.mounts.is_empty() || !op.secret_env.is_empty() || !op.devices.is_empty() {
        return None;
    }
    let env: Vec<String> = op.env.iter().map(|(name, value)| string(&format!("{name}={value}"))).collect();
    let meta = object(&[
        ("args", Some(list(op.argv.iter().map(|word| string(word))))),
        ("env", (!env.is_empty()).then(|| list(env))),
        ("cwd", text(&op.cwd)),
        ("user", text(&op.user)),
        ("hostname", text(&op.hostname)),
    ]);
    let network = match op.network {
        Network::Default => 0,
        Network::Host => 1,
        Network::None => 2,
    };
    let exec = object(&[
        ("meta", Some(meta)),
        ("network", number(network)),
        ("security", number(i64::from(op.security == Security::Insecure))),
    ]);
    let whole = object(&[
        ("Type", Some(string("buildkit.exec.v0"))),
        ("Exec", Some(exec)),
        ("OS", Some(string(&platform.os))),
        ("Arch", Some(string(&platform.architecture))),
        ("Variant", text(variant(platform))),
    ]);
    Some(record(&Digest::of(whole.as_bytes()), 0))
}

/// The variant that every machine of an architecture has is not written.
fn variant(platform: &Platform) -> &str {
    match (platform.architecture.as_str(), platform.variant.as_deref().unwrap_or_default()) {
        ("arm64", "v8" | "8") | ("amd64", "v1") => "",
        (_, variant) => variant,
    }
}

/// A WORKDIR; `None` if an owner would have to be looked up where there is nothing.
pub(crate) fn mkdir(path: &str, user: &str, base: Base) -> Option<Digest> {
    let action = object(&[
        ("path", text(path)),
        ("mode", number(0o755)),
        ("makeParents", flag(true)),
        ("owner", owner(user, base)?),
        ("timestamp", number(-1)),
    ]);
    let indexes = [[first_input(base), -1, 0]];
    Some(files_op(&[action], &indexes))
}

/// A COPY or ADD of files; `None` for one that BuildKit 0.8 has no form of.
pub(crate) fn copy(op: &CopyOp, base: Base) -> Option<Digest> {
    let is_plain = !op.link && !op.parents && op.exclude.is_empty() && op.epoch.is_none();
    let mode = match op.chmod.as_deref() {
        None => -1,
        Some(octal) if octal.bytes().all(|byte| matches!(byte, b'0'..=b'7')) => {
            i64::from_str_radix(octal, 8).ok()?
        }
        Some(_) => return None,
    };
    let owner = owner(op.chown.as_deref().unwrap_or_default(), base)?;
    let destination = destination(&op.destination);
    let action = |source: &CopySource| {
        let CopySource::Path(path) = source else { return None };
        let source = path::join("/", path);
        Some(object(&[
            ("src", text(path::base_name(&source).unwrap_or("/"))),
            ("dest", text(&destination)),
            ("owner", owner.clone()),
            ("mode", number(mode)),
            ("followSymlink", flag(true)),
            ("dirCopyContents", flag(true)),
            ("attemptUnpackDockerCompatibility", flag(op.unpack)),
            ("createDestPath", flag(true)),
            ("allowWildcard", flag(true)),
            ("allowEmptyWildcard", flag(true)),
            ("timestamp", number(-1)),
        ]))
    };
    let actions: Vec<String> = op.sources.iter().map(action).collect::<Option<_>>()?;
    if !is_plain || actions.is_empty() {
        return None;
    }
    let count = i64::try_from(actions.len()).ok()?;
    let (inputs, source) = match base {
        Base::Nothing => (1, 0),
        Base::Something => (2, 1),
    };
    let index = |number: i64| {
        let input = if number == 0 { first_input(base) } else { inputs + number - 1 };
        [input, source, if number + 1 == count { 0 } else { -1 }]
    };
    let indexes: Vec<[i64; 3]> = (0..count).map(index).collect();
    Some(files_op(&actions, &indexes))
}

/// The digest of the paths that a copy takes from another stage or image.
pub(crate) fn selector(paths: &[String]) -> Digest {
    let mut paths: Vec<String> = paths.iter().map(|path| path::join("/", path)).collect();
    paths.sort_unstable_by(|a, b| b.cmp(a));
    paths.dedup();
    Digest::of(paths.join("\0").as_bytes())
}

const fn first_input(base: Base) -> i64 {
    match base {
        Base::Nothing => -1,
        Base::Something => 0,
    }
}

/// A directory is said by a slash, which the root gets a second of.
fn destination(written: &str) -> String {
    let is_directory = written.ends_with('/') || written.ends_with("/.");
    let clean = path::join("/", written);
    if is_directory { clean + "/" } else { clean }
}

/// `user[:group]`, each a number or a name that is looked up in what the operation stands on. The outer `None`: nowhere.
fn owner(written: &str, base: Base) -> Option<Option<String>> {
    if written.is_empty() {
        return Some(None);
    }
    let one = |name: &str| {
        let id = match name {
            "" | "root" => Some(0),
            name => name.parse::<i32>().ok(),
        };
        let who = match id {
            // Go converts what is negative.
            Some(id) => object(&[("byID", number(i64::from(id.cast_unsigned())))]),
            None if base == Base::Nothing => return None,
            None => {
                let named = object(&[("name", text(name)), ("input", Some("0".to_owned()))]);
                object(&[("byName", Some(named))])
            }
        };
        Some(object(&[("User", Some(who))]))
    };
    let (user, group) = match written.split_once(':') {
        Some((user, group)) => (one(user)?, Some(one(group)?)),
        None => (one(written)?, None),
    };
    Some(Some(object(&[("user", Some(user)), ("group", group)])))
}

fn files_op(actions: &[String], indexes: &[[i64; 3]]) -> Digest {
    let encoded = actions.iter().map(|action| string(&BASE64_STANDARD.encode(action)));
    let row = |row: &[i64; 3]| list(row.iter().map(ToString::to_string));
    let whole = object(&[
        ("Type", Some(string("buildkit.file.v0"))),
        ("Actions", Some(list(encoded))),
        ("indexes", (!are_default(indexes)).then(|| list(indexes.iter().map(row)))),
    ]);
    record(&Digest::of(whole.as_bytes()), 0)
}

/// Whether the inputs and outputs are those that the first versions of BuildKit took for granted, and did not write.
fn are_default(indexes: &[[i64; 3]]) -> bool {
    let count = indexes.len() as i64;
    indexes.iter().zip(0..).all(|([input, second, output], number)| {
        let expected = if number == 0 { 0 } else { count + number - 1 };
        *input == expected && matches!(second, -1 | 1) && *output == if number + 1 == count { 0 } else { -1 }
    })
}
