//! The client against real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bodies;
mod failures;
mod redirects;
mod server;
mod tls;
mod ways;

use strata_http::{Client, Options};

fn client() -> Client {
    Client::new(Options::default()).unwrap()
}
