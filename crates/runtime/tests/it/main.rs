//! Containers on the real kernel: a root file system of one static busybox, everything else is what is tested. The tests
//! need root; without it they say so and pass. No packet leaves the machine.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod exec;
mod layers;
mod limits;
mod mounts;
mod process;
mod supervision;
mod walls;
mod world;
