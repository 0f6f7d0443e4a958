//! `trash/`: what waits to be deleted, off the critical path.
use crate::StoreError;
use crate::db::Db;
use crate::root::Root;
use crate::staging::random_name;
use fs_err as fs;
use rusqlite::Transaction;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// Deletes in a background thread, started with the first thing to delete and joined when the store is closed.
#[derive(Debug)]
pub(crate) struct Trash {
    directory: PathBuf,
    worker: Mutex<Option<(Sender<PathBuf>, JoinHandle<()>)>>,
}

impl Trash {
    pub(crate) fn new(root: &Root) -> Self {
        Self { directory: root.trash(), worker: Mutex::new(None) }
    }

    /// Takes `path` out of the store at once and deletes it later. What is already gone is fine.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        let target = self.directory.join(random_name());
        match fs::rename(path, &target) {
            Ok(()) => self.delete(target),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Deletes what an earlier process left.
    pub(crate) fn sweep(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        for entry in fs::read_dir(&self.directory)? {
            self.delete(entry?.path());
            count += 1;
        }
        Ok(count)
    }

    /// Waits until everything discarded so far is deleted.
    pub(crate) fn wait(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = worker {
            drop(sender);
            // The worker ignores errors and cannot panic; if it did, the next sweep deletes the rest.
            let _ = thread.join();
        }
    }

    fn delete(&self, path: PathBuf) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, _) = worker.get_or_insert_with(|| {
            let (sender, receiver) = channel::<PathBuf>();
            let thread = std::thread::spawn(move || receiver.into_iter().for_each(|path| delete(&path)));
            (sender, thread)
        });
        // Fails only if the worker is gone; then the next sweep deletes it.
        let _ = sender.send(path);
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        self.wait();
    }
}

/// Errors are left to the next sweep: the thing is out of the store already.
fn delete(path: &Path) {
    let directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let _ = if directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// Notes in the transaction that deletes a record that the path (relative to the root) has to go.
pub(crate) fn doom(tx: &Transaction, path: &str) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT OR IGNORE INTO doomed VALUES(?1)")?.execute([path])?;
    Ok(())
}

/// Takes the note back, in the transaction that records the path anew.
pub(crate) fn spare(tx: &Transaction, path: &str) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM doomed WHERE path = ?1")?.execute([path])?;
    Ok(())
}

/// Paths, relative to the root, that have to go.
pub(crate) fn doomed(db: &Db) -> Result<Vec<String>, StoreError> {
    db.read(|tx| {
        let mut statement = tx.prepare_cached("SELECT path FROM doomed")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    })
}

/// True when something is mounted at `<path>/diff`: such a directory must not be taken apart.
pub(crate) fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).ok().map(|metadata| metadata.dev());
    device(&path.join("diff")).is_some_and(|inner| device(path) != Some(inner))
}
