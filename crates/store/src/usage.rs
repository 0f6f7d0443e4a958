//! Where the bytes are: logical sizes as Docker counts them, and what `du` finds.
use crate::{CacheUsage, Store, StoreError};
use fs_err as fs;
use rusqlite::Transaction;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use strata_oci::ImageId;

/// Logical sizes (`spec/engine.md`, section 4, "Sizes").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Every image.
    pub images: Vec<ImageUsage>,
    /// Bytes of all layers that images have, each layer once.
    pub layers_size: u64,
    /// Bytes of those layers that no container uses: what removing every unused image frees.
    pub reclaimable_layers: u64,
    /// Every container.
    pub containers: Vec<ContainerUsage>,
    /// Every volume.
    pub volumes: Vec<VolumeUsage>,
    /// Every build cache record.
    pub cache: Vec<CacheUsage>,
    /// Bytes of layers that only the build cache keeps, each layer once.
    pub cache_only_size: u64,
}

/// An image's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image.
    pub id: ImageId,
    /// Sum of its layers.
    pub size: u64,
    /// Bytes of layers that other images have too.
    pub shared: u64,
    /// The rest.
    pub unique: u64,
    /// Containers made from it.
    pub containers: u64,
}

/// A container's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container.
    pub id: String,
    /// Bytes of regular files in its writable layer.
    pub size: u64,
    /// The same with its image's layers.
    pub virtual_size: u64,
}

/// A volume's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUsage {
    /// The volume.
    pub name: String,
    /// Bytes of regular files in it.
    pub size: u64,
    /// Containers that name it.
    pub links: u64,
}

/// What is on the disk below one directory: each inode once, directories included, as `du` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhysicalUsage {
    /// Sum of lengths (`du -sb`).
    pub apparent: u64,
    /// Sum of allocated blocks in bytes (`du -s`).
    pub allocated: u64,
    /// Sum of the lengths of regular files alone.
    pub files: u64,
}

impl std::ops::Add for PhysicalUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            apparent: self.apparent + other.apparent,
            allocated: self.allocated + other.allocated,
            files: self.files + other.files,
        }
    }
}

impl Store {
    /// Logical sizes of everything. Layers come from records; writable layers and volumes are walked.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let images = self.images().list()?;
        let containers = self.containers().list()?.into_iter().map(|container| {
            let size = walk(&container.upper())?.files;
            let layers = self.core.db.read(|tx| stack_size(tx, &container.id))?;
            Ok(ContainerUsage { id: container.id, size, virtual_size: size + layers })
        });
        let volumes = self.volumes().list()?.into_iter().map(|volume| {
            let size = walk(&volume.mountpoint)?.files;
            Ok(VolumeUsage { name: volume.name, size, links: volume.containers.len() as u64 })
        });
        let (layers_size, reclaimable_layers, cache_only_size) = self.core.db.read(layer_sums)?;
        Ok(Usage {
            images: images
                .into_iter()
                .map(|image| ImageUsage {
                    id: image.id,
                    size: image.size,
                    shared: image.shared_size,
                    unique: image.size - image.shared_size,
                    containers: image.containers,
                })
                .collect(),
            layers_size,
            reclaimable_layers,
            containers: containers.collect::<Result<_, StoreError>>()?,
            volumes: volumes.collect::<Result<_, StoreError>>()?,
            cache: self.cache().list()?,
            cache_only_size,
        })
    }

    /// Everything below the store's directory, by walking it. Mounted layers are not entered.
    pub fn physical_usage(&self) -> Result<PhysicalUsage, StoreError> {
        walk(&self.core.root.root)
    }

    /// Bytes of tars, indexes and blobs by their records: equal to [`PhysicalUsage::files`] of their directories.
    pub fn recorded_usage(&self) -> Result<u64, StoreError> {
        self.core.db.read(|tx| {
            let query = "SELECT (SELECT coalesce(sum(tar_length), 0) FROM layers)
                + (SELECT coalesce(sum(length), 0) FROM layer_indexes) + (SELECT coalesce(sum(length), 0) FROM blobs)";
            Ok(tx.prepare_cached(query)?.query_row([], |row| row.get(0))?)
        })
    }

    /// Bytes of regular files in a container's writable layer, by ID (`ps -s`).
    pub fn container_size(&self, id: &str) -> Result<u64, StoreError> {
        Ok(walk(&self.containers().lookup(id)?.upper())?.files)
    }
}

fn stack_size(tx: &Transaction, container: &str) -> Result<u64, StoreError> {
    let query = "SELECT coalesce(sum(content_size), 0) FROM container_layers JOIN layers USING(diff_id) WHERE container = ?1";
    Ok(tx.prepare_cached(query)?.query_row([container], |row| row.get(0))?)
}

fn layer_sums(tx: &Transaction) -> Result<(u64, u64, u64), StoreError> {
    let sum = |condition: &str| -> Result<u64, StoreError> {
        let query = format!("SELECT coalesce(sum(content_size), 0) FROM layers l WHERE {condition}");
        Ok(tx.prepare_cached(&query)?.query_row([], |row| row.get(0))?)
    };
    let of_images = "EXISTS (SELECT 1 FROM image_layers k WHERE k.diff_id = l.diff_id)";
    let of_containers = "EXISTS (SELECT 1 FROM container_layers k WHERE k.diff_id = l.diff_id)";
    let of_cache = "EXISTS (SELECT 1 FROM cache_layers k WHERE k.diff_id = l.diff_id)";
    Ok((
        sum(of_images)?,
        sum(&format!("{of_images} AND NOT {of_containers}"))?,
        sum(&format!("{of_cache} AND NOT {of_images} AND NOT {of_containers}"))?,
    ))
}

/// Counts a tree as `du -x` does. What vanishes meanwhile counts as nothing.
pub(crate) fn walk(root: &Path) -> Result<PhysicalUsage, StoreError> {
    let mut usage = PhysicalUsage::default();
    let mut linked = HashSet::new();
    let device = match fs::symlink_metadata(root) {
        Ok(metadata) => metadata.dev(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(usage),
        Err(error) => return Err(error.into()),
    };
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        if metadata.dev() != device
            || (metadata.nlink() > 1 && !metadata.is_dir() && !linked.insert(metadata.ino()))
        {
            continue;
        }
        usage.apparent += metadata.len();
        usage.allocated += metadata.blocks() * 512;
        if metadata.is_file() {
            usage.files += metadata.len();
        } else if metadata.is_dir() {
            for entry in fs::read_dir(&path).into_iter().flatten() {
                pending.push(entry?.path());
            }
        }
    }
    Ok(usage)
}
