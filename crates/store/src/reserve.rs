//! Room for the last commands on a full disk: a file that is given up when there is no space left, so that the
//! database can still record what is removed.
use crate::StoreError;
use crate::root::Root;
use fs_err as fs;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::path::PathBuf;

/// Bytes kept back: a few hundred pages of the database and its log.
const SIZE: u64 = 2 << 20;
/// It is made again when so much is free.
const PLENTY: u64 = 64 << 20;

pub(crate) const NAME: &str = "reserve";

fn path(root: &Root) -> PathBuf {
    root.root.join(NAME)
}

/// Gives the reserve up if the disk is full, and makes it if there is plenty. Called at every full opening: cheap.
pub(crate) fn keep(root: &Root) -> Result<(), StoreError> {
    let Ok(disk) = statvfs(&root.root) else { return Ok(()) };
    let free = disk.f_bavail * disk.f_frsize;
    let path = path(root);
    if free < SIZE {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    } else if free > PLENTY && !path.exists() {
        let file = fs::File::create(&path)?;
        // A file system that cannot promise space gets no reserve.
        if fallocate(&file, FallocateFlags::empty(), 0, SIZE).is_err() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
