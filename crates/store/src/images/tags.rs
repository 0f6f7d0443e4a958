//! Names of images: tags, and the digests under which repositories hold them.
use super::{Images, NamedManifest, exists, named};
use crate::StoreError;
use crate::db::{Bytes32, now};
use rusqlite::{OptionalExtension as _, Transaction, params};
use strata_oci::{ImageId, Reference};

impl Images {
    /// Points a tag at an image: the one step that makes a build, pull or load visible. Returns the image that the
    /// tag pointed at before, if it was another one; that one stays, perhaps dangling. The name stands for the same manifest
    /// as the image's ID.
    pub fn tag(&self, reference: &Reference, id: &ImageId) -> Result<Option<ImageId>, StoreError> {
        self.core.db.write(|tx| {
            check(tx, id)?;
            point(tx, reference, id, &named::of_image(tx, id)?)
        })
    }

    /// [`Self::tag`], for a name that stands for this manifest.
    pub fn tag_as(
        &self,
        reference: &Reference,
        id: &ImageId,
        manifest: &NamedManifest,
    ) -> Result<Option<ImageId>, StoreError> {
        self.core.db.write(|tx| {
            check(tx, id)?;
            point(tx, reference, id, manifest)
        })
    }
}

fn check(tx: &Transaction, id: &ImageId) -> Result<(), StoreError> {
    exists(tx, id)?.then_some(()).ok_or_else(|| StoreError::NoSuchImage(id.to_string()))
}

/// Points a tag at an image that has a record; the other image that had the tag before.
pub(super) fn point(
    tx: &Transaction,
    reference: &Reference,
    id: &ImageId,
    manifest: &NamedManifest,
) -> Result<Option<ImageId>, StoreError> {
    let name = tag_name(reference)?;
    let before = tagged(tx, &name)?;
    tx.prepare_cached("INSERT OR REPLACE INTO tags VALUES(?1, ?2, ?3, ?4)")?.execute(params![
        name,
        repository(reference),
        Bytes32::from(id),
        manifest
    ])?;
    tx.prepare_cached("UPDATE images SET last_tagged = ?2, last_used = ?2 WHERE id = ?1")?
        .execute(params![Bytes32::from(id), now()])?;
    Ok(before.filter(|before| before != id))
}

/// `docker.io/library/busybox`.
pub(super) fn repository(reference: &Reference) -> String {
    format!("{}/{}", reference.domain(), reference.path())
}

/// The full form of a tag.
fn tag_name(reference: &Reference) -> Result<String, StoreError> {
    match (reference.tag(), reference.digest()) {
        (Some(_), None) => Ok(reference.to_string()),
        _ => Err(StoreError::TagWithDigest(reference.familiar())),
    }
}

pub(super) fn tagged(tx: &Transaction, name: &str) -> Result<Option<ImageId>, StoreError> {
    let mut statement = tx.prepare_cached("SELECT image FROM tags WHERE reference = ?1")?;
    let image: Option<Bytes32> = statement.query_row([name], |row| row.get(0)).optional()?;
    Ok(image.map(Bytes32::image_id))
}
