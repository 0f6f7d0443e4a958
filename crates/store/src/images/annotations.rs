//! Annotations of images that were built here. They belong to manifests, which are made when an image is sent or saved.
use super::Images;
use crate::StoreError;
use crate::db::Bytes32;
use rusqlite::{Transaction, params};
use std::collections::BTreeMap;
use strata_oci::ImageId;

impl Images {
    /// The annotations that an image was built with.
    pub fn annotations(&self, id: &ImageId) -> Result<BTreeMap<String, String>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT name, value FROM annotations WHERE image = ?1")?;
            let rows = statement.query_map([Bytes32::from(id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// Gives an image these annotations, in place of those it had.
pub(super) fn record(
    tx: &Transaction,
    id: &ImageId,
    annotations: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let image = Bytes32::from(id);
    tx.prepare_cached("DELETE FROM annotations WHERE image = ?1")?.execute([&image])?;
    let mut insert = tx.prepare_cached("INSERT INTO annotations VALUES(?1, ?2, ?3)")?;
    for (name, value) in annotations {
        insert.execute(params![image, name, value])?;
    }
    Ok(())
}
