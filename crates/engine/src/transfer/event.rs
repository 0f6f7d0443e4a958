//! What happens during a transfer, for whoever shows it.

use super::{Pulled, Pushed};

/// Is told what happens, from several threads.
pub type TransferEvents<'a> = dyn Fn(Progress<'_>) + Sync + 'a;

/// Something to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// An image of this name begins to come.
    PullingFrom {
        /// Tag, or the full name with a digest.
        name: &'a str,
        /// Path of the repository, as people write it.
        repository: &'a str,
    },
    /// All of it is here.
    Pulled(&'a Pulled),
    /// An image begins to go to this repository.
    PushingTo(&'a str),
    /// All of it is there.
    Pushed(&'a Pushed),
    /// Something new about a layer.
    Layer {
        /// 12 digits: of the blob for a pull, of the DiffId for a push.
        id: &'a str,
        /// What.
        status: Status<'a>,
    },
    /// Something that is no error.
    Warning(&'a str),
}

/// Where a layer is on its way. Bytes are compressed ones when downloading, uncompressed ones otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status<'a> {
    /// It is going to be fetched.
    PullingFsLayer,
    /// Another command is fetching it.
    Waiting,
    /// It comes.
    Downloading {
        /// Bytes that are here.
        done: u64,
        /// Bytes of the blob.
        total: u64,
    },
    /// All of it came.
    DownloadComplete,
    /// It is being unpacked; bytes of the compressed blob.
    Extracting {
        /// Bytes that are unpacked.
        done: u64,
        /// Bytes of the blob.
        total: u64,
    },
    /// It is in the store.
    PullComplete,
    /// It was in the store.
    AlreadyExists,
    /// It is going to be looked for.
    Preparing,
    /// It goes.
    Pushing {
        /// Bytes that went.
        done: u64,
        /// Bytes of the layer.
        total: u64,
    },
    /// The repository has it now.
    Pushed,
    /// The repository had it.
    LayerAlreadyExists,
    /// The registry had it in another repository.
    MountedFrom(&'a str),
    /// It is to be had elsewhere only, by its own terms.
    SkippedForeign,
}
