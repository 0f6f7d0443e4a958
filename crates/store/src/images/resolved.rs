//! What a name meant when a registry was last asked: a build whose base is not here as an image asks no more for it
//! than a build whose base is.
use super::Images;
use crate::StoreError;
use crate::db::{Bytes32, now};
use rusqlite::{OptionalExtension as _, Transaction, params};
use std::time::Duration;
use strata_oci::{Digest, ImageId, Platform, Reference};

/// How long an answer is remembered.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A registry's answer. Config and manifest are blobs of the store, kept as long as the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The image: digest of its config.
    pub image: ImageId,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// What the name points at: an index, or the manifest.
    pub digest: Digest,
}

impl Images {
    /// Remembers what a name means for a platform. Config and manifest must be blobs already.
    pub fn remember_resolved(
        &self,
        reference: &Reference,
        platform: &Platform,
        resolved: &Resolved,
    ) -> Result<(), StoreError> {
        self.core.db.write(|tx| {
            tx.prepare_cached("INSERT OR REPLACE INTO resolved VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?.execute(
                params![
                    reference.to_string(),
                    platform.to_string(),
                    Bytes32::from(&resolved.image),
                    Bytes32::from(&resolved.manifest),
                    Bytes32::from(&resolved.digest),
                    now()
                ],
            )?;
            Ok(())
        })
    }

    /// What a name meant the last time a registry was asked, as long as config and manifest are still here.
    pub fn resolved(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Resolved>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT config, manifest, r.digest FROM resolved r JOIN blobs c ON c.digest = config
                 JOIN blobs m ON m.digest = manifest WHERE reference = ?1 AND platform = ?2",
            )?;
            let row = params![reference.to_string(), platform.to_string()];
            let found = statement.query_row(row, |row| {
                Ok(Resolved {
                    image: row.get::<_, Bytes32>(0)?.image_id(),
                    manifest: row.get::<_, Bytes32>(1)?.digest(),
                    digest: row.get::<_, Bytes32>(2)?.digest(),
                })
            });
            Ok(found.optional()?)
        })
    }

    /// Forgets all of it: the next build asks again.
    pub fn forget_resolved(&self) -> Result<(), StoreError> {
        self.core.db.write(|tx| Ok(tx.execute("DELETE FROM resolved", []).map(drop)?))
    }
}

pub(crate) fn forget_old(tx: &Transaction) -> Result<(), StoreError> {
    let before = now().0 - jiff::SignedDuration::try_from(KEPT).expect("a month");
    let before = crate::db::Time(before);
    tx.prepare_cached("DELETE FROM resolved WHERE seen < ?1")?.execute([before])?;
    Ok(())
}
