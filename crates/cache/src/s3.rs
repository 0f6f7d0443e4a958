//! An object store that speaks S3's protocol: Amazon's, or any of those compatible with it.
//!
//! [`Settings`] are what `type=s3,bucket=...` says, completed from the environment; a [`Bucket`] is the client. It signs
//! with `rusty-s3`, which does no I/O, and sends by the workspace's own HTTP client.
//!
//! # What callers can rely on
//! - **Memory** is a few buffers, whatever the sizes: what is sent is read again from its source after a cut, from the part
//!   that was lost; what is received is asked for again by range.
//! - **Digests.** An object that is sent under a digest is not stored unless its bytes have that digest. What is received is
//!   *not* checked here, only cut at its declared size: its reader hashes it anyway.
//! - **Time.** Broken connections, 429, 5xx and S3's `SlowDown` are tried again with growing, jittered pauses. A clock that is
//!   wrong is corrected by what the server says, as Amazon's own clients do.
//! - **Credentials** are found as Amazon's kits find them, got when they are first needed, and renewed before they run out.
//! - **Secrets** are in the signature of a request alone, never in messages.

mod advice;
mod bucket;
mod credentials;
mod environment;
mod error;
mod exchange;
mod objects;
mod place;
mod reader;
mod refusal;
mod settings;
mod upload;

pub use bucket::{Bucket, Options};
pub use credentials::{Credentials, Provider};
pub use environment::Environment;
pub use error::{Deed, Error, ProviderError};
pub use objects::Stat;
pub use place::{S3Place, Stores};
pub use reader::Object;
pub use settings::{KEYS, Settings};
