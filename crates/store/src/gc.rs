//! Collecting layers and blobs that nothing keeps.
use crate::db::Bytes32;
use crate::root::{index_name, mount_name};
use crate::trash::doom;
use crate::{Store, StoreError, blobs, images, leases, trash};
use rusqlite::Transaction;
use std::path::Path;
use strata_oci::{DiffId, Digest};

/// How to collect.
pub struct GcOptions<'a> {
    /// Also layers that only the build cache keeps, with the cache records that need them.
    pub include_cache: bool,
    /// Unmounts `overlay2/<id>/diff` of a layer that goes; called only if something is mounted there.
    pub unmount: &'a dyn Fn(&Path) -> std::io::Result<()>,
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Layers, in the order of their names.
    pub layers: Vec<DiffId>,
    /// Configs and manifests.
    pub blobs: Vec<Digest>,
    /// Bytes of tars, indexes and blobs that are freed.
    pub bytes: u64,
}

/// What keeps a layer besides the cache.
const KEPT: &str = "EXISTS (SELECT 1 FROM image_layers k WHERE k.diff_id = l.diff_id)
    OR EXISTS (SELECT 1 FROM container_layers k WHERE k.diff_id = l.diff_id)
    OR EXISTS (SELECT 1 FROM lease_layers k WHERE k.diff_id = l.diff_id)";

const UNUSED_BLOBS: &str = "SELECT digest, length FROM blobs b WHERE
    (kind = 'config' AND NOT EXISTS (SELECT 1 FROM images i WHERE i.id = b.digest)
       AND NOT EXISTS (SELECT 1 FROM resolved r WHERE r.config = b.digest)
     OR kind = 'manifest' AND NOT EXISTS (SELECT 1 FROM repo_digests r WHERE r.digest = b.digest)
       AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.digest = b.digest)
       AND NOT EXISTS (SELECT 1 FROM resolved r WHERE r.manifest = b.digest))
    AND NOT EXISTS (SELECT 1 FROM lease_blobs k WHERE k.digest = b.digest)";

impl Store {
    /// Deletes layers that no image, cache record, container or lease names, and configs and manifests likewise.
    /// Safe beside any number of builds. The records go first, in one transaction; files are deleted in the
    /// background (see [`Store::empty_trash`]).
    pub fn gc(&self, options: &GcOptions) -> Result<GcReport, StoreError> {
        let mut report = self.core.db.write_durably(|tx| {
            leases::expire(&self.core.root, tx)?;
            images::forget_old(tx)?;
            let mut report = GcReport::default();
            for diff_id in unused_layers(tx, options.include_cache)? {
                forget_layer(tx, &diff_id, &mut report.bytes)?;
                report.layers.push(diff_id);
            }
            let unused: Vec<(Bytes32, u64)> = tx
                .prepare_cached(UNUSED_BLOBS)?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            for (digest, length) in unused {
                blobs::forget(tx, digest)?;
                report.bytes += length;
                report.blobs.push(digest.digest());
            }
            Ok(report)
        })?;
        // Also those of a collection that was killed before it came here.
        for path in trash::doomed(&self.core.db)?.iter().filter(|path| path.starts_with("overlay2/")) {
            let directory = self.core.root.root.join(path);
            if trash::is_mounted(&directory) {
                (options.unmount)(&directory.join("diff"))?;
            }
        }
        self.core.bury()?;
        report.bytes += self.downloads().collect(options.include_cache)?;
        Ok(report)
    }
}

fn unused_layers(tx: &Transaction, include_cache: bool) -> Result<Vec<DiffId>, StoreError> {
    if include_cache {
        let records = format!(
            "DELETE FROM cache WHERE EXISTS (SELECT 1 FROM cache_layers l WHERE l.key = cache.key AND NOT ({KEPT}))"
        );
        tx.execute(&records, [])?;
    }
    let query = format!(
        "SELECT diff_id FROM layers l WHERE NOT ({KEPT})
         AND NOT EXISTS (SELECT 1 FROM cache_layers k WHERE k.diff_id = l.diff_id)"
    );
    let mut statement = tx.prepare(&query)?;
    let rows = statement.query_map([], |row| Ok(row.get::<_, Bytes32>(0)?.diff_id()))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Deletes the records of a layer and dooms its files and its directories below `overlay2/`.
fn forget_layer(tx: &Transaction, diff_id: &DiffId, bytes: &mut u64) -> Result<(), StoreError> {
    let key = Bytes32::from(diff_id);
    let indexes: Vec<(String, u64)> = tx
        .prepare_cached("SELECT variant, length FROM layer_indexes WHERE diff_id = ?1")?
        .query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    *bytes += tx
        .prepare_cached("SELECT tar_length FROM layers WHERE diff_id = ?1")?
        .query_row([key], |row| row.get::<_, u64>(0))?;
    tx.prepare_cached("DELETE FROM layers WHERE diff_id = ?1")?.execute([key])?;
    doom(tx, &format!("layers/sha256/{}", diff_id.hex()))?;
    for (variant, length) in indexes {
        *bytes += length;
        doom(tx, &format!("layers/sha256/{}", index_name(diff_id, &variant)))?;
        doom(tx, &format!("overlay2/{}", mount_name(diff_id, &variant)))?;
    }
    Ok(())
}
