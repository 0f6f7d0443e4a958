//! One HTTP/1.1 client for everything strata fetches or sends: registries, ADD, build contexts, object stores.
//!
//! ```no_run
//! use strata_http::{Client, Options, Request};
//! use std::io::Read;
//!
//! let client = Client::new(Options::default())?;
//! let response = client.send(Request::get("https://example.com/big.iso").range(1000, None))?;
//! assert_eq!(response.status(), 206);
//! let mut body = response.into_body();
//! let mut first = [0; 512];
//! body.read_exact(&mut first)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What callers can rely on
//! - **Every answer is a [`Response`]**, whatever its status. Only what never became an answer is an [`Error`].
//! - **Time.** A connection must stand within [`Options::connect_timeout`]; after that each single read or write may take
//!   [`Options::idle_timeout`] (or [`Request::idle_timeout`]). So a body that stalls fails, and a download of a day does
//!   not. There is no limit on the whole.
//! - **Bodies stream**, both ways, with constant memory. A request body has a known length or is sent in chunks. A
//!   response that ends before its `Content-Length` is an error of `read`, never a short file.
//! - **Nothing is decoded.** No `Accept-Encoding` is sent and no body unpacked: bytes are what a digest is taken of.
//! - **Redirects** are followed for requests without a body as far as [`Request::redirects`] says (10 by default) and
//!   come back as responses otherwise. `Authorization`, `Cookie` and the credentials of the URL go to no other host,
//!   port or scheme than the one they were given for.
//! - **No retries** happen inside, but for [`Resumed`], which is asked to. [`Retry`] says how long to wait, [`Response::is_transient`] and
//!   [`Error::is_transient`] say whether to.
//! - **The environment is not read**, but for what rustls-native-certs honours to find the system's certificates:
//!   `SSL_CERT_FILE` and `SSL_CERT_DIR`. Proxies are values ([`Proxies`]).
//! - **Errors name the URL** without credentials and query, and the cause: name, connection, TLS, time.
//!
//! A [`Client`] is cheap to clone, may be used by any number of threads, and keeps connections alive between requests.
//! [`Client::shut_down`] ends all that is under way, from any thread: that is how a build is cancelled.

#![forbid(unsafe_code)]

mod address;
mod client;
mod error;
mod forward;
mod proxies;
mod request;
mod response;
mod resumed;
mod retry;
mod secure;
mod tls;

pub use address::{is_loopback, redact};
pub use client::{Client, Options};
pub use error::{Error, TlsFault};
pub use proxies::Proxies;
pub use request::{Redirects, Request};
pub use response::{Body, Response};
pub use resumed::{Misfit, Origin, Resumed};
pub use retry::Retry;
pub use tls::Identity;
pub use url::Url;
