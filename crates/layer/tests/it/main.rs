//! Layers against GNU tar, the kernel and overlayfs: real trees in `/var/tmp`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod archive;
mod blocks;
mod context;
mod copy;
mod dialects;
mod earlier;
mod generate;
mod handmade;
mod hostile;
mod keys;
mod links;
mod mounted;
mod mutations;
mod observe;
mod pack;
mod rewrite;
mod round_trip;
mod scene;
mod speed;
mod stack;
mod throughput;
mod unpack;
mod whiteouts;
