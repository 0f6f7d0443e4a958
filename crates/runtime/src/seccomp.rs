//! The system call filter: Docker's default profile compiled to a small decision tree.
//!
//! A filter is loaded at every start, and the kernel's checks cost time per instruction: a chain of comparisons as common
//! compilers make it has 1800 instructions and loads in 0.55 ms, the tree some 150 in 0.1 ms. Per call they cost the same.
//!
//! 32-bit programs on x86-64 have their own table. The x32 ABI, and calls newer than the tables, are answered with
//! `ENOSYS`, which makes programs try something older.

mod compile;
mod numbers;
mod profile;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::capability::CapabilitySet;
use crate::sys::SockFilter;

/// The default filter for a container with these capabilities. Compiled once per set and process.
pub(crate) fn default_filter(capabilities: CapabilitySet) -> Box<[SockFilter]> {
    static COMPILED: Mutex<Option<HashMap<u64, Box<[SockFilter]>>>> = Mutex::new(None);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    compiled
        .get_or_insert_default()
        .entry(capabilities.bits())
        .or_insert_with(|| compile::program(capabilities))
        .clone()
}

#[cfg(test)]
mod tests;
