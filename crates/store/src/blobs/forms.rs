//! The compressed forms of layers: their digests are remembered, so that a push need not compress to learn them, and
//! may ask for what is there already.
use super::Blobs;
use crate::StoreError;
use crate::db::{Bytes32, now};
use rusqlite::{OptionalExtension as _, params};
use strata_oci::{DiffId, Digest};

/// A compressed form of a layer that some repository was seen to hold: a push there need not upload it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteBlob {
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Their length.
    pub length: u64,
    /// Media type in the manifest.
    pub media_type: String,
    /// Full repository name (`docker.io/library/busybox`); empty when only known locally.
    pub repository: String,
}

impl Blobs {
    /// Remembers what compressing a layer gave. `recipe` names everything that decides it: algorithm, level, program.
    /// Forgotten with the layer.
    pub fn remember_compressed(
        &self,
        layer: &DiffId,
        recipe: &str,
        digest: &Digest,
        length: u64,
    ) -> Result<(), StoreError> {
        self.core.db.write(|tx| {
            let mut statement =
                tx.prepare_cached("INSERT OR REPLACE INTO compressed VALUES(?1, ?2, ?3, ?4)")?;
            statement.execute(params![Bytes32::from(layer), recipe, Bytes32::from(digest), length])?;
            Ok(())
        })
    }

    /// Digest and length of a layer compressed by a recipe, if that was ever done.
    pub fn compressed(&self, layer: &DiffId, recipe: &str) -> Result<Option<(Digest, u64)>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx
                .prepare_cached("SELECT digest, length FROM compressed WHERE diff_id = ?1 AND recipe = ?2")?;
            let found = statement.query_row(params![Bytes32::from(layer), recipe], |row| {
                Ok((row.get::<_, Bytes32>(0)?.digest(), row.get(1)?))
            });
            Ok(found.optional()?)
        })
    }

    /// The recipe whose result for this layer has the digest: those very bytes can be made again.
    pub fn recipe(&self, layer: &DiffId, digest: &Digest) -> Result<Option<String>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx
                .prepare_cached("SELECT recipe FROM compressed WHERE diff_id = ?1 AND digest = ?2 LIMIT 1")?;
            let row = params![Bytes32::from(layer), Bytes32::from(digest)];
            Ok(statement.query_row(row, |row| row.get(0)).optional()?)
        })
    }

    /// Remembers that `repository` holds `digest` as a compressed form of a layer.
    pub fn remember_remote(&self, layer: &DiffId, remote: &RemoteBlob) -> Result<(), StoreError> {
        self.core.db.write(|tx| {
            let mut statement =
                tx.prepare_cached("INSERT OR REPLACE INTO remote_blobs VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?;
            let (digest, seen) = (Bytes32::from(&remote.digest), now());
            let row = params![
                Bytes32::from(layer),
                digest,
                remote.length,
                remote.media_type,
                remote.repository,
                seen
            ];
            statement.execute(row)?;
            Ok(())
        })
    }

    /// Every compressed form seen of a layer, latest first.
    pub fn remotes(&self, layer: &DiffId) -> Result<Vec<RemoteBlob>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT digest, length, media_type, repository FROM remote_blobs WHERE diff_id = ?1 ORDER BY seen DESC",
            )?;
            let rows = statement.query_map([Bytes32::from(layer)], |row| {
                Ok(RemoteBlob {
                    digest: row.get::<_, Bytes32>(0)?.digest(),
                    length: row.get(1)?,
                    media_type: row.get(2)?,
                    repository: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
