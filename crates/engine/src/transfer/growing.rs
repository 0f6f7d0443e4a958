//! A file that is read while another thread appends to it.
use fs_err::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What the two ends know.
#[derive(Debug, Default)]
pub(super) struct Growth {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    length: u64,
    /// `Some(true)`: complete. `Some(false)`: it broke off.
    ended: Option<bool>,
    /// The reader wants no more.
    unwanted: bool,
}

impl Growth {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There are so many bytes now. False: nobody wants them any more.
    pub(super) fn grown(&self, length: u64) -> bool {
        let mut state = self.lock();
        state.length = length;
        self.changed.notify_all();
        !state.unwanted
    }

    /// Nothing more will come.
    pub(super) fn end(&self, complete: bool) {
        self.lock().ended.get_or_insert(complete);
        self.changed.notify_all();
    }

    /// The reader has given up.
    pub(super) fn refuse(&self) {
        self.lock().unwanted = true;
    }

    /// Waits for bytes behind `position`: how far it can be read, or `None` at the end.
    fn wait(&self, position: u64) -> io::Result<Option<u64>> {
        let mut state = self.lock();
        loop {
            match state.ended {
                _ if state.length > position => return Ok(Some(state.length)),
                Some(true) => return Ok(None),
                // Whoever broke off says why.
                Some(false) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the download broke off"));
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Reads from the beginning, waiting where the writer has not come yet.
pub(super) struct Growing<'a> {
    file: File,
    position: u64,
    /// Up to where it is known to have grown.
    known: u64,
    growth: &'a Growth,
    /// Told the position from time to time.
    seen: &'a (dyn Fn(u64) + Sync),
}

impl<'a> Growing<'a> {
    pub(super) fn new(file: File, growth: &'a Growth, seen: &'a (dyn Fn(u64) + Sync)) -> Self {
        Self { file, position: 0, known: 0, growth, seen }
    }
}

impl Read for Growing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.known {
            match self.growth.wait(self.position)? {
                Some(length) => self.known = length,
                None => return Ok(0),
            }
            (self.seen)(self.position);
        }
        let wanted = buffer.len().min(usize::try_from(self.known - self.position).unwrap_or(usize::MAX));
        let count = self.file.file().read_at(&mut buffer[..wanted], self.position)?;
        if count == 0 && wanted > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the download was cut short on the disk",
            ));
        }
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::time::Duration;

    #[test]
    fn the_reader_follows_the_writer() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let mut writer = File::create(&path).expect("made");
        let growth = Growth::default();
        let mut text = String::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for part in ["a lit", "tle ", "at a time"] {
                    writer.write_all(part.as_bytes()).expect("written");
                    assert!(growth.grown(writer.metadata().expect("there").len()));
                    std::thread::sleep(Duration::from_millis(5));
                }
                growth.end(true);
            });
            let mut reader = Growing::new(File::open(&path).expect("open"), &growth, &|_| {});
            reader.read_to_string(&mut text).expect("read");
        });
        assert_eq!(text, "a little at a time");
        growth.refuse();
        assert!(!growth.grown(30));
    }

    #[test]
    fn a_break_is_no_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs_err::write(&path, "half").expect("written");
        let growth = Growth::default();
        growth.grown(4);
        growth.end(false);
        let mut text = String::new();
        let mut reader = Growing::new(File::open(&path).expect("open"), &growth, &|_| {});
        assert!(reader.read_to_string(&mut text).is_err());
        assert_eq!(text, "half");
    }
}
