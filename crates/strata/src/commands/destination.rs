//! Files that a command writes.

use crate::failure::Failure;
use std::fs::File;
use std::path::Path;

/// Writes beside the target and renames, so that a failure leaves no half of a file. A FIFO or a device
/// (`-o /dev/stdout`) is written straight.
pub(crate) fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&File) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if path.exists() && !path.is_file() {
        if path.is_dir() {
            return Err(Failure::new(format!("{} is a directory", path.display())));
        }
        let file = fs_err::OpenOptions::new().write(true).open(path)?;
        return write(file.file());
    }
    let mut name = path.file_name().ok_or_else(|| Failure::new("the output is a directory"))?.to_owned();
    name.push(format!(".tmp{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let file = fs_err::File::create(&temporary)?;
    let outcome = write(file.file()).and_then(|made| Ok(fs_err::rename(&temporary, path).map(|()| made)?));
    if outcome.is_err() {
        let _ = fs_err::remove_file(&temporary);
    }
    outcome
}
