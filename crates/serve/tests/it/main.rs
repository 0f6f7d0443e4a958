//! The registry over HTTP, as the distribution specification has it, and beyond what it has.

mod discovery;
mod garbage;
mod hostile;
mod login;
mod management;
mod mirror;
mod pull;
mod push;
mod specification;
mod uploads;
mod world;
