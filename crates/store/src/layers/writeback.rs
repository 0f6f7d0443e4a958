//! Getting a tar onto the disk while it is being written.
use fs_err as fs;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Bytes after which the disk gets something to do. Shorter tars are not worth a thread.
const PORTION: u64 = 16 << 20;

/// The file a layer's tar is written into. What has been written goes to the disk while more is coming: otherwise the
/// kernel would keep it all in memory, and publishing the layer, which waits for the disk, would wait for all of it.
#[derive(Debug)]
pub struct TarFile {
    file: Arc<fs::File>,
    /// Bytes since the disk was last given something.
    waiting: u64,
    shared: Arc<Shared>,
}

/// The other end, with the layer in progress.
#[derive(Debug, Default)]
pub(super) struct Writeback(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    thread: Option<JoinHandle<()>>,
    wanted: bool,
    stop: bool,
    /// The kernel tells of a failed write once: whoever syncs the file later is not told again.
    failed: Option<io::Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
    }

    fn run(&self, file: &fs::File) {
        let mut state = self.lock();
        while !state.stop {
            if !std::mem::take(&mut state.wanted) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            let synced = file.sync_data();
            state = self.lock();
            if let Err(error) = synced {
                state.failed.get_or_insert(error);
            }
        }
    }
}

impl Writeback {
    /// The file, for writing.
    pub(super) fn writer(&self, file: fs::File) -> TarFile {
        TarFile { file: Arc::new(file), waiting: 0, shared: Arc::clone(&self.0) }
    }

    /// Waits for what is under way.
    ///
    /// # Errors
    /// A write to the disk failed.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.0.stop();
        let thread = self.0.lock().thread.take();
        if let Some(thread) = thread {
            thread.join().expect("syncing a file does not panic");
        }
        self.0.lock().failed.take().map_or(Ok(()), Err)
    }
}

impl Drop for Writeback {
    fn drop(&mut self) {
        // Of a layer that is given up nobody wants to know.
        let _ = self.finish();
    }
}

impl TarFile {
    fn start_writing_back(&self) {
        let mut state = self.shared.lock();
        state.wanted = true;
        if state.thread.is_none() && !state.stop {
            let (file, shared) = (Arc::clone(&self.file), Arc::clone(&self.shared));
            let thread = std::thread::Builder::new().name("writeback".into());
            // Without a thread the disk gets everything at the end: slower, not wrong.
            state.thread = thread.spawn(move || shared.run(&file)).ok();
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Write for TarFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = (&*self.file).write(bytes)?;
        self.waiting += length as u64;
        if self.waiting >= PORTION {
            self.waiting = 0;
            self.start_writing_back();
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TarFile {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn all_bytes_arrive_and_the_thread_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tar");
        let writeback = Writeback::default();
        let mut file = writeback.writer(fs::File::create(&path).unwrap());
        let portion: Vec<u8> = (0..PORTION / 4).map(|n| (n % 251) as u8).collect();
        for _ in 0..9 {
            file.write_all(&portion).unwrap();
        }
        drop(file);
        writeback.finish().unwrap();
        assert!(writeback.0.lock().thread.is_none());
        let mut back = Vec::new();
        fs::File::open(&path).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == portion.repeat(9));
    }

    #[test]
    fn a_write_that_failed_in_the_background_is_told() {
        let writeback = Writeback::default();
        writeback.0.lock().failed = Some(io::Error::from_raw_os_error(5));
        assert_eq!(writeback.finish().unwrap_err().raw_os_error(), Some(5));
    }
}
