//! Images against the kernel, erofs-utils, and this crate's reader.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compare;
mod damage;
mod foreign;
mod generate;
mod limits;
mod mounted;
mod overlay;
mod random;
mod shapes;
mod speed;
mod tree;
