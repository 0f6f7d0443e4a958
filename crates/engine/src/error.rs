//! Errors of the engine. Each names the thing and keeps its cause; the command line adds prefixes and hints.
use strata_build::BuildErrorKind;
use strata_layer::LayerError;
use strata_oci::{DiffId, ReferenceError};
use strata_store::StoreError;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No image has this name or ID.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// `run` was told not to go and get it.
    #[error("Unable to find image '{name}' locally{}; pull, load, import or build it first", suggestion(.near))]
    ImageNotLocal {
        /// As it was looked for.
        name: String,
        /// Local names that look like it.
        near: Vec<String>,
    },
    /// An image is neither here nor to be had, but one here has a similar name.
    #[error("{source}{}", suggestion(.near))]
    NotPulled {
        /// Local names that look like it.
        near: Vec<String>,
        /// Why it cannot be had.
        source: Box<EngineError>,
    },
    /// No container has this name or ID.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// A name that is no reference.
    #[error("{context}{text:?} is not a valid repository/tag: {source}", context = .context)]
    Reference {
        /// What it was given for: `Error parsing reference: `.
        context: &'static str,
        /// As given.
        text: String,
        /// Docker's sentence.
        source: strata_oci::ReferenceError,
    },
    /// The store said no.
    #[error(transparent)]
    Store(StoreError),
    /// A layer could not be made or read.
    #[error("{what}: {source}")]
    Layer {
        /// Which layer, or what it was for.
        what: String,
        /// Why.
        source: LayerError,
    },
    /// An archive is not one, or is damaged.
    #[error("{0}")]
    Archive(String),
    /// A registry, or the way to it, did not do what it should.
    #[error(transparent)]
    Registry(Box<strata_registry::Error>),
    /// An image could not be pulled or pushed.
    #[error(transparent)]
    Transfer(#[from] crate::transfer::TransferError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A build failed.
    #[error(transparent)]
    Build(Box<strata_build::BuildError>),
    /// A layer of a shared cache did not come, or what came of it could not be recorded.
    #[error("build cache: {0}")]
    Cache(Box<strata_build::WorkerError>),
    /// A place that offered a layer does not give it.
    #[error("{source}")]
    Lost {
        /// The layer.
        layer: DiffId,
        /// Why.
        source: Box<EngineError>,
    },
    /// The place of a shared cache.
    #[error(transparent)]
    Shared(Box<strata_cache::PlaceError>),
    /// A cache could not be exported.
    #[error("failed to export the cache to {to}: {source}")]
    CacheExport {
        /// The place.
        to: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A RUN of a build failed; `state` is the ID of the state before it.
    #[error("{source}")]
    Step {
        /// Which step, and how.
        source: Box<strata_build::BuildError>,
        /// What `strata debug` takes.
        state: Option<String>,
    },
    /// A build context cannot be used.
    #[error(transparent)]
    Context(#[from] crate::build::ContextError),
    /// Something was not fetched.
    #[error(transparent)]
    Remote(#[from] crate::build::RemoteError),
    /// A device that a step asked for cannot be given to it.
    #[error(transparent)]
    Device(#[from] crate::cdi::DeviceError),
    /// The Dockerfile cannot be parsed.
    #[error(transparent)]
    Parse(#[from] strata_dockerfile::ParseError),
    /// The runtime could not do it.
    #[error(transparent)]
    Runtime(Box<dyn std::error::Error + Send + Sync>),
    /// The container's process could not be started.
    #[error("{message}")]
    Start {
        /// Docker's sentence.
        message: String,
        /// 125, 126 or 127.
        code: u8,
    },
    /// Not for an ordinary user.
    #[error(
        "{0} needs root: it mounts file systems and makes namespaces; use sudo. Images can be built, moved and looked \
         at without root as long as no step is a RUN"
    )]
    NeedsRoot(&'static str),
    /// Root, but not all of root.
    #[error(
        "{what} needs {name}, which this root does not have: {instead}. Steps other than RUN need neither"
    )]
    NeedsCapability {
        /// What was to be done.
        what: &'static str,
        /// The capability.
        name: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// The request cannot be carried out as it is; says what is wrong and what would be right.
    #[error("{0}")]
    Invalid(String),
}

fn suggestion(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!(" (did you mean {}?)", near.join(" or ")),
    }
}

impl From<strata_build::BuildError> for EngineError {
    fn from(error: strata_build::BuildError) -> Self {
        Self::Build(Box::new(error))
    }
}

impl EngineError {
    /// The exit code where the error has one of its own: 126 and 127 for a command that cannot be run.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Start { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The failed build behind it, if it is one.
    pub fn build_error(&self) -> Option<&strata_build::BuildError> {
        match self {
            Self::Build(error) => Some(error),
            Self::Step { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether a build was stopped from outside.
    pub fn is_cancelled(&self) -> bool {
        self.build_error().is_some_and(|error| matches!(error.kind, BuildErrorKind::Cancelled))
    }

    /// The exit code of the process that made a build fail.
    pub fn step_exit_code(&self) -> Option<u8> {
        match &self.build_error()?.kind {
            BuildErrorKind::Process { source: strata_build::ExecError::Exit(code), .. } => {
                u8::try_from(*code).ok()
            }
            _ => None,
        }
    }

    /// Whether the disk, or somebody's share of it, is full.
    pub fn is_disk_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        // Not by way of the causes: an error that is only passed on is none of its own causes.
        let io = match self {
            Self::Io(error)
            | Self::Store(StoreError::Io(error))
            | Self::Layer { source: LayerError::Io(error), .. } => error,
            _ => return false,
        };
        matches!(io.kind(), StorageFull | QuotaExceeded)
    }

    /// What to do about it, where the error does not say that already.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Parse(error) => error.hint.clone(),
            Self::Build(error) => match &error.kind {
                BuildErrorKind::BaseName { name, source: ReferenceError::UpperCase(_) } => {
                    Some(format!("did you mean `{}`?", name.to_lowercase()))
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn layer(what: impl Into<String>, source: LayerError) -> Self {
        Self::Layer { what: what.into(), source }
    }

    pub(crate) fn runtime(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Runtime(Box::new(error))
    }
}

impl From<strata_registry::Error> for EngineError {
    fn from(error: strata_registry::Error) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchImage(name) => Self::NoSuchImage(name),
            StoreError::NoSuchContainer(name) => Self::NoSuchContainer(name),
            other => Self::Store(other),
        }
    }
}
