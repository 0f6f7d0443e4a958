//! Checking everything against everything.
use crate::db::Bytes32;
use crate::orphans::{known_blobs, known_layer_files, known_mounts, names};
use crate::{Store, StoreError};
use fs_err as fs;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use strata_oci::{DiffId, Digest, ImageId};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// Layers and blobs whose bytes were read.
    pub checked: usize,
    /// What is wrong; empty for a sound store.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// SQLite finds its file inconsistent.
    #[error("database: {0}")]
    Database(String),
    /// A layer's tar is missing, or its bytes do not have its name.
    #[error("layer {diff_id}: {what} (used by {})", list(.images))]
    Layer {
        /// The layer.
        diff_id: DiffId,
        /// File and difference.
        what: String,
        /// Images that have it.
        images: Vec<ImageId>,
    },
    /// An index is missing or changed; the next use makes it again.
    #[error("index {} is missing or damaged; the next use makes it again", .0.display())]
    Index(PathBuf),
    /// A blob is missing, or its bytes do not have its name.
    #[error("blob {digest}: {what}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        what: String,
    },
    /// A container's or volume's directory is gone.
    #[error("{} is missing", .0.display())]
    MissingDirectory(PathBuf),
    /// A file or directory that no record names.
    #[error("{} belongs to nothing", .0.display())]
    Unknown(PathBuf),
}

fn list(images: &[ImageId]) -> String {
    match images {
        [] => "no image".to_owned(),
        images => images.iter().map(ImageId::short).collect::<Vec<_>>().join(", "),
    }
}

impl Store {
    /// Hashes every layer and blob again, and compares the directories with the records. Changes nothing.
    pub fn fsck(&self) -> Result<FsckReport, StoreError> {
        let mut report = FsckReport::default();
        report.problems.extend(self.core.db.integrity()?.map(Problem::Database));
        self.check_layers(&mut report)?;
        self.check_indexes(&mut report)?;
        self.check_blobs(&mut report)?;
        self.check_directories(&mut report)?;
        self.find_unknown(&mut report)?;
        Ok(report)
    }

    fn check_layers(&self, report: &mut FsckReport) -> Result<(), StoreError> {
        for layer in self.layers().list()? {
            report.checked += 1;
            let what = match self.layers().verify(&layer.diff_id) {
                Ok(()) | Err(StoreError::MissingLayer(_)) => continue,
                Err(StoreError::DamagedLayer { what, .. }) => what,
                Err(error) => error.to_string(),
            };
            let images = self.core.db.read(|tx| {
                let mut statement =
                    tx.prepare_cached("SELECT DISTINCT image FROM image_layers WHERE diff_id = ?1")?;
                let key = [Bytes32::from(&layer.diff_id)];
                let rows = statement.query_map(key, |row| Ok(row.get::<_, Bytes32>(0)?.image_id()))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })?;
            report.problems.push(Problem::Layer { diff_id: layer.diff_id, what, images });
        }
        Ok(())
    }

    fn check_indexes(&self, report: &mut FsckReport) -> Result<(), StoreError> {
        let indexes: Vec<(Bytes32, String, Bytes32)> = self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT diff_id, variant, digest FROM layer_indexes")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        for (diff_id, variant, digest) in indexes {
            let path = self.core.root.index(&diff_id.diff_id(), &variant);
            let sound = fs::read(&path).is_ok_and(|bytes| Digest::of(&bytes) == digest.digest());
            report.problems.extend((!sound).then_some(Problem::Index(path)));
        }
        Ok(())
    }

    fn check_blobs(&self, report: &mut FsckReport) -> Result<(), StoreError> {
        for blob in self.blobs().list()? {
            report.checked += 1;
            let what = match self.blobs().verify(&blob.digest) {
                Ok(()) | Err(StoreError::MissingBlob(_)) => continue,
                Err(StoreError::DamagedBlob { what, .. }) => what,
                Err(error) => error.to_string(),
            };
            report.problems.push(Problem::Blob { digest: blob.digest, what });
        }
        Ok(())
    }

    fn check_directories(&self, report: &mut FsckReport) -> Result<(), StoreError> {
        let uppers = self.containers().list()?.into_iter().map(|container| container.upper());
        let volumes = self.volumes().list()?.into_iter().map(|volume| volume.mountpoint);
        let missing = uppers.chain(volumes).filter(|path| !path.is_dir());
        report.problems.extend(missing.map(Problem::MissingDirectory));
        Ok(())
    }

    fn find_unknown(&self, report: &mut FsckReport) -> Result<(), StoreError> {
        let root = &self.core.root;
        let areas: [(PathBuf, HashSet<String>); 5] = [
            (root.layers(), known_layer_files(&self.core.db)?),
            (root.blobs(), known_blobs(&self.core.db)?),
            (root.overlay(), known_mounts(&self.core.db)?),
            (root.containers(), names(&self.core.db, "SELECT id FROM containers", |row| row.get(0))?),
            (root.volumes(), names(&self.core.db, "SELECT name FROM volumes", |row| row.get(0))?),
        ];
        for (area, known) in areas {
            unknown_in(&area, &known, report)?;
        }
        let top = [
            "meta.json",
            "strata.db",
            "strata.db-wal",
            "strata.db-shm",
            "layers",
            "blobs",
            "overlay2",
            "contexts",
            "downloads",
            "containers",
            "volumes",
            "ingest",
            "trash",
            crate::reserve::NAME,
            // Cache mounts of builds: the engine's.
            "mounts",
        ];
        let mut known: HashSet<String> = top.map(str::to_owned).into();
        // A store of one's own keeps its locks and sockets below itself.
        let run = root.run.strip_prefix(&root.root).ok().and_then(|below| below.components().next());
        known.extend(run.map(|name| name.as_os_str().to_string_lossy().into_owned()));
        unknown_in(&root.root, &known, report)
    }
}

fn unknown_in(area: &Path, known: &HashSet<String>, report: &mut FsckReport) -> Result<(), StoreError> {
    for entry in fs::read_dir(area)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
            report.problems.push(Problem::Unknown(entry.path()));
        }
    }
    Ok(())
}
