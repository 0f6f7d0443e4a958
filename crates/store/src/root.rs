//! Where everything lies (`design.md`, section 4).
use crate::StoreError;
use crate::error::at;
use fs_err as fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use strata_oci::{DiffId, Digest};

/// The store's two directories and the names inside them.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) root: PathBuf,
    pub(crate) run: PathBuf,
}

/// Subdirectories and their modes. 0711 where a container's remapped users must pass through.
const DIRECTORIES: [(&str, u32); 11] = [
    ("layers", 0o700),
    ("layers/sha256", 0o700),
    ("blobs", 0o700),
    ("blobs/sha256", 0o700),
    ("overlay2", 0o711),
    ("contexts", 0o700),
    ("containers", 0o711),
    ("volumes", 0o711),
    ("ingest", 0o700),
    ("trash", 0o700),
    ("overlay2/l", 0o711),
];

impl Root {
    pub(crate) fn create_directories(&self) -> Result<(), StoreError> {
        fs::create_dir_all(&self.root)?;
        set_mode(&self.root, 0o711)?;
        for (name, mode) in DIRECTORIES {
            create_directory(&self.root.join(name), mode)?;
        }
        Ok(())
    }

    pub(crate) fn create_run(&self) -> Result<(), StoreError> {
        if let Some(parent) = self.run.parent() {
            fs::create_dir_all(parent)?;
        }
        create_directory(&self.run, 0o711)
    }

    pub(crate) fn meta(&self) -> PathBuf {
        self.root.join("meta.json")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("strata.db")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers/sha256")
    }

    pub(crate) fn tar(&self, diff_id: &DiffId) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    /// The index of a layer; `variant` is empty, or the short ChainId below it.
    pub(crate) fn index(&self, diff_id: &DiffId, variant: &str) -> PathBuf {
        self.layers().join(index_name(diff_id, variant))
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn overlay(&self) -> PathBuf {
        self.root.join("overlay2")
    }

    pub(crate) fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }

    /// Blobs that are not here to their end yet.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.root.join("downloads")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(crate) fn contexts(&self) -> PathBuf {
        self.root.join("contexts")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }
}

/// `<hex>.index`, or `<hex>.<short chain>.index`.
pub(crate) fn index_name(diff_id: &DiffId, variant: &str) -> String {
    match variant {
        "" => format!("{}.index", diff_id.hex()),
        chain => format!("{}.{chain}.index", diff_id.hex()),
    }
}

/// Directory below `overlay2/` of a layer seen through one of its indexes.
pub(crate) fn mount_name(diff_id: &DiffId, variant: &str) -> String {
    match variant {
        "" => diff_id.hex(),
        chain => format!("{}-{chain}", diff_id.hex()),
    }
}

/// Makes a directory with exactly this mode, whatever the umask; an existing one is left as it is.
pub(crate) fn create_directory(path: &Path, mode: u32) -> Result<(), StoreError> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => match set_mode(path, mode) {
            // Just made, and already hidden by a layer that another process mounted on it: the mode no longer matters.
            Err(StoreError::Io(error)) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Ok(()),
            done => done,
        },
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            let text = format!("create directory {}: {error}", path.display());
            Err(std::io::Error::new(error.kind(), text).into())
        }
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}

/// A file that has to have `length` bytes; the inner error says what is wrong with it.
pub(crate) fn open_whole(path: &Path, length: u64) -> Result<Result<fs::File, String>, StoreError> {
    whole(path, length, fs::File::open(path).and_then(|file| Ok((file.metadata()?.len(), file))))
}

/// Whether a file has `length` bytes; the inner error says what is wrong with it.
pub(crate) fn is_whole(path: &Path, length: u64) -> Result<Result<(), String>, StoreError> {
    whole(path, length, fs::metadata(path).map(|metadata| (metadata.len(), ())))
}

fn whole<T>(
    path: &Path,
    length: u64,
    found: std::io::Result<(u64, T)>,
) -> Result<Result<T, String>, StoreError> {
    match found {
        Ok((found, file)) if found == length => Ok(Ok(file)),
        Ok((found, _)) => Ok(Err(format!("{} has {found} bytes, not {length}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Err(format!("{} is missing", path.display())))
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a rename inside `directory` survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let file = fs::File::open(directory)?;
    rustix::fs::fsync(&file).map_err(|error| at("sync", directory, error))?;
    Ok(())
}
