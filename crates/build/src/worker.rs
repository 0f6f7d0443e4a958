//! What a build needs done, and the nouns in which it asks for it.
use crate::{CachedLayer, ExecOp, FileEntry, FileOp, Selection, Stream};
use std::error::Error;
use strata_oci::{DiffId, Digest, ImageConfig, ImageId, Platform, Raw, Reference};

/// A layer that exists, or is about to.
///
/// A handle is a name, cheap to clone. RUN's layer is a directory when its step ends and is packed into a tar
/// behind the next steps' backs; until then it has no DiffId. Only the image config and the cache records wait for
/// that, with [`Layer::committed`].
pub trait Layer: Clone + Send + Sync {
    /// Waits until the layer is in the store, durable and named.
    ///
    /// May be called from several threads and more than once; a failure is given every time.
    fn committed(&self) -> Result<CommittedLayer, WorkerError>;

    /// Its name, if that is known without waiting for the layer or fetching it.
    fn name(&self) -> Option<DiffId>;
}

/// A layer in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedLayer {
    /// Its name.
    pub diff_id: DiffId,
    /// Bytes of regular files (design decision 6).
    pub size: u64,
}

/// An image that a stage stands on or copies from.
#[derive(Clone, Debug)]
pub struct Base<L> {
    /// Which image the reference meant.
    pub image_id: ImageId,
    /// Its config.
    pub config: Raw<ImageConfig>,
    /// Its layers, bottom first. Handles only: nothing is fetched for them until a step needs it.
    pub layers: Vec<L>,
}

/// An image whose layers may serve as results of steps (`--cache-from`), whoever built it.
#[derive(Clone, Debug)]
pub struct CacheImage<L> {
    /// As messages call it.
    pub name: String,
    /// The image.
    pub image: Base<L>,
}

/// Where the files of a COPY, an ADD or a bind mount come from.
#[derive(Debug)]
pub enum Origin<'a, L> {
    /// The context of the build, `.dockerignore` applied.
    Context,
    /// A context given with `--build-context`, by that name.
    Named(&'a str),
    /// A stage's result or an image: a stack of layers, bottom first.
    Layers(&'a [L]),
}

impl<L> Clone for Origin<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Origin<'_, L> {}

/// How much of a selection is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The digest alone: every build asks for it.
    Digest,
    /// The digest and the list of files: for the record that explains a later miss.
    Files,
}

/// Listings longer than this are not kept with a record: the reason of a miss is then told without them.
pub const MOST_LISTED: usize = 100_000;

/// What a [`Selection`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Content digest of everything selected, by `spec/build.md` 4.1: names below the source root, types, modes,
    /// owners, sizes, contents, link targets, device numbers, xattrs; never times or inodes.
    pub digest: Digest,
    /// The files, sorted by path; empty unless [`Detail::Files`] was asked for, or if there are more than [`MOST_LISTED`].
    pub files: Vec<FileEntry>,
}

/// Everything real that a build needs. The engine implements it on the store and the runtime; tests on maps.
///
/// # Life of a step
/// `COPY app /srv` of the second build after an edit: the solver calls [`select`](Worker::select) with
/// [`Detail::Digest`] to compute the step's key, does not find the key in the [`CacheIndex`](crate::CacheIndex), and
/// calls [`copy`](Worker::copy) with the handles of the layers below. It gets a handle back and goes on at once.
/// When [`Layer::committed`] answers, the step is recorded. On the third build the key is found, and
/// [`open`](Worker::open) turns the recorded DiffIds into handles.
///
/// All methods are called from several threads at once. A worker that was told to stop answers with
/// [`WorkerError::Cancelled`] as soon as it can.
pub trait Worker: Sync {
    /// Handle of a layer.
    type Layer: Layer;

    /// Finds an image by reference: manifest and config only.
    fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Base<Self::Layer>, WorkerError>;

    /// Handles of recorded layers, bottom first; `None` if one of them has left the store, or cannot be had.
    fn open(&self, layers: &[CachedLayer]) -> Result<Option<Vec<Self::Layer>>, WorkerError>;

    /// Digest of the files that a copy would take. A literal path that does not exist is
    /// [`WorkerError::NotFound`]; a wildcard that matches nothing is an empty selection.
    ///
    /// A step that took files from a context is asked about again when it is done, and must look at the files anew
    /// (`stat` is enough): so files that changed while they were read are found, and the step is not recorded.
    fn select(
        &self,
        origin: Origin<'_, Self::Layer>,
        selection: &Selection,
        detail: Detail,
    ) -> Result<Selected, WorkerError>;

    /// Digests of the files of a selection as one release of BuildKit or another computes them ([`crate::buildkit`]); none
    /// if they cannot be told.
    fn content_digests(
        &self,
        _origin: Origin<'_, Self::Layer>,
        _selection: &Selection,
    ) -> Result<Vec<Digest>, WorkerError> {
        Ok(Vec::new())
    }

    /// Makes a layer on `parents` out of files (COPY, ADD, WORKDIR). For a step with `link` the parents are empty.
    fn copy(
        &self,
        parents: &[Self::Layer],
        origin: Origin<'_, Self::Layer>,
        op: &FileOp,
    ) -> Result<Self::Layer, WorkerError>;

    /// Whether two layers on the same parents show the same files: everything that [`Selected::digest`] counts.
    fn same_files(
        &self,
        parents: &[Self::Layer],
        ours: &Self::Layer,
        theirs: &Self::Layer,
    ) -> Result<bool, WorkerError>;

    /// Runs a process on `parents` and gives its layer, possibly not packed yet. Bind mounts and seeds of cache
    /// mounts name their files by index into `inputs`. Output goes to `output` as it appears.
    fn exec(
        &self,
        parents: &[Self::Layer],
        inputs: &[Origin<'_, Self::Layer>],
        op: &ExecOp,
        output: &(dyn Fn(Stream, &[u8]) + Sync),
    ) -> Result<Self::Layer, ExecError>;

    /// Whether an image of [`Builder::cache_images`](crate::Builder::cache_images) may still lend this layer of its own.
    fn lends(&self, _layer: &Self::Layer) -> bool {
        true
    }

    /// The layers of the image are known, bottom first: gets them to where they are wanted, or makes sure that they can be
    /// got there. [`WorkerError::Lost`] makes those anew that cannot.
    fn finish(&self, _layers: &[Self::Layer]) -> Result<(), WorkerError> {
        Ok(())
    }
}

/// Why something real could not be done.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A path that is not in its context, stage or image; absolute within it.
    #[error("{path:?}: not found")]
    NotFound {
        /// The path as BuildKit shows it: `/src`.
        path: String,
    },
    /// A URL or repository of an ADD could not be fetched. The source names it without credentials.
    #[error("{source}")]
    Remote {
        /// As the instruction has it, expanded.
        url: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Something that the cache offered cannot be had. The worker does not offer it any more ([`Worker::open`],
    /// [`Worker::lends`]): the build can go on without it.
    #[error("{0}")]
    Lost(#[source] Box<dyn Error + Send + Sync>),
    /// The build was told to stop.
    #[error("canceled")]
    Cancelled,
    /// Anything else: the source is the engine's own error.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

/// Why a RUN failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The process ended with this code (128 + n for signal n).
    #[error("exit code: {0}")]
    Exit(i32),
    /// The process was not started: unknown user, no such program.
    #[error("{0}")]
    Start(String),
    /// A secret or an SSH agent that the instruction requires was not given: `secret tok: not found`.
    #[error("{0}")]
    Required(String),
    /// Something below failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}
