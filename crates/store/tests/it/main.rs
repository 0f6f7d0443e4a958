//! The store on a real file system, with real processes.
#![allow(clippy::unwrap_used, reason = "functions that tests share fail like tests")]

mod cache;
mod containers;
mod crash;
mod gc;
mod images;
mod layers;
mod open;
mod remove;
mod support;
mod usage;
mod volumes;
