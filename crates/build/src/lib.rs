//! From a Dockerfile to an image: stages, lowering, cache keys, solver, explain.
//!
//! Nothing here touches a file, a mount or a process. A build is a pipeline of typed phases:
//!
//! 1. [`strata_dockerfile::Dockerfile`] and [`BuildOptions`] give the stages that the target needs;
//! 2. those are *lowered*: metadata instructions edit an image config, RUN, COPY, ADD and WORKDIR become steps with
//!    an [`ExecOp`] or a [`FileOp`];
//! 3. the steps are *solved*: looked up in the [`CacheIndex`] from the target backwards, and what is missing is
//!    done by the [`Worker`];
//! 4. the image config is written when every layer has its DiffId.
//!
//! The exact rules are `spec/build.md`; cache keys are its section 4.

#![forbid(unsafe_code)]

mod builder;
pub mod buildkit;
mod cache;
mod check;
mod device;
mod epoch;
mod error;
mod event;
mod explain;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod git;
mod key;
mod lower;
mod mount;
mod names;
mod op;
mod options;
mod path;
mod scope;
mod solve;
mod stages;
mod worker;

pub use builder::{Builder, Built, KnownStep};
pub use cache::{
    CacheIndex, CacheKey, CacheRecord, CacheResult, CachedLayer, FileEntry, FileKind, Input, Place,
};
pub use device::{DeviceGrant, KnownDevice};
pub use epoch::epoch_source;
pub use error::{BuildError, BuildErrorKind};
pub use event::{Cause, Event, EventSink, FetchState, Fetching, Forecast, Reason, StepId, StepInfo, Stream};
pub use git::{GitSource, GitSourceError};
pub use lower::{ChangeError, apply_changes, file_name};
pub use op::{
    CopyOp, CopySource, ExecOp, FileOp, Mount, MountKind, Network, SecretEnv, Security, Selection, Sharing,
};
pub use options::{BuildOptions, Entitlement, NamedContext, NoCache, UnknownEntitlement};
pub use worker::{
    Base, CacheImage, CommittedLayer, Detail, ExecError, Layer, MOST_LISTED, Origin, Selected, Worker,
    WorkerError,
};
