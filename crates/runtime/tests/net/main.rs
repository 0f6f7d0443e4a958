//! The bridge network, for real: every test makes a network namespace that plays the host, so nothing touches
//! the machine's own network.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bridge;
mod firewall;
mod publish;
mod world;
