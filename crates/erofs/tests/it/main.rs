//! Images against the kernel, erofs-utils, and this crate's reader.

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
