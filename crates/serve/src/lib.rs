//! An OCI distribution registry in a directory (distribution specification 1.1), with an optional upstream that it
//! mirrors.
//!
//! The only crate with an event loop: many clients wait, few work. What touches the disk runs on threads that may
//! block. Nothing in here prints or listens to signals: the command line does.

#![forbid(unsafe_code)]

mod answer;
mod endpoints;
mod growing;
mod mirror;
mod name;
mod password;
mod receive;
mod refusal;
mod registry;
mod route;
mod server;
mod sessions;
mod storage;
mod threads;

pub use mirror::{FetchedBlob, FetchedManifest, Upstream, UpstreamError};
pub use password::PasswordError;
pub use server::{Exchange, Handle, Observer, Options, ServeError, Server, TlsError};
pub use storage::{CollectError, CollectOptions, Collected, StorageError, collect};
