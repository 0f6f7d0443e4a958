//! Removing images (`spec/engine.md`, section 2, "image rm"; Docker's rules).
use super::list::records;
use super::resolve::{Named, named};
use super::tags::repository;
use super::{ImageRecord, Images, RemoveConflict, Used};
use crate::db::Bytes32;
use crate::{StoreError, blobs};
use rusqlite::{OptionalExtension as _, Transaction, params};
use strata_oci::{ChainId, DiffId, Digest, ImageId, Reference};

/// How to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Also if a stopped container uses it, or several names point at it.
    pub force: bool,
    /// Keep untagged parents.
    pub keep_parents: bool,
}

/// One line of the report, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone: `busybox:latest`, or `busybox@sha256:...`.
    Untagged(String),
    /// An image is gone.
    Image {
        /// Which.
        id: ImageId,
        /// Its layers that no other image and no container has, top first, each with the stack it ends. They are
        /// deleted by [`crate::Store::gc`], unless the build cache keeps them.
        layers: Vec<(ChainId, DiffId)>,
    },
}

impl Images {
    /// Removes what `text` names: a name, and with the last name the image; or by ID, the image with its names.
    /// The layers' data stay until [`crate::Store::gc`].
    pub fn remove(&self, text: &str, options: RemoveOptions) -> Result<Vec<Removed>, StoreError> {
        let report = self.core.db.write_durably(|tx| {
            let mut report = Vec::new();
            match named(tx, text)? {
                Named::Reference(id, reference) => {
                    by_reference(tx, id, &reference, text, options, &mut report)?
                }
                Named::Id(id) => by_id(tx, id, options, &mut report)?,
            }
            Ok(report)
        })?;
        self.blobs.bury()?;
        Ok(report)
    }
}

fn by_reference(
    tx: &Transaction,
    id: ImageId,
    reference: &Reference,
    text: &str,
    options: RemoveOptions,
    report: &mut Vec<Removed>,
) -> Result<(), StoreError> {
    let image = load(tx, &id)?;
    if is_single(&image)
        && !options.force
        && let Some((container, _)) = user(tx, &id, false)?
    {
        let reference = text.to_owned();
        return Err(RemoveConflict::ReferenceInUse { reference, image: id, container }.into());
    }
    let repository = repository(reference);
    match reference.digest() {
        Some(digest) => drop_digest(tx, &repository, digest, report)?,
        None => {
            drop_tag(tx, reference, report)?;
            let others =
                image.tags.iter().any(|tag| tag != reference && super::tags::repository(tag) == repository);
            if !others {
                // Digests of a repository go with its last tag.
                let digests = image.repo_digests.iter().filter(|(name, _)| *name == repository);
                digests.into_iter().try_for_each(|(name, digest)| drop_digest(tx, name, digest, report))?;
            }
        }
    }
    if !load(tx, &id)?.is_dangling() {
        return Ok(());
    }
    delete(tx, id, options, true, report)
}

fn by_id(
    tx: &Transaction,
    id: ImageId,
    options: RemoveOptions,
    report: &mut Vec<Removed>,
) -> Result<(), StoreError> {
    let image = load(tx, &id)?;
    if is_single(&image) {
        // One name only: it goes with the image and is not in the way itself.
        if let Some(used) = in_use(tx, &image, options.force, false)? {
            return Err(RemoveConflict::Image { image: id, used }.into());
        }
        drop_names(tx, &image, report)?;
    }
    delete(tx, id, options, false, report)
}

/// Deletes the image and then, unless they are to be kept, the untagged parents it leaves behind. `quiet`: an
/// image that is in use stays without complaint (its name is gone already, or nobody asked for it by name).
fn delete(
    tx: &Transaction,
    id: ImageId,
    options: RemoveOptions,
    quiet: bool,
    report: &mut Vec<Removed>,
) -> Result<(), StoreError> {
    let image = load(tx, &id)?;
    if let Some(used) = in_use(tx, &image, options.force, true)? {
        return if quiet { Ok(()) } else { Err(RemoveConflict::Image { image: id, used }.into()) };
    }
    drop_names(tx, &image, report)?;
    report.push(erase(tx, &image)?);
    match image.parent {
        Some(parent) if !options.keep_parents && super::exists(tx, &parent)? => {
            if !load(tx, &parent)?.is_dangling() {
                return Ok(());
            }
            let options = RemoveOptions { force: false, ..options };
            delete(tx, parent, options, true, report)
        }
        _ => Ok(()),
    }
}

/// Deletes the record of an image without names.
pub(super) fn erase(tx: &Transaction, image: &ImageRecord) -> Result<Removed, StoreError> {
    let key = Bytes32::from(&image.id);
    tx.prepare_cached("DELETE FROM images WHERE id = ?1")?.execute([key])?;
    blobs::forget(tx, key)?;
    let mut used = tx.prepare_cached(
        "SELECT 1 FROM image_layers WHERE diff_id = ?1 UNION ALL SELECT 1 FROM container_layers WHERE diff_id = ?1",
    )?;
    let mut layers = Vec::new();
    let mut chain = None;
    for diff_id in &image.layers {
        let next = ChainId::extend(chain, *diff_id);
        chain = Some(next);
        if !used.exists([Bytes32::from(diff_id)])? {
            layers.insert(0, (next, *diff_id));
        }
    }
    Ok(Removed::Image { id: image.id, layers })
}

/// What is in the way of deleting. `names`: several names are in the way too.
fn in_use(
    tx: &Transaction,
    image: &ImageRecord,
    force: bool,
    names: bool,
) -> Result<Option<Used>, StoreError> {
    if image.has_children {
        return Ok(Some(Used::Children));
    }
    if let Some((container, _)) = user(tx, &image.id, true)? {
        return Ok(Some(Used::Running(container)));
    }
    if force {
        return Ok(None);
    }
    if names && !is_single(image) && !image.is_dangling() {
        return Ok(Some(Used::Names));
    }
    Ok(user(tx, &image.id, false)?.map(|(container, _)| Used::Stopped(container)))
}

/// Some container made from the image; only a running one if `alive`.
pub(super) fn user(
    tx: &Transaction,
    id: &ImageId,
    alive: bool,
) -> Result<Option<(String, bool)>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, alive FROM containers WHERE image = ?1 AND alive >= ?2 ORDER BY alive DESC, id LIMIT 1",
    )?;
    let row = params![Bytes32::from(id), alive];
    Ok(statement.query_row(row, |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// At most one tag, and all names in one repository: then the ID stands for that name.
fn is_single(image: &ImageRecord) -> bool {
    let mut repositories: Vec<String> = image.tags.iter().map(repository).collect();
    repositories.extend(image.repo_digests.iter().map(|(name, _)| name.clone()));
    repositories.dedup();
    image.tags.len() <= 1 && repositories.windows(2).all(|pair| pair[0] == pair[1])
}

pub(super) fn drop_names(
    tx: &Transaction,
    image: &ImageRecord,
    report: &mut Vec<Removed>,
) -> Result<(), StoreError> {
    image.tags.iter().try_for_each(|tag| drop_tag(tx, tag, report))?;
    image.repo_digests.iter().try_for_each(|(name, digest)| drop_digest(tx, name, digest, report))
}

fn drop_tag(tx: &Transaction, reference: &Reference, report: &mut Vec<Removed>) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM tags WHERE reference = ?1")?.execute([reference.to_string()])?;
    report.push(Removed::Untagged(reference.familiar()));
    Ok(())
}

fn drop_digest(
    tx: &Transaction,
    repository: &str,
    digest: &Digest,
    report: &mut Vec<Removed>,
) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM repo_digests WHERE repository = ?1 AND digest = ?2")?
        .execute(params![repository, Bytes32::from(digest)])?;
    let name =
        repository.parse::<Reference>().map_or_else(|_| repository.to_owned(), |name| name.familiar_name());
    report.push(Removed::Untagged(format!("{name}@{digest}")));
    Ok(())
}

fn load(tx: &Transaction, id: &ImageId) -> Result<ImageRecord, StoreError> {
    records(tx, Some(id))?.pop().ok_or_else(|| StoreError::NoSuchImage(id.to_string()))
}
