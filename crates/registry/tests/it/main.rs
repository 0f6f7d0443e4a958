//! Against Debian's docker-registry, a token server, and a network that fails.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod cuts;
mod elsewhere;
mod faults;
mod guarded;
mod helper_programs;
mod images;
mod mirrors;
mod plain;
mod times;
mod tls;
mod uploads;
