//! The database: one connection per process behind a mutex, WAL, short transactions.
mod columns;
mod schema;

pub(crate) use columns::{Bytes32, Time, now};

use crate::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a transaction waits for another process' one.
const BUSY: Duration = Duration::from_secs(60);

/// Length of the log from which on closing folds it into the database, in bytes: the next open reads less than that
/// in a fraction of a millisecond.
const LONG_LOG: u64 = 512 << 10;

/// The database. Writers of all processes take turns; readers wait for nobody.
#[derive(Debug)]
pub(crate) struct Db {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl Db {
    /// Opens the database, making it if `create`.
    pub(crate) fn open(path: &Path, create: bool) -> Result<Self, StoreError> {
        let inner = || -> Result<Connection, StoreError> {
            if create {
                create_private(path)?;
            }
            let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
            let mut connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY)?;
            connection.set_prepared_statement_cache_capacity(64);
            // Folding the log into the database waits for the disk: see the `Drop` below.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;")?;
            schema::migrate(&mut connection, path)?;
            Ok(connection)
        };
        let connection = inner().map_err(|error| error.in_database(path))?;
        Ok(Self { connection: Mutex::new(connection), path: path.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a transaction rolled it back, so the connection itself is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `body` on one consistent state.
    pub(crate) fn read<T>(
        &self,
        body: impl FnOnce(&Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.transaction(&mut self.lock(), TransactionBehavior::Deferred, body)
    }

    /// Runs `body` alone among all processes; all of it happens or nothing.
    pub(crate) fn write<T>(
        &self,
        body: impl FnOnce(&Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.transaction(&mut self.lock(), TransactionBehavior::Immediate, body)
    }

    /// Like `write`, and on the disk when it returns: before data is deleted whose record `body` deleted.
    pub(crate) fn write_durably<T>(
        &self,
        body: impl FnOnce(&Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let set = |connection: &Connection, level| {
            connection.execute_batch(level).map_err(|error| StoreError::from(error).in_database(&self.path))
        };
        set(&connection, "PRAGMA synchronous = FULL")?;
        let result = self.transaction(&mut connection, TransactionBehavior::Immediate, body);
        set(&connection, "PRAGMA synchronous = NORMAL")?;
        result
    }

    fn transaction<T>(
        &self,
        connection: &mut Connection,
        behavior: TransactionBehavior,
        body: impl FnOnce(&Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let run = || -> Result<T, StoreError> {
            let transaction = connection.transaction_with_behavior(behavior)?;
            let value = body(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| error.in_database(&self.path))
    }

    /// SQLite's own check of the file: `None` when it is sound.
    pub(crate) fn integrity(&self) -> Result<Option<String>, StoreError> {
        self.read(|tx| {
            let answer: String = tx.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            Ok((answer != "ok").then_some(answer))
        })
    }
}

impl Drop for Db {
    /// Folds a long log into the database, and empties it: SQLite forgets how far it was folded when nobody has it open
    /// any more, and would fold it again at every commit. Skipped while others read; the last one to close does it.
    fn drop(&mut self) {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        if fs_err::metadata(log).is_ok_and(|metadata| metadata.len() > LONG_LOG) {
            let connection = self.lock();
            // A log that cannot be folded now is still a valid one.
            let _ = connection.busy_timeout(Duration::ZERO);
            let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

/// Containers' environments are in there: nobody else's business. SQLite gives its log the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    use fs_err::os::unix::fs::OpenOptionsExt as _;
    fs_err::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    Ok(())
}
