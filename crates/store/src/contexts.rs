//! Stat caches of build contexts: one file per context directory.
use crate::StoreError;
use crate::core::Core;
use fs_err as fs;
use jiff::Timestamp;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strata_oci::Digest;

/// Names the files; `build` owns what is in them.
#[derive(Clone, Debug)]
pub struct Contexts {
    core: Arc<Core>,
}

impl Contexts {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The stat cache of a context, by its canonical directory. The file need not exist; write it beside and
    /// rename it into place.
    pub fn path(&self, directory: &Path) -> PathBuf {
        self.core.root.contexts().join(Digest::of(directory.as_os_str().as_bytes()).hex())
    }

    /// Deletes the stat caches last written before `until`. They only save time: nothing else is lost. Returns the
    /// bytes freed.
    pub fn prune(&self, until: Timestamp) -> Result<u64, StoreError> {
        let mut freed = 0;
        for entry in fs::read_dir(self.core.root.contexts())? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if Timestamp::try_from(metadata.modified()?).is_ok_and(|modified| modified < until) {
                fs::remove_file(entry.path())?;
                freed += metadata.len();
            }
        }
        Ok(freed)
    }
}
