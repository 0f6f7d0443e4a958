//! Mounts, namespaces, cgroups, seccomp, process start and wait, network. The only crate with mount calls.

pub mod net;
