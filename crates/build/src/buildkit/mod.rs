//! What BuildKit calls a step: the digests under which its cache keeps results, computed as BuildKit computes them.
//!
//! A record of its cache is named by the digest of an operation (JSON of Go structures, hashed) and by the records that
//! stand at its inputs; files are an input named by a digest of their own. The forms here are those of BuildKit 0.8, the
//! one in Docker 20.10, whose keys for FROM, RUN and WORKDIR later versions have kept. What has no such form (mounts,
//! secrets, `--link`, ADD from elsewhere, heredocs, ...) has no [`Vertex`] and is found in no cache of BuildKit's.
mod content;
mod json;
mod op;

pub use content::{Header, dir_digest, file_header, names_digest, selected_digest};
pub(crate) use op::{Base, copy, exec, image, mkdir, selector};

use crate::CacheKey;
use strata_oci::Digest;

/// A step as BuildKit's cache knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// Of its operation.
    pub digest: Digest,
    /// What may stand at each of its inputs: any one of these.
    pub inputs: Vec<Vec<Source>>,
}

impl Vertex {
    /// Without what is known of files only if the stage that they are of was made: files of a stage are then named by their
    /// paths alone.
    #[must_use]
    pub fn by_paths(&self) -> Self {
        let only_paths = |sources: &Vec<Source>| {
            let by_path = sources.iter().any(|source| source.selector.is_some());
            sources.iter().filter(|source| !by_path || source.selector.is_some()).copied().collect()
        };
        Self { digest: self.digest, inputs: self.inputs.iter().map(only_paths).collect() }
    }
}

/// Something that stands at an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Digest of the paths that are taken of it, where that is not all.
    pub selector: Option<Digest>,
    /// What it is.
    pub node: Node,
}

impl Source {
    /// All of it.
    pub const fn whole(node: Node) -> Self {
        Self { selector: None, node }
    }
}

/// A record that another one stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// One without inputs: an image, or files by their content.
    Leaf(Digest),
    /// The step with this key of ours.
    Step(CacheKey),
}

/// The name of an output of an operation in the cache; files have no output, and -1 instead.
fn record(operation: &Digest, output: i32) -> Digest {
    Digest::of(format!("{operation}@{output}").as_bytes())
}

/// The record of files with this content digest.
pub(crate) fn files(content: &Digest) -> Node {
    Node::Leaf(record(content, -1))
}

#[cfg(test)]
mod tests;
