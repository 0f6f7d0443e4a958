//! Tree mode: a layer unpacked once.
use super::Layers;
use crate::StoreError;
use crate::error::at;
use crate::root::create_directory;
use crate::staging::{Staging, lock_directory};
use fs_err as fs;
use std::path::Path;
use strata_oci::DiffId;

/// Beside `diff`: everything is there and on the disk.
const COMPLETE: &str = "complete";

impl Layers {
    /// Unpacks into `<directory>/diff` unless that was done. Processes take turns, so only the first unpacks.
    pub(super) fn unpack_once(
        &self,
        diff_id: &DiffId,
        below: &[DiffId],
        directory: &Path,
    ) -> Result<(), StoreError> {
        let marker = directory.join(COMPLETE);
        if marker.exists() {
            return Ok(());
        }
        create_directory(directory, 0o711)?;
        let held = lock_directory(directory, false)?;
        if marker.exists() {
            return Ok(());
        }
        let layer = self.open_layer(diff_id, below)?;
        let staging = Staging::new(&self.core.root)?;
        let (fresh, target) = (staging.join("diff"), directory.join("diff"));
        create_directory(&fresh, 0o755)?;
        layer.unpack(&fresh).map_err(|error| StoreError::layer(diff_id, error))?;
        if target.exists() {
            // Half of an earlier attempt, or an empty mount point; the staging directory takes it along.
            fs::rename(&target, staging.join("old"))?;
        }
        fs::rename(&fresh, &target)?;
        // Thousands of small files: one sync of the file system is cheaper than theirs one by one.
        rustix::fs::syncfs(&held).map_err(|error| at("sync", directory, error))?;
        fs::File::create(&marker)?;
        Ok(())
    }
}
