//! What every part of the store shares.
use crate::StoreError;
use crate::db::Db;
use crate::root::Root;
use crate::staging::{Hold, hold};
use crate::sweep::sweep_orphans;
use crate::trash::Trash;

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
            let _ = sweep_orphans(self);
        }
        result
    }
}
