//! The engine on the real kernel: hostile input, damage, races, interrupts. What needs root says so and is skipped
//! without it.
#![allow(clippy::unwrap_used, reason = "functions that tests share fail like tests")]

mod archives;
mod concurrent;
mod contexts;
mod damage;
mod full_disk;
mod interrupts;
mod registry;
mod transfer;
mod user;
mod world;
