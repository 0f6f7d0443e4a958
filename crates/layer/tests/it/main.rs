//! Integration tests of the layer crate: real trees in `/var/tmp`, the real kernel.

mod archive;

mod context;
mod copy;
mod scene;
mod speed;
mod stack;
mod unpack;
