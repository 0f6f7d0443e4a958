//! What was fetched, kept: a layer, and a record in the build cache that holds on to it.
use super::{Fetched, Fetcher};
use crate::EngineError;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use strata_layer::context::ContextDir;
use strata_layer::copy::{self, CopyOptions, SelectOptions, Selection};
use strata_layer::tree::{Entry, SourceTree};
use strata_layer::{LayerBuilder, Metadata};
use strata_oci::{DiffId, Digest};
use strata_store::CacheKey;

/// Changes when records mean something else; old ones are then never found.
const VERSION: &str = "strata remote source, version 1";

/// How a source was when it was fetched.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Record {
    pub(super) layer: DiffId,
    /// `ETag`
    #[serde(default)]
    pub(super) etag: Option<String>,
    /// `Last-Modified`
    #[serde(default)]
    pub(super) modified: Option<String>,
    /// Of a file's bytes.
    #[serde(default)]
    pub(super) digest: Option<Digest>,
}

/// Key of a record: each part preceded by its length.
pub(super) fn key(parts: &[&str]) -> CacheKey {
    let mut hasher = blake3::Hasher::new_derive_key(VERSION);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

impl Fetcher<'_> {
    /// The record of a key, if its layer is still here; it then stays until the build is done.
    pub(super) fn recorded(&self, key: &CacheKey) -> Result<Option<Record>, EngineError> {
        let Some(found) = self.engine.store().cache().get(key)? else { return Ok(None) };
        // One that cannot be read was written by another version: as good as none.
        let Ok(record) = serde_json::from_str::<Record>(&found.value) else { return Ok(None) };
        let missing = self.lease.hold(&[record.layer])?;
        Ok(missing.is_empty().then_some(record))
    }

    /// A record that was a hit.
    pub(super) fn again(
        &self,
        key: &CacheKey,
        record: &Record,
        path: &str,
        identity: Option<Digest>,
    ) -> Result<Fetched, EngineError> {
        self.engine.store().cache().touch(&[*key])?;
        self.fetched(record.layer, path, identity)
    }

    /// Writes a record, and gives what it is about.
    pub(super) fn remember(
        &self,
        key: &CacheKey,
        record: &Record,
        path: &str,
        identity: Option<Digest>,
    ) -> Result<Fetched, EngineError> {
        let value = serde_json::to_string(record).map_err(EngineError::runtime)?;
        self.engine.store().cache().put(key, "", &value, &[record.layer])?;
        self.fetched(record.layer, path, identity)
    }

    fn fetched(&self, diff_id: DiffId, path: &str, identity: Option<Digest>) -> Result<Fetched, EngineError> {
        let files = Arc::new(self.engine.store().layers().stack(&[diff_id])?);
        Ok(Fetched { diff_id, files, path: path.to_owned(), identity })
    }

    /// Makes a layer of what `path` means in a directory, as a COPY of it to `/` would.
    pub(super) fn keep(&self, directory: &Path, path: &str, with_top: bool) -> Result<DiffId, EngineError> {
        let unkept = |error| EngineError::layer("cannot store what was fetched", error);
        let uncopied = |error| EngineError::runtime(error);
        let tree: Arc<dyn SourceTree> = Arc::new(ContextDir::open(directory, None, None).map_err(unkept)?);
        let layers = self.engine.store().layers();
        let staged = layers.begin(&self.lease)?;
        let mut builder = LayerBuilder::new(staged.tar_file()?);
        // The directory itself, for its time: a copy of it shows that.
        let top = tree.entry(path.as_bytes()).map_err(unkept)?.filter(|_| with_top);
        if let Some(Entry { metadata, .. }) = top {
            builder.add(b"", &Metadata { mode: 0o755, ..metadata }, b"").map_err(unkept)?;
        }
        let selection = Selection::new(tree, &[path], SelectOptions::default()).map_err(uncopied)?;
        copy::copy(&[selection], None, b"/", &CopyOptions::default(), &mut builder).map_err(uncopied)?;
        let (_, info, contents) = builder.finish().map_err(unkept)?;
        Ok(staged.commit(info, &contents, &[])?.diff_id)
    }
}
