//! The client of Docker Registry v2 and OCI distribution 1.1.
//!
//! It knows no store: manifests come and go as bytes, blobs as streams. [`Registries`] is made once per command from a
//! [`Config`] and shared by all threads; it keeps connections, tokens, and what it has learned about each machine.
//!
//! ```no_run
//! use strata_registry::{Config, Registries, Repository};
//! use strata_oci::{Manifest, Raw, Reference};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registries = Registries::new(Config::default());
//! let reference: Reference = "busybox:1.36".parse()?;
//! let found = registries.resolve(&reference)?;
//! let manifest: Raw<Manifest> = Raw::parse(found.bytes)?;
//! for layer in &manifest.value().layers {
//!     // Resumes by itself after a cut; whoever reads checks the digest.
//!     let mut blob = registries.blob(&Repository::from(&reference), &layer.digest, layer.size, 0)?;
//!     std::io::copy(&mut blob, &mut std::io::sink())?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What callers can rely on
//! - **Digests.** A manifest is only given out when its bytes have the digest that was asked for and the one that the
//!   registry claims. A blob is *not* checked here, only cut at its declared size: its reader hashes it anyway.
//! - **Bounds.** Manifests have at most 4 MiB, error documents and tokens less; nothing grows with what a registry sends.
//! - **Time.** Broken connections, 429 and 5xx are tried again with growing, jittered pauses ([`Config::retry`]), and
//!   `Retry-After` is kept unless it asks for more than the longest pause. Bytes that came are never fetched twice.
//! - **Secrets** go to the machine they belong to and to the token server it names, never through a redirect, never in
//!   the clear except on this machine and where the configuration allows it, never into messages or process arguments.
//! - **Nothing is read** from the environment, and only the files that the configuration names.

#![forbid(unsafe_code)]

mod authorize;
mod blob;
mod challenge;
mod config;
mod credentials;
mod endpoint;
mod error;
mod foreign;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hosts;
mod list;
mod login;
mod manifest;
mod put;
mod referrers;
mod registries;
mod repository;
mod scope;
mod text;
mod upload;
mod wait;

pub use blob::Blob;
pub use config::Config;
pub use credentials::{Credential, Credentials, CredentialsError, Keeper, Secret};
pub use error::Error;
pub use hosts::Mirror;
pub use manifest::{Kind, MANIFEST_LIMIT, Resolved};
pub use put::Put;
pub use registries::Registries;
pub use repository::{Repository, Target};
pub use scope::Access;
pub use strata_http::{Options as HttpOptions, Proxies, Retry};
pub use text::printable;
pub use upload::{Mount, Source, Upload};
pub use wait::{Alarm, Clock, NextTry, SystemClock};
