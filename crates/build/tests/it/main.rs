//! The whole builder on a fake worker: no root, no file system, no clock.
#![allow(clippy::unwrap_used)]

mod cache;
mod check;
mod conformance;
mod errors;
mod events;
mod fake;
mod instructions;
mod lend;
mod lost;
mod onbuild;
mod run;
mod scopes;
mod stages;
