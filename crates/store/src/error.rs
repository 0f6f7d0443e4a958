//! Errors.
use crate::images::conflict::RemoveConflict;
use std::path::{Path, PathBuf};
use strata_layer::LayerError;
use strata_oci::{DiffId, Digest, ReferenceError};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the store cannot do what it is asked. Every variant names the thing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing failed; the text names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The database refused.
    #[error("database {}: {source}", .path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: Source,
    },
    /// The database file is not readable as one.
    #[error(
        "the database {} is damaged ({source}); restore it from a backup, or move {} away and pull or build the images again",
        .path.display(), .path.parent().unwrap_or(Path::new("/")).display()
    )]
    DatabaseDamaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: Source,
    },
    /// `meta.json` is there but the database is not.
    #[error(
        "the database {} is missing although the store has data; restore it, or move {} away to start with an empty store",
        .path.display(), .path.parent().unwrap_or(Path::new("/")).display()
    )]
    DatabaseMissing {
        /// The database file.
        path: PathBuf,
    },
    /// `meta.json` cannot be understood.
    #[error("{} is not a store description: {what}", .path.display())]
    Meta {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The store was written by a newer strata.
    #[error("the store {} has {what}, which this strata does not know; use a newer strata", .root.display())]
    TooNew {
        /// The store.
        root: PathBuf,
        /// The version or feature.
        what: String,
    },
    /// A layer could not be made or read.
    #[error("layer {diff_id}: {source}")]
    Layer {
        /// The layer.
        diff_id: DiffId,
        /// Why.
        source: LayerError,
    },
    /// A layer is not here.
    #[error("layer {0} is not in the store")]
    MissingLayer(DiffId),
    /// A layer's file is not what its record says.
    #[error("layer {diff_id} is damaged: {what}; remove the images that use it and pull or build them again")]
    DamagedLayer {
        /// The layer.
        diff_id: DiffId,
        /// File and difference.
        what: String,
    },
    /// The tar written into an ingest is not the one described.
    #[error("{}: {actual} bytes were written, but the layer has {expected}", .path.display())]
    IngestLength {
        /// The tar.
        path: PathBuf,
        /// Length by its description.
        expected: u64,
        /// Length on disk.
        actual: u64,
    },
    /// Nobody has found out yet how layers are mounted here.
    #[error("it is not known yet how layers are mounted on {}", .root.display())]
    LayerModeUnknown {
        /// The store.
        root: PathBuf,
    },
    /// Not a layer mode.
    #[error("unknown layer mode {0:?}: expected erofs, erofs-loop or tree")]
    LayerModeName(String),
    /// A blob is not here.
    #[error("blob {0} is not in the store")]
    MissingBlob(Digest),
    /// Bytes that came from outside have another digest.
    #[error("digest mismatch: expected {expected}, got {actual}")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// More bytes came than were declared.
    #[error("blob {digest} is longer than the declared {limit} bytes")]
    TooLong {
        /// What was asked for (or a zero digest when unknown).
        digest: String,
        /// Declared length.
        limit: u64,
    },
    /// A stored blob's bytes do not have its name.
    #[error("blob {} is damaged: {what}", .digest)]
    DamagedBlob {
        /// Its name.
        digest: Digest,
        /// What is wrong.
        what: String,
    },
    /// A stored JSON document cannot be read.
    #[error("{what}: {source}")]
    Json {
        /// Which document.
        what: String,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// No image by that name.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// An ID prefix of several images.
    #[error("ambiguous reference: {0} is the beginning of several image IDs; write more of it")]
    AmbiguousImage(String),
    /// Neither an ID nor a reference.
    #[error("{text:?}: {source}")]
    Reference {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A reference with a digest cannot be a tag.
    #[error("refusing to create a tag with a digest reference: {0}")]
    TagWithDigest(String),
    /// An image cannot be removed.
    #[error(transparent)]
    RemoveConflict(#[from] RemoveConflict),
    /// No container by that name.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// An ID prefix of several containers.
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousContainer(String),
    /// A name that is in use.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{container}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    ContainerNameInUse {
        /// The name.
        name: String,
        /// Who has it.
        container: String,
    },
    /// A name with other characters than names may have.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    ContainerName(String),
    /// The container runs.
    #[error(
        "cannot remove container \"{0}\": container is running: stop the container before removing or force remove"
    )]
    ContainerRunning(String),
    /// No volume by that name.
    #[error("get {0}: no such volume")]
    NoSuchVolume(String),
    /// A volume that containers name.
    #[error("remove {name}: volume is in use - [{}]", .containers.join(", "))]
    VolumeInUse {
        /// The volume.
        name: String,
        /// Full IDs.
        containers: Vec<String>,
    },
    /// A name with other characters than names may have.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    VolumeName(String),
}

impl StoreError {
    pub(crate) fn json(what: impl Into<String>, source: serde_json::Error) -> Self {
        Self::Json { what: what.into(), source }
    }

    pub(crate) fn layer(diff_id: &DiffId, source: impl Into<LayerError>) -> Self {
        Self::Layer { diff_id: *diff_id, source: source.into() }
    }

    /// Errors born inside a transaction do not know the database's path; [`crate::db::Db`] adds it here.
    pub(crate) fn in_database(self, database: &Path) -> Self {
        match self {
            Self::Database { path, source } if path.as_os_str().is_empty() => {
                Self::Database { path: database.to_owned(), source }
            }
            Self::DatabaseDamaged { path, source } if path.as_os_str().is_empty() => {
                Self::DatabaseDamaged { path: database.to_owned(), source }
            }
            other => other,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let path = PathBuf::new();
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::DatabaseDamaged { path, source: source.into() },
            _ => Self::Database { path, source: source.into() },
        }
    }
}

/// Adds the path that a bare system call error lacks.
pub(crate) fn at(what: &str, path: &Path, error: rustix::io::Errno) -> std::io::Error {
    std::io::Error::new(
        std::io::Error::from(error).kind(),
        format!("{what} {}: {}", path.display(), std::io::Error::from(error)),
    )
}
