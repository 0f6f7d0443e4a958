//! The engine on the real kernel: hostile input, damage, races, interrupts. What needs root says so and is skipped
//! without it.
#![allow(clippy::unwrap_used, reason = "functions that tests share fail like tests")]

mod agents;
#[path = "../../../http/tests/it/answers.rs"]
mod answers;
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
mod mirrored;
mod registry;
mod repositories;
mod transfer;
mod user;
mod world;
