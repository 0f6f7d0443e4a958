//! What tests of several crates need around them: Debian's `docker-registry` ([`Registry`]), a token server
//! ([`TokenServer`]), an object store ([`ObjectStore`]), certificates ([`Authority`]) and a network that fails on purpose ([`Wire`]).
//!
//! Only tests import this. Everything listens on 127.0.0.1 alone, takes a port that is free, and ends with the test.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod authority;
mod http;
mod object_store;
mod registry;
mod token;
mod wire;

pub use authority::Authority;
pub use http::{Request, Server, Stream, answer};
pub use object_store::{OBJECT_STORE_KEY, ObjectStore};
pub use registry::{Guard, Registry, Setup, USER};
pub use token::{REFRESH, TokenServer};
pub use wire::{Exchange, Fault, Wire};
