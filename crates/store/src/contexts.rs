//! Stat caches of build contexts: one file per context directory.
use crate::root::Root;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strata_oci::Digest;

/// Names the files; `build` owns what is in them.
#[derive(Clone, Debug)]
pub struct Contexts {
    root: Arc<Root>,
}

impl Contexts {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self { root }
    }

    /// The stat cache of a context, by its canonical directory. The file need not exist; write it beside and
    /// rename it into place.
    pub fn path(&self, directory: &Path) -> PathBuf {
        self.root.contexts().join(Digest::of(directory.as_os_str().as_bytes()).hex())
    }
}
