//! Mounts, namespaces, cgroups, seccomp, process start and wait, network. The only crate with mount calls.
//!
//! Vocabulary: a *layer* is mounted once, by [`mount::mount_layer`], and shared by every container; a *container* is one
//! process tree behind walls, described by a [`spec::ContainerSpec`] and started by [`container::Container::start`]; a
//! *helper* is a re-executed copy of this binary that watches one detached container ([`helper`]). The crate knows no
//! images and no store: values come in through the engine.
//!
//! Everything is synchronous. `unsafe` exists in `sys` alone.

pub mod capability;
pub mod cgroup;
pub mod container;
pub mod exec;
pub mod helper;
mod limits;
pub mod mount;
pub mod net;
pub mod process;
mod resource;
mod rootdir;
pub mod seccomp;
pub mod signal;
pub mod spec;
pub mod stubs;
pub mod supervise;
mod sys;
mod sysctl;
pub mod user;
