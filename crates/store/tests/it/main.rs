//! The store on a real file system, with real processes.
mod cache;
mod containers;
mod crash;
mod gc;
mod images;
mod layers;
mod open;
mod remove;
mod support;
mod usage;
mod volumes;
