//! Images: a config, its layers, and the names that point at it.
pub(crate) mod conflict;
mod list;
mod named;
mod origin;
mod prune;
mod remove;
mod resolve;
mod resolved;
mod tags;

pub use conflict::{RemoveConflict, Used};
pub use named::NamedManifest;
pub use origin::{Origin, StoredManifest};
pub use prune::{LabelFilter, Prune};
pub use remove::{RemoveOptions, Removed};
pub use resolved::Resolved;
pub(crate) use resolved::forget_old;

use crate::StoreError;
use crate::blobs::{BlobKind, Blobs};
use crate::core::Core;
use crate::db::{Bytes32, Time, now};
use jiff::Timestamp;
use rusqlite::{Transaction, params};
use std::collections::BTreeMap;
use std::sync::Arc;
use strata_oci::{DiffId, Digest, ImageConfig, ImageId, Raw, Reference};

/// The images of the store.
#[derive(Clone, Debug)]
pub struct Images {
    core: Arc<Core>,
    blobs: Blobs,
}

/// What is recorded of an image (`spec/engine.md`, section 4, "Sizes", "Dangling").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Digest of its config.
    pub id: ImageId,
    /// The image it was built on, where the classic builder noted one.
    pub parent: Option<ImageId>,
    /// From its config.
    pub created: Option<Timestamp>,
    /// When a tag was last pointed at it.
    pub last_tagged: Option<Timestamp>,
    /// When it was last tagged, run or built upon.
    pub last_used: Timestamp,
    /// Labels from its config.
    pub labels: BTreeMap<String, String>,
    /// Its layers, bottom first.
    pub layers: Vec<DiffId>,
    /// Tags that point at it, sorted.
    pub tags: Vec<Reference>,
    /// Manifest digests under which repositories hold it: full repository name and digest, sorted.
    pub repo_digests: Vec<(String, Digest)>,
    /// Sum of its layers' sizes: logical bytes of regular files.
    pub size: u64,
    /// Bytes of its layers that other images have too.
    pub shared_size: u64,
    /// Number of containers made from it.
    pub containers: u64,
    /// True when another image names it as parent.
    pub has_children: bool,
}

impl ImageRecord {
    /// No tag and no repository digest points at it.
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty() && self.repo_digests.is_empty()
    }
}

impl Images {
    pub(crate) fn new(core: Arc<Core>, blobs: Blobs) -> Self {
        Self { core, blobs }
    }

    /// Stores an image whose layers are all here already. It has no name until [`Self::tag`]. `parent` is noted
    /// by the classic builder only. An image that is here already keeps its record.
    pub fn put(&self, config: &Raw<ImageConfig>, parent: Option<&ImageId>) -> Result<ImageId, StoreError> {
        self.put_named(config, parent, &[], &|_, _| Ok(()))
    }

    /// [`Self::put`] and [`Self::tag`] in one transaction, so that no prune finds the image without its names.
    pub fn publish(&self, config: &Raw<ImageConfig>, names: &[Reference]) -> Result<ImageId, StoreError> {
        let names: Vec<_> = names.iter().map(|name| (name.clone(), NamedManifest::Any)).collect();
        self.put_named(config, None, &names, &|_, _| Ok(()))
    }

    /// [`Self::publish`] of an image that came from a registry, with what is known of it there.
    pub fn publish_from(
        &self,
        config: &Raw<ImageConfig>,
        names: &[Reference],
        origin: &Origin,
    ) -> Result<ImageId, StoreError> {
        let pulled = NamedManifest::Pulled(origin.manifest);
        let names: Vec<_> = names.iter().map(|name| (name.clone(), pulled.clone())).collect();
        self.put_named(config, None, &names, &|tx, id| origin::record(tx, id, origin))
    }

    /// [`Self::publish`] of an image that was built or loaded, with the manifest that each of its names and its ID alone stand
    /// for. They take the place of what was said before.
    pub fn publish_as(
        &self,
        config: &Raw<ImageConfig>,
        names: &[(Reference, NamedManifest)],
        manifest: &NamedManifest,
    ) -> Result<ImageId, StoreError> {
        self.put_named(config, None, names, &|tx, id| named::record(tx, id, manifest))
    }

    fn put_named(
        &self,
        config: &Raw<ImageConfig>,
        parent: Option<&ImageId>,
        names: &[(Reference, NamedManifest)],
        note: &dyn Fn(&Transaction, &ImageId) -> Result<(), StoreError>,
    ) -> Result<ImageId, StoreError> {
        let id = ImageId::new(*config.digest());
        let value = config.value();
        let labels = serde_json::to_string(&value.config.labels).expect("a map of strings always serialises");
        self.blobs.put_with(BlobKind::Config, config.bytes(), |tx| {
            let key = Bytes32::from(&id);
            let added = now();
            let inserted = tx
                .prepare_cached("INSERT OR IGNORE INTO images VALUES(?1, ?2, ?3, ?4, NULL, ?4, ?5, NULL)")?
                .execute(params![key, parent.map(Bytes32::from), value.created.map(Time), added, labels])?;
            if inserted > 0 {
                record_layers(tx, "image_layers", &key, &value.rootfs.diff_ids)?;
            } else if let Some(parent) = parent {
                tx.prepare_cached(
                    "UPDATE images SET parent = ?2 WHERE id = ?1 AND parent IS NULL AND id <> ?2",
                )?
                .execute(params![key, Bytes32::from(parent)])?;
            }
            note(tx, &id)?;
            for (name, manifest) in names {
                tags::point(tx, name, &id, manifest)?;
            }
            Ok(id)
        })
    }

    /// The config, with its original bytes.
    pub fn config(&self, id: &ImageId) -> Result<Raw<ImageConfig>, StoreError> {
        let bytes = match self.blobs.get(id.digest()) {
            Err(StoreError::MissingBlob(_)) => return Err(StoreError::NoSuchImage(id.to_string())),
            other => other?,
        };
        Raw::parse(bytes).map_err(|error| StoreError::json(format!("config of image {id}"), error))
    }

    /// True when the image is here.
    pub fn contains(&self, id: &ImageId) -> Result<bool, StoreError> {
        self.core.db.read(|tx| exists(tx, id))
    }
}

/// Notes that an image was used, for "unused for" filters.
pub(crate) fn touch(tx: &Transaction, id: &ImageId) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE images SET last_used = ?2 WHERE id = ?1")?
        .execute(params![Bytes32::from(id), now()])?;
    Ok(())
}

pub(crate) fn exists(tx: &Transaction, id: &ImageId) -> Result<bool, StoreError> {
    Ok(tx.prepare_cached("SELECT 1 FROM images WHERE id = ?1")?.exists([Bytes32::from(id)])?)
}

/// Records the stack of an image or container; a layer that is not here is an error that names it.
pub(crate) fn record_layers(
    tx: &Transaction,
    table: &str,
    owner: &dyn rusqlite::ToSql,
    layers: &[DiffId],
) -> Result<(), StoreError> {
    let mut present = tx.prepare_cached("SELECT 1 FROM layers WHERE diff_id = ?1")?;
    let mut insert = tx.prepare_cached(&format!("INSERT INTO {table} VALUES(?1, ?2, ?3)"))?;
    for (position, diff_id) in layers.iter().enumerate() {
        if !present.exists([Bytes32::from(diff_id)])? {
            return Err(StoreError::MissingLayer(*diff_id));
        }
        insert.execute(params![owner, position, Bytes32::from(diff_id)])?;
    }
    Ok(())
}
