//! What every part of the store shares.
use crate::db::Db;
use crate::root::Root;
use crate::staging::{Hold, hold};
use crate::trash::{Trash, doomed, is_mounted, spare};
use crate::{StoreError, orphans};

/// The directories, the database, and the way out.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) root: Root,
    pub(crate) db: Db,
    pub(crate) trash: Trash,
}

impl Core {
    /// Runs `body`, which renames something into place and then records it. If it fails in between (a full disk), what
    /// it left without a record is taken away again.
    pub(crate) fn publish<T>(&self, body: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let held = hold(&self.root, Hold::Publish)?;
        let result = body();
        drop(held);
        if result.is_err() {
            // The first error is the one to tell; what cannot be taken away now waits for the next thorough sweep.
            let _ = orphans::sweep(&self.root, &self.db, &self.trash);
        }
        result
    }
    /// Carries out every note of a removal: renames the paths into the trash. What is still mounted waits for the next
    /// call. Returns how many went.
    pub(crate) fn bury(&self) -> Result<usize, StoreError> {
        let noted = doomed(&self.db)?;
        if noted.is_empty() {
            return Ok(0);
        }
        // Containers never come back under the same ID, so that nobody who publishes needs to be waited for.
        let unique = noted.iter().all(|path| path.starts_with("containers/"));
        let _held = if unique { None } else { Some(hold(&self.root, Hold::Remove)?) };
        // Read again: a publisher may have taken a note back before it let go.
        let mut gone = if unique { noted } else { doomed(&self.db)? };
        gone.retain(|path| !is_mounted(&self.root.root.join(path)));
        gone.iter().try_for_each(|path| self.trash.discard(&self.root.root.join(path)))?;
        self.db.write(|tx| gone.iter().try_for_each(|path| spare(tx, path)))?;
        Ok(gone.len())
    }
}
