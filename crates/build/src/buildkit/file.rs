//! Operations on files: JSON of the structures that BuildKit's frontend makes of COPY, ADD and WORKDIR, hashed.
use super::json::{flag, list, number, object, string, text};
use super::{Node, Release, Source, operation, selected_digest, selector};
use crate::{CopyOp, CopySource, path};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use strata_oci::Digest;

/// Mode of a file that a COPY brings along.
const INLINE_MODE: u32 = 0o644;

/// What a file operation stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing: `FROM scratch`, and no step yet.
    Nothing,
    /// An image or a step.
    Something,
}

/// A file that a Dockerfile brings along.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InlineFile<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Bytes.
    pub(crate) content: &'a [u8],
}

/// A WORKDIR; `None` if an owner would have to be looked up where there is nothing.
pub(crate) fn mkdir(path: &str, user: &str, base: Base, release: Release) -> Option<Digest> {
    let action = object(&[
        ("path", text(path)),
        ("mode", number(0o755)),
        ("makeParents", flag(true)),
        ("owner", owner(user, base, release)?),
        ("timestamp", number(-1)),
    ]);
    let indexes = [[first_input(base), -1, 0]];
    Some(files_op(&[action], &indexes))
}

/// The first content of a cache mount with an owner or a mode: a directory on nothing.
pub(super) fn cache_directory(mode: u32, uid: u32, gid: u32, release: Release) -> Digest {
    let owner = [uid, gid].map(|id| object(&[("User", Some(by_id(id, release)))]));
    let [user, group] = owner;
    let action = object(&[
        ("path", text("/cache")),
        ("mode", number(i64::from(mode))),
        ("owner", Some(object(&[("user", Some(user)), ("group", Some(group))]))),
        ("timestamp", number(-1)),
    ]);
    files_op(&[action], &[[-1, -1, 0]])
}

/// The record of a file that a Dockerfile brings along: a layer of its own, on nothing.
fn inline_record(file: &InlineFile<'_>) -> Digest {
    let action = object(&[
        ("path", text(&path::join("/", file.name))),
        ("mode", number(i64::from(file.mode))),
        ("data", (!file.content.is_empty()).then(|| string(&BASE64_STANDARD.encode(file.content)))),
        ("timestamp", number(-1)),
    ]);
    files_op(&[action], &[[-1, -1, 0]])
}

/// Such a file as an input of which a path is taken.
pub(crate) fn inline_file(file: &InlineFile<'_>, path: &str) -> Source {
    Source::Selected(selector(&[path.to_owned()]), Node::Leaf(inline_record(file)))
}

/// Such a file as an input, by its content.
pub(crate) fn inline_content(file: &InlineFile<'_>) -> Source {
    let header = super::Header {
        typeflag: b'0',
        mode: file.mode,
        size: file.content.len() as u64,
        ..Default::default()
    };
    let content = Digest::of(&[&super::file_header(&header), file.content].concat());
    Source::Content(selected_digest(&[content]))
}

impl<'a> InlineFile<'a> {
    /// What a COPY brings along, if that is what a source is.
    pub(crate) fn of(source: &'a CopySource) -> Option<Self> {
        match source {
            CopySource::Inline { name, content } => Some(Self { name, mode: INLINE_MODE, content }),
            _ => None,
        }
    }
}

/// A COPY or ADD of files, and of what a Dockerfile brings along; `None` for one that a release has no form of.
pub(crate) fn copy(op: &CopyOp, base: Base, release: Release) -> Option<Digest> {
    let is_old = release == Release::V0_8 && (op.link || !op.exclude.is_empty());
    // BuildKit passes over --link where there is a --chmod, and makes another layer.
    if is_old || op.parents || op.epoch.is_some() || op.link && op.chmod.is_some() {
        return None;
    }
    let (mode, symbolic) = mode(op.chmod.as_deref(), release)?;
    let owner = owner(op.chown.as_deref().unwrap_or_default(), base, release)?;
    let destination = destination(&op.destination);
    let action = |source: &CopySource| {
        let (name, is_path) = match source {
            CopySource::Path(path) => (path, true),
            CopySource::Inline { name, .. } if release > Release::V0_8 => (name, false),
            _ => return None,
        };
        let name = path::join("/", name);
        let patterns = op.exclude.iter().map(|pattern| string(pattern));
        Some(object(&[
            ("src", text(path::base_name(&name).unwrap_or("/"))),
            ("dest", text(&destination)),
            ("owner", owner.clone()),
            ("mode", number(mode)),
            ("followSymlink", flag(is_path)),
            ("dirCopyContents", flag(is_path)),
            ("attemptUnpackDockerCompatibility", flag(is_path && op.unpack)),
            ("createDestPath", flag(true)),
            ("allowWildcard", flag(is_path)),
            ("allowEmptyWildcard", flag(is_path)),
            ("timestamp", number(-1)),
            ("exclude_patterns", (!op.exclude.is_empty()).then(|| list(patterns))),
            ("modeStr", text(symbolic)),
        ]))
    };
    let actions: Vec<String> = op.sources.iter().map(action).collect::<Option<_>>()?;
    if actions.is_empty() {
        return None;
    }
    // They come first.
    let paths = op.sources.iter().filter(|source| matches!(source, CopySource::Path(_))).count();
    Some(files_op(&actions, &indexes(paths, actions.len() - paths, base)))
}

/// What each action stands on, takes from, and gives: the paths are all of one input, each other file is one.
fn indexes(paths: usize, files: usize, base: Base) -> Vec<[i64; 3]> {
    let count = |count: usize| i64::try_from(count).expect("fewer sources than that");
    let (paths, files) = (count(paths), count(files));
    let first_source = first_input(base) + 1;
    let inputs = first_source + paths.min(1) + files;
    let index = |number: i64| {
        let input = if number == 0 { first_input(base) } else { inputs + number - 1 };
        let source = if number < paths { first_source } else { first_source + paths.min(1) + number - paths };
        [input, source, if number + 1 == paths + files { 0 } else { -1 }]
    };
    (0..paths + files).map(index).collect()
}

/// What `--link` makes of a layer and what it lies on.
pub(crate) fn merge(release: Release) -> Option<Digest> {
    let inputs = match release {
        Release::V0_8 => return None,
        Release::V0_13 => r#"{"input":0},{"input":1}"#,
        Release::V0_17 => r#"{},{"input":1}"#,
    };
    Some(operation(&format!(r#"{{"Type":"buildkit.merge.v0","Merge":{{"inputs":[{inputs}]}}}}"#)))
}

const fn first_input(base: Base) -> i64 {
    match base {
        Base::Nothing => -1,
        Base::Something => 0,
    }
}

/// A directory is said by a slash.
fn destination(written: &str) -> String {
    let is_directory = written.ends_with('/') || written.ends_with("/.");
    let clean = path::join("/", written);
    if is_directory && clean != "/" { clean + "/" } else { clean }
}

/// `--chmod` as a number, -1 without any, or as text; `None` where a release knows no text.
fn mode(chmod: Option<&str>, release: Release) -> Option<(i64, &str)> {
    match chmod {
        None => Some((-1, "")),
        Some(octal) if octal.bytes().all(|byte| matches!(byte, b'0'..=b'7')) => {
            Some((i64::from_str_radix(octal, 8).ok()?, ""))
        }
        Some(symbolic) => (release >= Release::V0_17).then_some((0, symbolic)),
    }
}

/// `user[:group]`, each a number or a name that is looked up in what the operation stands on. The outer `None`: nowhere.
fn owner(written: &str, base: Base, release: Release) -> Option<Option<String>> {
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
            Some(id) => by_id(id.cast_unsigned(), release),
            None if base == Base::Nothing => return None,
            None => {
                let input = (release < Release::V0_17).then(|| "0".to_owned());
                let named = object(&[("name", text(name)), ("input", input)]);
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

fn by_id(id: u32, release: Release) -> String {
    let field = if release < Release::V0_17 { "byID" } else { "byId" };
    object(&[(field, number(i64::from(id)))])
}

fn files_op(actions: &[String], indexes: &[[i64; 3]]) -> Digest {
    let encoded = actions.iter().map(|action| string(&BASE64_STANDARD.encode(action)));
    let row = |row: &[i64; 3]| list(row.iter().map(ToString::to_string));
    operation(&object(&[
        ("Type", Some(string("buildkit.file.v0"))),
        ("Actions", Some(list(encoded))),
        ("indexes", (!are_default(indexes)).then(|| list(indexes.iter().map(row)))),
    ]))
}

/// Whether the inputs and outputs are those that the first versions of BuildKit took for granted, and did not write.
fn are_default(indexes: &[[i64; 3]]) -> bool {
    let count = indexes.len() as i64;
    indexes.iter().zip(0..).all(|([input, second, output], number)| {
        let expected = if number == 0 { 0 } else { count + number - 1 };
        *input == expected && matches!(second, -1 | 1) && *output == if number + 1 == count { 0 } else { -1 }
    })
}
