//! Image records with everything lists show.
use super::{ImageRecord, Images};
use crate::StoreError;
use crate::db::{Bytes32, Time};
use rusqlite::types::FromSql;
use rusqlite::{Row, Transaction};
use std::collections::BTreeMap;
use strata_oci::{DiffId, Digest, ImageId, Reference};

/// One row per image; `?1` is an ID or NULL for all.
const IMAGES: &str = "
SELECT id, parent, created, last_tagged, last_used, labels,
    (SELECT count(*) FROM containers c WHERE c.image = images.id),
    EXISTS (SELECT 1 FROM images child WHERE child.parent = images.id)
FROM images WHERE ?1 IS NULL OR id = ?1 ORDER BY coalesce(created, 0) DESC, added DESC, id";

/// The last column: does another image have the layer, too? Not how many do: a thousand may.
const LAYERS: &str = "
SELECT image, diff_id, content_size,
    EXISTS (SELECT 1 FROM image_layers other WHERE other.diff_id = l.diff_id AND other.image != l.image)
FROM image_layers l JOIN layers USING(diff_id) WHERE ?1 IS NULL OR image = ?1 ORDER BY image, position";

impl Images {
    /// All images, newest first.
    pub fn list(&self) -> Result<Vec<ImageRecord>, StoreError> {
        self.core.db.read(|tx| records(tx, None))
    }

    /// One image; `None` when it is not here.
    pub fn get(&self, id: &ImageId) -> Result<Option<ImageRecord>, StoreError> {
        self.core.db.read(|tx| Ok(records(tx, Some(id))?.pop()))
    }
}

pub(super) fn records(tx: &Transaction, only: Option<&ImageId>) -> Result<Vec<ImageRecord>, StoreError> {
    let key = only.map(Bytes32::from);
    let mut images: Vec<ImageRecord> =
        tx.prepare_cached(IMAGES)?.query_map([key], image_from_row)?.collect::<Result<_, _>>()?;
    let position: BTreeMap<ImageId, usize> =
        images.iter().enumerate().map(|(at, image)| (image.id, at)).collect();

    each(tx, LAYERS, key, |image, row| {
        if let Some(at) = position.get(&image) {
            let (size, is_shared): (u64, bool) = (row.get(2)?, row.get(3)?);
            let image = &mut images[*at];
            image.layers.push(row.get::<_, Bytes32>(1)?.diff_id());
            image.size += size;
            image.shared_size += if is_shared { size } else { 0 };
        }
        Ok(())
    })?;
    let tags = "SELECT image, reference FROM tags WHERE ?1 IS NULL OR image = ?1 ORDER BY reference";
    each(tx, tags, key, |image, row| {
        let text: String = row.get(1)?;
        if let (Some(at), Ok(reference)) = (position.get(&image), text.parse::<Reference>()) {
            images[*at].tags.push(reference);
        }
        Ok(())
    })?;
    let digests = "SELECT image, repository, digest FROM repo_digests WHERE ?1 IS NULL OR image = ?1 ORDER BY repository, digest";
    each(tx, digests, key, |image, row| {
        if let Some(at) = position.get(&image) {
            let digest: Digest = row.get::<_, Bytes32>(2)?.digest();
            images[*at].repo_digests.push((row.get(1)?, digest));
        }
        Ok(())
    })?;
    Ok(images)
}

fn each(
    tx: &Transaction,
    query: &str,
    key: Option<Bytes32>,
    mut take: impl FnMut(ImageId, &Row) -> rusqlite::Result<()>,
) -> Result<(), StoreError> {
    let mut statement = tx.prepare_cached(query)?;
    let mut rows = statement.query([key])?;
    while let Some(row) = rows.next()? {
        take(row.get::<_, Bytes32>(0)?.image_id(), row)?;
    }
    Ok(())
}

fn image_from_row(row: &Row) -> rusqlite::Result<ImageRecord> {
    let labels: String = row.get(5)?;
    let optional = |at| -> rusqlite::Result<Option<Time>> { row.get::<_, Option<Time>>(at) };
    Ok(ImageRecord {
        id: get::<Bytes32>(row, 0)?.image_id(),
        parent: row.get::<_, Option<Bytes32>>(1)?.map(Bytes32::image_id),
        created: optional(2)?.map(|time| time.0),
        last_tagged: optional(3)?.map(|time| time.0),
        last_used: get::<Time>(row, 4)?.0,
        labels: serde_json::from_str(&labels).unwrap_or_default(),
        layers: Vec::<DiffId>::new(),
        tags: Vec::new(),
        repo_digests: Vec::new(),
        size: 0,
        shared_size: 0,
        containers: row.get(6)?,
        has_children: row.get(7)?,
    })
}

fn get<T: FromSql>(row: &Row, at: usize) -> rusqlite::Result<T> {
    row.get(at)
}
