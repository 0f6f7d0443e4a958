//! The real binary, its whole output: what users and scripts see. Every test has a store of its own; a transcript of
//! its commands is compared with a file in `snapshots/`, IDs and times replaced by names.
//! `INSTA_UPDATE=always cargo test -p strata --test cli` writes the files anew.

#[path = "../../../http/tests/it/answers.rs"]
mod answers;
mod archives;
mod build;
mod cache_from;
mod containers;
mod contexts;
mod devices;
mod docker;
mod documented;
mod elsewhere;
mod equal;
mod escapes;
mod explain;
mod failure;
mod images;
mod interop;
mod liars;
mod login;
mod lost_blobs;
mod many_layers;
mod modes;
mod moving;
mod outputs;
mod ports;
mod pushed_builds;
mod questions;
mod registry;
mod reproducible;
mod resumed;
mod scale;
mod shared_cache;
mod shared_listings;
mod signals;
mod syntax;
mod terminal;
mod transfer;
mod usage;
mod volumes;
mod ways;
mod world;
