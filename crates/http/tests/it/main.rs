//! The client against real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod answers;
mod bodies;
mod failures;
mod redirects;
mod resumed;
mod tls;
mod ways;

use strata_http::{Client, Options};

fn client() -> Client {
    Client::new(Options::default()).unwrap()
}
