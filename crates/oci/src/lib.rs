//! OCI and Docker data types: digests, references, manifests, image configs. No I/O.

#![forbid(unsafe_code)]

mod config;
mod digest;
mod manifest;
mod platform;
mod raw;
mod reference;

pub use config::{Healthcheck, History, ImageConfig, RootFs, RuntimeConfig};
pub use digest::{ChainId, DiffId, Digest, DigestError, ImageId};
pub use manifest::{Descriptor, Index, Manifest, media_type};
pub use platform::{Platform, PlatformError};
pub use raw::Raw;
pub use reference::{Reference, ReferenceError};
