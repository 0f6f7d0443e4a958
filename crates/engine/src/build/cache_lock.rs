//! The lock of a cache mount: a file beside it, held by whoever uses the files.
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a lock that somebody holds is asked for: soon at first, for most steps are short.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Takes the lock of the mount `directory`, with a non-blocking `operation`. While somebody else holds it, this waits until
/// `cancel` is set, or not at all without it; a wait inside the kernel would not notice. `None`: not taken. `waiting` is
/// called once if it has to wait.
pub(super) fn take(
    directory: &Path,
    operation: FlockOperation,
    cancel: Option<&AtomicBool>,
    waiting: &dyn Fn(),
) -> io::Result<Option<fs_err::File>> {
    let mut options = fs_err::File::options();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(directory.with_extension("lock"))?;
    let mut pause = FIRST_PAUSE;
    loop {
        match rustix::fs::flock(file.file(), operation) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if cancel.is_none_or(|cancel| cancel.load(Ordering::Relaxed)) {
            return Ok(None);
        }
        if pause == FIRST_PAUSE {
            waiting();
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
