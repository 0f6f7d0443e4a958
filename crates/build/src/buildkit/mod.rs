//! What BuildKit calls a step: the digests under which its cache keeps results, computed as BuildKit computes them.
//!
//! A record of its cache is named by the digest of an operation (JSON of Go structures, hashed) and by the records that
//! stand at its inputs; files are an input named by a digest of their own. Releases write some of these structures
//! otherwise ([`Release`]): a step has a name for each, and a cache may hold any of them. What has no such form (devices,
//! `--parents`, ADD from elsewhere, fixed times, ...) has no [`Vertex`] and is found in no cache of BuildKit's.
mod content;
mod exec;
mod file;
mod json;

pub use content::{Header, Listing, dir_digest, file_header, names_digest, selected_digest};
pub(crate) use exec::{at_root, exec, first_content, is_of_files, mount_paths};
pub(crate) use file::{Base, InlineFile, copy, inline_content, inline_file, merge, mkdir};

use crate::CacheKey;
use strata_oci::{ChainId, Digest};

/// A release of BuildKit from which on steps are named so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Release {
    /// 0.8, in Docker 20.10.
    V0_8,
    /// 0.13, in Docker 26 (and but for owners, mounts and `--link` 0.11, in Docker 24).
    V0_13,
    /// 0.17, in Docker 28 and later.
    V0_17,
}

impl Release {
    /// All, the oldest first.
    pub(crate) const ALL: [Self; 3] = [Self::V0_8, Self::V0_13, Self::V0_17];
}

/// A step as BuildKit's cache knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// Of its operation, as one release or another writes it.
    pub digests: Vec<Digest>,
    /// What may stand at each of its inputs: any one of these.
    pub inputs: Vec<Vec<Source>>,
}

impl Vertex {
    /// A step under the names that it has; `None` if it has none.
    pub(crate) fn new(name: impl FnMut(Release) -> Option<Digest>, inputs: Vec<Vec<Source>>) -> Option<Self> {
        let digests = names(name);
        (!digests.is_empty()).then_some(Self { digests, inputs })
    }

    /// Without what is known of files only if the stage that they are of was made: files of a stage are then named by their
    /// paths alone.
    #[must_use]
    pub fn by_paths(&self) -> Self {
        let only_paths = |sources: &Vec<Source>| {
            let by_path = sources.iter().any(|source| !matches!(source, Source::Content(_)));
            let kept = |source: &&Source| !by_path || !matches!(source, Source::Content(_));
            sources.iter().filter(kept).copied().collect()
        };
        Self { digests: self.digests.clone(), inputs: self.inputs.iter().map(only_paths).collect() }
    }
}

/// The names that the releases have for something, each once.
pub(crate) fn names(name: impl FnMut(Release) -> Option<Digest>) -> Vec<Digest> {
    let mut digests: Vec<Digest> = Release::ALL.into_iter().filter_map(name).collect();
    digests.dedup();
    digests
}

/// Something that stands at an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// All of a record.
    Whole(Node),
    /// Of a record what paths name, by the digest of the paths.
    Selected(Digest, Node),
    /// Files, by the digest of their content.
    Content(Digest),
}

impl Source {
    /// The paths that are taken, if that is not all.
    pub const fn selector(&self) -> Option<Digest> {
        match self {
            Self::Selected(selector, _) => Some(*selector),
            Self::Whole(_) | Self::Content(_) => None,
        }
    }

    /// The record that it is taken of.
    pub fn node(&self) -> Node {
        match self {
            Self::Whole(node) | Self::Selected(_, node) => *node,
            // Files have no output, and -1 instead.
            Self::Content(content) => Node::Leaf(record(content, -1)),
        }
    }
}

/// A record that another one stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// One without inputs: an image, files by their content, a file that a Dockerfile brings along.
    Leaf(Digest),
    /// The step with this key of ours.
    Step(CacheKey),
}

/// The name of an output of an operation in the cache.
fn record(operation: &Digest, output: i32) -> Digest {
    Digest::of(format!("{operation}@{output}").as_bytes())
}

/// The record of an operation that is written so.
fn operation(json: &str) -> Digest {
    record(&Digest::of(json.as_bytes()), 0)
}

/// An image, by its layers.
pub(crate) fn image(chain: &ChainId) -> Digest {
    operation(&format!("buildkit.source.v0:{chain}"))
}

/// The digest of the paths that a copy takes from another stage or image.
pub(crate) fn selector(paths: &[String]) -> Digest {
    let mut paths: Vec<String> = paths.iter().map(|path| crate::path::join("/", path)).collect();
    paths.sort_unstable_by(|a, b| b.cmp(a));
    paths.dedup();
    Digest::of(paths.join("\0").as_bytes())
}

/// The digest of the paths that are mounted of a stage or image, in the order of the mounts.
pub(crate) fn mount_selector(paths: &[String]) -> Digest {
    Digest::of(paths.join("\0").as_bytes())
}

#[cfg(test)]
mod tests;
