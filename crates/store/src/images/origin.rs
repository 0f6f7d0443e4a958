//! Where an image came from, or went to: the manifests under which repositories hold it.
use super::{Images, exists};
use crate::StoreError;
use crate::db::{Bytes32, now};
use rusqlite::{Transaction, params};
use strata_oci::{Digest, ImageId};

/// An image as a repository holds it. Both documents must be blobs of the store already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Full repository name: `docker.io/library/busybox`.
    pub repository: String,
    /// What the tag points at there: an index, or the manifest itself. Shown as `RepoDigests`.
    pub digest: Digest,
    /// The manifest of this very image.
    pub manifest: Digest,
}

/// A manifest kept with its image, byte for byte: a push elsewhere sends it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its digest; the bytes are a blob.
    pub digest: Digest,
    /// Full name of a repository that holds it and its layers.
    pub repository: String,
}

impl Images {
    /// Remembers that a repository holds an image that is here.
    pub fn remember_origin(&self, id: &ImageId, origin: &Origin) -> Result<(), StoreError> {
        self.core.db.write(|tx| {
            if !exists(tx, id)? {
                return Err(StoreError::NoSuchImage(id.to_string()));
            }
            record(tx, id, origin)
        })
    }

    /// The manifests under which repositories hold an image, the one seen last first.
    pub fn manifests(&self, id: &ImageId) -> Result<Vec<StoredManifest>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT digest, repository FROM manifests WHERE image = ?1 ORDER BY seen DESC, repository",
            )?;
            let rows = statement.query_map([Bytes32::from(id)], |row| {
                Ok(StoredManifest { digest: row.get::<_, Bytes32>(0)?.digest(), repository: row.get(1)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

pub(super) fn record(tx: &Transaction, id: &ImageId, origin: &Origin) -> Result<(), StoreError> {
    let image = Bytes32::from(id);
    tx.prepare_cached("INSERT OR REPLACE INTO repo_digests VALUES(?1, ?2, ?3)")?.execute(params![
        origin.repository,
        Bytes32::from(&origin.digest),
        image
    ])?;
    tx.prepare_cached("INSERT OR REPLACE INTO manifests VALUES(?1, ?2, ?3, ?4)")?.execute(params![
        image,
        Bytes32::from(&origin.manifest),
        origin.repository,
        now()
    ])?;
    Ok(())
}
