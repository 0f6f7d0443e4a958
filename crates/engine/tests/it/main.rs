//! The engine on the real kernel: hostile input, damage, races, interrupts. What needs root says so and is skipped
//! without it.
#![allow(clippy::unwrap_used, reason = "functions that tests share fail like tests")]

mod agents;
mod archives;
mod bombs;
mod cache;
mod clones;
mod concurrent;
mod contexts;
mod damage;
mod downloads;
mod foreign;
mod full_disk;
mod interrupts;
mod kinds;
mod registry;
mod repositories;
#[allow(dead_code, reason = "the server of the HTTP client's tests, of which others are used there")]
#[path = "../../../http/tests/it/server.rs"]
mod server;
mod transfer;
mod user;
mod world;
