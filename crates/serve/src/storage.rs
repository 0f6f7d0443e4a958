//! The registry's directory.
//!
//! ```text
//! registry.json                                   what this directory is, and its format
//! lock                                            shared by whoever publishes, exclusive for the collector
//! serving.lock                                    held by the one server
//! blobs/sha256/<2 digits>/<digest>                the bytes of blobs and manifests, once for all repositories
//! staging/                                        files that are not complete yet
//! repositories/<name>/_blobs/<digest>             empty: the repository has this blob
//! repositories/<name>/_manifests/<digest>         the repository has this manifest: its media type
//! repositories/<name>/_tags/<tag>                 the digest that the tag stands for
//! repositories/<name>/_referrers/<subject>/<digest>   the descriptor that the referrers API shows
//! repositories/<name>/_uploads/<id>               a blob that a client is sending
//! ```
//!
//! No component of a repository's name begins with `_`, so that names and records never meet. Everything is written
//! aside, synced and renamed into place, content before the record that names it: a crash leaves content without a
//! record, which the collector finds, and never a record without content.

mod blobs;
mod collect;
mod evict;
mod manifests;
mod outline;
mod referrers;
mod repositories;

pub use collect::{CollectError, CollectOptions, Collected, collect};
pub(crate) use manifests::StoredManifest;
pub(crate) use outline::Outline;

use crate::name::Repository;
use fs_err::File;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use strata_oci::Digest;

const MARKER: &str = "registry.json";
const FORMAT: u32 = 1;

/// What `registry.json` says.
#[derive(Serialize, Deserialize)]
struct Marker {
    kind: String,
    format: u32,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory holds something else.
    #[error("{} is not empty and not a registry: give a directory of its own", .0.display())]
    Foreign(PathBuf),
    /// Another program's idea of the directory.
    #[error("{} was written by a newer strata (format {found}, this one knows {FORMAT})", path.display())]
    Newer {
        /// The registry's directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is no registry.
    #[error("{} is not a registry", .0.display())]
    Missing(PathBuf),
    /// Another server is at work.
    #[error("{} is being served by another process", .0.display())]
    Served(PathBuf),
    /// A record that this program did not write.
    #[error("damaged record {}: {what}", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StorageError {
    /// What a client is told: nothing about paths.
    pub(crate) fn in_public(&self) -> &'static str {
        if self.is_full() {
            "no space is left on the registry's disk"
        } else {
            "the registry cannot write or read its directory"
        }
    }

    /// Whether room on the disk is what is missing.
    pub(crate) fn is_full(&self) -> bool {
        let Self::Io(error) = self else { return false };
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// The directory of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    root: PathBuf,
}

impl Storage {
    /// Opens the directory, makes it when it is missing or empty.
    pub(crate) fn open(root: &Path) -> Result<Self, StorageError> {
        fs_err::create_dir_all(root)?;
        let root = fs_err::canonicalize(root)?;
        let storage = Self { root };
        if !storage.root.join(MARKER).exists() {
            if fs_err::read_dir(&storage.root)?.any(|entry| !entry.is_ok_and(|entry| is_ours(&entry))) {
                return Err(StorageError::Foreign(storage.root));
            }
            directory(&storage.staging())?;
            let marker = Marker { kind: "strata registry".to_owned(), format: FORMAT };
            let text = serde_json::to_vec(&marker).expect("a marker is serialisable");
            storage.write(&storage.root.join(MARKER), &text)?;
        }
        storage.check()?;
        for part in ["staging", "blobs/sha256", "repositories"] {
            directory(&storage.root.join(part))?;
        }
        Ok(storage)
    }

    /// Opens the directory of a registry that exists.
    pub(crate) fn existing(root: &Path) -> Result<Self, StorageError> {
        let missing = |_| StorageError::Missing(root.to_owned());
        let storage = Self { root: fs_err::canonicalize(root).map_err(missing)? };
        storage.check()?;
        Ok(storage)
    }

    fn check(&self) -> Result<(), StorageError> {
        let path = self.root.join(MARKER);
        let text = match fs_err::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StorageError::Missing(self.root.clone()));
            }
            other => other?,
        };
        let marker: Marker = serde_json::from_slice(&text)
            .map_err(|error| StorageError::Damaged { path, what: error.to_string() })?;
        if marker.format > FORMAT {
            return Err(StorageError::Newer { path: self.root.clone(), found: marker.format });
        }
        Ok(())
    }

    /// Held as long as the server runs: uploads are known to one process only.
    pub(crate) fn serve(&self) -> Result<File, StorageError> {
        let file = self.lock_file("serving.lock")?;
        match file.file().try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => Err(StorageError::Served(self.root.clone())),
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Held while content and records are published: the collector waits meanwhile, and they wait for it.
    pub(crate) fn publishing(&self) -> io::Result<File> {
        let file = self.lock_file("lock")?;
        file.file().lock_shared()?;
        Ok(file)
    }

    fn lock_file(&self, name: &str) -> io::Result<File> {
        fs_err::OpenOptions::new().create(true).write(true).truncate(false).open(self.root.join(name))
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    fn content(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs/sha256").join(&hex[..2]).join(hex)
    }

    fn repository(&self, name: &Repository) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    fn blob_link(&self, name: &Repository, digest: &Digest) -> PathBuf {
        self.repository(name).join("_blobs").join(digest.hex())
    }

    fn manifest_record(&self, name: &Repository, digest: &Digest) -> PathBuf {
        self.repository(name).join("_manifests").join(digest.hex())
    }

    /// Where a repository's uploads are kept.
    pub(crate) fn uploads(&self, name: &Repository) -> PathBuf {
        self.repository(name).join("_uploads")
    }

    /// Writes a small file so that it is there completely or not at all, and stays.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let staged = tempfile::Builder::new().prefix("record-").tempfile_in(self.staging())?;
        fs_err::write(staged.path(), content)?;
        self.publish(staged.path(), path)
    }

    /// Syncs a finished file and gives it its place.
    fn publish(&self, staged: &Path, path: &Path) -> io::Result<()> {
        let parent = path.parent().expect("places are below the root");
        directory(parent)?;
        fs_err::File::open(staged)?.sync_all()?;
        fs_err::rename(staged, path)?;
        sync(parent)
    }
}

/// What a server leaves that was killed before it wrote its marker.
fn is_ours(entry: &fs_err::DirEntry) -> bool {
    matches!(entry.file_name().to_str(), Some("staging" | "lock" | "serving.lock" | "lost+found"))
}

/// Makes a directory with all above it that are missing, so that they stay.
pub(crate) fn directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().expect("the root exists");
    directory(parent)?;
    match fs_err::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.and_then(|()| sync(parent)),
    }
}

/// Makes the names in a directory last.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file; `false` when there is none.
fn remove(path: &Path) -> io::Result<bool> {
    match fs_err::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a file; `None` when there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs_err::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a directory, sorted; none when there is no directory.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs_err::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// The digests that the names of a directory's files are, sorted.
fn digests(path: &Path) -> io::Result<Vec<Digest>> {
    Ok(names(path)?.iter().filter_map(|name| format!("sha256:{name}").parse().ok()).collect())
}
