//! Removing what nothing refers to any more.
//!
//! The collector holds the lock that publishers share, so what it sees does not change meanwhile. What is younger than
//! the grace stays: a client may have sent it for a manifest that is still to come.

use super::{Outline, Storage, StorageError, digests, names, read, remove};
use crate::name::{Repository, Tag};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};
use strata_oci::Digest;

/// An upload that was not continued for so long never will be.
pub(crate) const UPLOAD_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why nothing, or not all, was collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The directory or a record in it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<io::Error> for CollectError {
    fn from(error: io::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// What to remove.
#[derive(Clone, Debug)]
pub struct CollectOptions {
    /// Manifests that no tag leads to, too.
    pub untagged: bool,
    /// What is younger stays.
    pub grace: Duration,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests, as `repository@digest`.
    pub manifests: Vec<String>,
    /// Content that no repository refers to any more.
    pub blobs: Vec<Digest>,
    /// Uploads that were given up.
    pub uploads: usize,
    /// Bytes on the disk, of content and uploads.
    pub bytes: u64,
}

/// Removes what nothing refers to from the registry in `root`. A server may run meanwhile: pushes wait.
pub fn collect(root: &Path, options: &CollectOptions) -> Result<Collected, CollectError> {
    let storage = Storage::existing(root)?;
    let lock = storage.lock_file("lock")?;
    lock.file().lock()?;
    let mut collector = Collector {
        storage: &storage,
        options,
        now: SystemTime::now(),
        needed: BTreeSet::new(),
        collected: Collected::default(),
    };
    for repository in storage.repositories()? {
        collector.repository(&repository)?;
    }
    collector.content()?;
    collector.staging()?;
    collector.empty_directories()?;
    Ok(collector.collected)
}

struct Collector<'a> {
    storage: &'a Storage,
    options: &'a CollectOptions,
    now: SystemTime,
    /// Content that a repository refers to.
    needed: BTreeSet<Digest>,
    collected: Collected,
}

impl Collector<'_> {
    fn repository(&mut self, name: &Repository) -> Result<(), CollectError> {
        let kept = self.kept_manifests(name)?;
        let mut blobs = BTreeSet::new();
        for digest in self.storage.manifests(name)? {
            if kept.contains(&digest) {
                self.needed.insert(digest);
                blobs.extend(self.outline(&digest)?.map(|outline| outline.blobs).unwrap_or_default());
                continue;
            }
            self.collected.manifests.push(format!("{name}@{digest}"));
            if !self.options.dry_run {
                self.storage.delete_manifest(name, &digest)?;
            }
        }
        let links = self.storage.repository(name).join("_blobs");
        for digest in digests(&links)? {
            let link = links.join(digest.hex());
            if blobs.contains(&digest) || self.is_young(&link, self.options.grace) {
                self.needed.insert(digest);
            } else if !self.options.dry_run {
                remove(&link)?;
            }
        }
        self.uploads(name)
    }

    /// All manifests, or those that tags lead to: directly, through an index, or as referrers of such.
    fn kept_manifests(&self, name: &Repository) -> Result<BTreeSet<Digest>, CollectError> {
        let all = self.storage.manifests(name)?;
        if !self.options.untagged {
            return Ok(all.into_iter().collect());
        }
        let mut waiting = Vec::new();
        for tag in self.storage.tags(name)? {
            let Some(tag) = Tag::parse(&tag) else { continue };
            waiting.extend(self.storage.tag(name, &tag)?);
        }
        let young =
            |digest: &&Digest| self.is_young(&self.storage.manifest_record(name, digest), self.options.grace);
        waiting.extend(all.iter().filter(young));
        let mut kept = BTreeSet::new();
        while let Some(digest) = waiting.pop() {
            if !kept.insert(digest) {
                continue;
            }
            waiting.extend(self.outline(&digest)?.map(|outline| outline.manifests).unwrap_or_default());
            waiting.extend(digests(&self.storage.repository(name).join("_referrers").join(digest.hex()))?);
        }
        Ok(kept)
    }

    fn outline(&self, digest: &Digest) -> Result<Option<Outline>, CollectError> {
        let Some(bytes) = read(&self.storage.content(digest))? else { return Ok(None) };
        // A manifest that cannot be read may need anything: better stop than remove too much.
        Outline::parse(&bytes, None)
            .map(Some)
            .map_err(|what| StorageError::Damaged { path: self.storage.content(digest), what }.into())
    }

    fn uploads(&mut self, name: &Repository) -> Result<(), CollectError> {
        let directory = self.storage.uploads(name);
        for id in names(&directory)? {
            let path = directory.join(id);
            if !self.is_young(&path, UPLOAD_LIFE) {
                self.collected.uploads += 1;
                self.drop_file(&path)?;
            }
        }
        Ok(())
    }

    fn content(&mut self) -> Result<(), CollectError> {
        let all = self.storage.root.join("blobs/sha256");
        for shelf in names(&all)? {
            for digest in digests(&all.join(shelf))? {
                let path = self.storage.content(&digest);
                if !self.needed.contains(&digest) && !self.is_young(&path, self.options.grace) {
                    self.drop_file(&path)?;
                    self.collected.blobs.push(digest);
                }
            }
        }
        Ok(())
    }

    /// What a killed server left half written.
    fn staging(&mut self) -> Result<(), CollectError> {
        for name in names(&self.storage.staging())? {
            let path = self.storage.staging().join(name);
            if !self.is_young(&path, UPLOAD_LIFE) {
                self.drop_file(&path)?;
            }
        }
        Ok(())
    }

    fn drop_file(&mut self, path: &Path) -> Result<(), CollectError> {
        self.collected.bytes += fs_err::metadata(path)?.len();
        if !self.options.dry_run {
            remove(path)?;
        }
        Ok(())
    }

    fn empty_directories(&self) -> Result<(), CollectError> {
        if self.options.dry_run {
            return Ok(());
        }
        prune(&self.storage.root.join("repositories"), false)?;
        Ok(())
    }

    /// Whether a file was made or asked for less than `age` ago. What cannot be looked at is left alone.
    fn is_young(&self, path: &Path, age: Duration) -> bool {
        let modified = fs_err::metadata(path).and_then(|metadata| metadata.modified());
        modified.map_or(true, |modified| self.now.duration_since(modified).map_or(true, |since| since < age))
    }
}

/// Removes empty directories below `path`, and itself if `own`.
fn prune(path: &Path, own: bool) -> io::Result<()> {
    for entry in fs_err::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            prune(&entry.path(), true)?;
        }
    }
    if own {
        match fs_err::remove_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
