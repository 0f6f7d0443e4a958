//! Integration tests of the layer crate: real trees in `/var/tmp`, the real kernel.

mod archive;
mod bench;
mod context;
mod copy;
mod scene;
mod stack;
mod unpack;
