//! What a container does.
use super::Containers;
use crate::{ProcessId, StoreError};
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Row, Transaction, params};
use serde::{Deserialize, Serialize};

/// What a container does (`spec/engine.md`, section 4, "States").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its first process runs.
    Running {
        /// That process.
        process: ProcessId,
        /// The helper that waits for it and will record its exit; `None` when the caller does so itself.
        watcher: Option<ProcessId>,
        /// Since when.
        started: Timestamp,
        /// Frozen by `pause`.
        #[serde(default)]
        paused: bool,
    },
    /// Its first process is gone.
    Exited {
        /// Exit code; 128 + n for a signal; 255 when nobody was there to see it.
        code: i32,
        /// Killed for lack of memory.
        oom_killed: bool,
        /// Why it could not be started, or empty.
        #[serde(default)]
        error: String,
        /// When it was started, if it was.
        started: Option<Timestamp>,
        /// When it ended.
        finished: Timestamp,
    },
}

impl ContainerState {
    /// Running or paused.
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// True for a running container of which neither process nor watcher exists any more. A zombie is gone once
    /// nobody is left who would ask for its exit code; without a watcher the one who starts it may be about to.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Running { process, watcher: Some(watcher), .. } => {
                !process.is_running() && !watcher.is_running()
            }
            Self::Running { process, watcher: None, .. } => !process.is_alive(),
            _ => false,
        }
    }
}

impl Containers {
    /// Records a new state.
    pub fn set_state(&self, id: &str, state: &ContainerState) -> Result<(), StoreError> {
        self.core.db.write(|tx| set(tx, id, state))
    }

    /// Records the end of containers of which neither process nor watcher exists any more, with exit code 255.
    pub fn reap(&self) -> Result<Vec<String>, StoreError> {
        reap(&self.core.db)
    }
}

pub(super) fn set(tx: &Transaction, id: &str, state: &ContainerState) -> Result<(), StoreError> {
    let changed = tx
        .prepare_cached("UPDATE containers SET state = ?2, alive = ?3 WHERE id = ?1")?
        .execute(params![id, to_column(state), state.is_alive()])?;
    if changed == 0 {
        return Err(StoreError::NoSuchContainer(id.to_owned()));
    }
    Ok(())
}

pub(super) fn to_column(state: &ContainerState) -> String {
    serde_json::to_string(state).expect("plain fields always serialise")
}

pub(super) fn from_column(row: &Row, at: usize) -> rusqlite::Result<ContainerState> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(error)))
}

/// Records as exited what nobody watches any more. Returns the IDs.
pub(crate) fn reap(db: &crate::db::Db) -> Result<Vec<String>, StoreError> {
    let abandoned = db.read(abandoned)?;
    if abandoned.is_empty() {
        return Ok(abandoned);
    }
    db.write(|tx| {
        // Read again: a watcher may have recorded the true exit code meanwhile.
        let ids = self::abandoned(tx)?;
        for id in &ids {
            let state = tx
                .prepare_cached("SELECT state FROM containers WHERE id = ?1")?
                .query_row([id], |row| from_column(row, 0))?;
            let started = match state {
                ContainerState::Running { started, .. } => Some(started),
                _ => None,
            };
            let finished = Timestamp::now();
            let exited = ContainerState::Exited {
                code: 255,
                oom_killed: false,
                error: String::new(),
                started,
                finished,
            };
            set(tx, id, &exited)?;
        }
        Ok(ids)
    })
}

fn abandoned(tx: &Transaction) -> Result<Vec<String>, StoreError> {
    let mut statement = tx.prepare_cached("SELECT id, state FROM containers WHERE alive")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, from_column(row, 1)?)))?;
    let mut ids = Vec::new();
    for row in rows {
        let (id, state) = row?;
        if state.is_abandoned() {
            ids.push(id);
        }
    }
    Ok(ids)
}
