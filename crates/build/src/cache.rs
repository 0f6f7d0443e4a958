//! Cache keys, what they stand for, and where they are kept.
use crate::WorkerError;
use crate::buildkit::Vertex;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use strata_oci::{DiffId, Digest};

/// Names a step by everything that decides its result (`spec/build.md` 4.1). 32 bytes of BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// From stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Of the record that lists the files which a digest stands for ([`CacheRecord::files`]).
    pub fn of_listing(files: &Digest) -> Self {
        crate::key::listing(&files.to_string())
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is remembered under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// Which step of which build it was; `None` for a [`CacheResult::Selection`], which belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What went into the key, in order.
    pub inputs: Vec<Input>,
    /// With a [`CacheResult::Selection`]: its files, sorted by path. Kept in a record of their own, because they may
    /// be many and only explaining a miss needs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileEntry>,
    /// What came out.
    pub result: CacheResult,
}

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheResult {
    /// All layers above the base image, bottom first; the last is the step's own.
    Layers(Vec<CachedLayer>),
    /// Content digest of selected files. Under the key of another stage's result it spares making that stage.
    Selection(Digest),
}

/// A layer and its row of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// Bytes of regular files.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
}

/// Which step of which build: finds the nearest earlier record of a step that missed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// [`BuildOptions::scope`](crate::BuildOptions::scope).
    pub scope: String,
    /// Name or `stage-N`.
    pub stage: String,
    /// Which layer of the stage, from 0.
    pub position: u32,
    /// `RUN`, `COPY`, ...
    pub instruction: String,
}

/// One named part of a key. Secrets are never among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// `parent`, `env PATH`, `files`.
    pub name: String,
    /// Its value, or its digest where the value is not text.
    pub value: String,
}

impl Input {
    /// The digest of the files of a COPY or ADD, if it is that.
    pub fn files(&self) -> Option<Digest> {
        (self.name == crate::key::FILES).then(|| self.value.parse().ok()).flatten()
    }
}

/// A file of a selection, as far as explaining a change needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Below the source root, bytes that are not UTF-8 replaced.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a regular file.
    pub size: u64,
    /// Digest of a file's content, or a link's target.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
}

/// Type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Device, FIFO.
    Special,
}

/// Where records are kept. Plain data; whether the layers still exist is for
/// [`Worker::open`](crate::Worker::open) to say.
pub trait CacheIndex: Sync {
    /// The record under a key.
    fn lookup(&self, key: &CacheKey) -> Result<Option<CacheRecord>, WorkerError>;

    /// Keeps a record, in place of one with this key.
    fn record(&self, key: &CacheKey, record: &CacheRecord) -> Result<(), WorkerError>;

    /// Whether there are caches of BuildKit's to be asked.
    fn has_vertices(&self) -> bool {
        false
    }

    /// The layers above `root` that a cache of BuildKit's has for a step. Steps are asked for in their order, each after
    /// those it stands on, which are remembered by their keys.
    fn find_vertex(&self, _key: &CacheKey, _vertex: &Vertex, _root: &[DiffId]) -> Option<Vec<CachedLayer>> {
        None
    }

    /// The files that a digest stands for, sorted by path, if they are remembered: only explaining a miss needs them.
    fn listing(&self, files: &Digest) -> Result<Vec<FileEntry>, WorkerError> {
        Ok(self.lookup(&CacheKey::of_listing(files))?.map_or_else(Vec::new, |record| record.files))
    }

    /// The newest record of every [`Place`] of one stage (those without a place are not asked for here).
    fn earlier(&self, scope: &str, stage: &str) -> Result<Vec<CacheRecord>, WorkerError>;
}
