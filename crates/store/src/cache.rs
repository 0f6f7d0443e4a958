//! The build cache: which key gave which result.
use crate::StoreError;
use crate::core::Core;
use crate::db::Bytes32;
use crate::db::{Time, now};
use jiff::Timestamp;
use rusqlite::types::{ToSqlOutput, Type, Value, ValueRef};
use rusqlite::{OptionalExtension as _, Row, ToSql, Transaction, params};
use std::io::Read as _;
use std::sync::Arc;
use strata_oci::DiffId;

/// A cache key, made by `build`.
pub type CacheKey = [u8; 32];

/// The build cache's records.
#[derive(Clone, Debug)]
pub struct CacheIndex {
    core: Arc<Core>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRecord {
    /// The key.
    pub key: CacheKey,
    /// Where in which Dockerfile the step stands: records of one slot are earlier runs of the same step.
    pub slot: String,
    /// The result and the named inputs of the key: JSON that only `build` reads.
    pub value: String,
    /// The layers that the result needs; they are kept while the record is.
    pub layers: Vec<DiffId>,
    /// When it was made; filled in by the store.
    pub created: Timestamp,
    /// When it was last a hit; filled in by the store.
    pub last_used: Timestamp,
    /// How often it was a hit; filled in by the store.
    pub uses: u64,
}

/// A record's share of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheUsage {
    /// The record.
    pub record: CacheRecord,
    /// Logical bytes of its layers.
    pub size: u64,
    /// True when an image or container has all its layers too: removing the record frees nothing.
    pub shared: bool,
}

/// Which records to prune; all conditions hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachePrune {
    /// Also records whose layers images have.
    pub all: bool,
    /// Only records last used before.
    pub unused_since: Option<Timestamp>,
    /// Stop, least recently used first, when the rest (each layer once) takes at most so many bytes.
    pub keep_bytes: Option<u64>,
}

const COLUMNS: &str = "key, slot, value, created, last_used, uses";

impl CacheIndex {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Records a result. Its layers must be here; an older record of the key is replaced. Long values are compressed.
    pub fn put(&self, key: &CacheKey, slot: &str, value: &str, layers: &[DiffId]) -> Result<(), StoreError> {
        self.core.db.write(|tx| {
            tx.prepare_cached("DELETE FROM cache WHERE key = ?1")?.execute([Bytes32(*key)])?;
            tx.prepare_cached("INSERT INTO cache VALUES(?1, ?2, ?3, ?4, ?4, 0)")?.execute(params![
                Bytes32(*key),
                slot,
                Text(value),
                now()
            ])?;
            for diff_id in layers {
                if crate::layers::find(tx, diff_id)?.is_none() {
                    return Err(StoreError::MissingLayer(*diff_id));
                }
                tx.prepare_cached("INSERT OR IGNORE INTO cache_layers VALUES(?1, ?2)")?
                    .execute(params![Bytes32(*key), Bytes32::from(diff_id)])?;
            }
            Ok(())
        })
    }

    /// The record of a key. Does not count as use: see [`Self::touch`].
    pub fn get(&self, key: &CacheKey) -> Result<Option<CacheRecord>, StoreError> {
        self.core.db.read(|tx| {
            let query = format!("SELECT {COLUMNS} FROM cache WHERE key = ?1");
            let record = tx.prepare_cached(&query)?.query_row([Bytes32(*key)], from_row).optional()?;
            record.map(|record| with_layers(tx, record)).transpose()
        })
    }

    /// Earlier runs of a step, last used first.
    pub fn nearest(&self, slot: &str, limit: usize) -> Result<Vec<CacheRecord>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM cache WHERE slot = ?1 ORDER BY last_used DESC LIMIT ?2");
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached(&query)?;
            let records = statement.query_map(params![slot, limit], from_row)?;
            records.map(|record| with_layers(tx, record?)).collect()
        })
    }

    /// Records of every slot that goes on with this after its first line, last used first.
    pub fn nearest_elsewhere(
        &self,
        after_first_line: &str,
        limit: usize,
    ) -> Result<Vec<CacheRecord>, StoreError> {
        // As the index `cache_by_stage` has it.
        let query = format!(
            "SELECT {COLUMNS} FROM cache WHERE substr(slot, instr(slot, char(10)) + 1) = ?1
             ORDER BY last_used DESC LIMIT ?2"
        );
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached(&query)?;
            let records = statement.query_map(params![after_first_line, limit], from_row)?;
            records.map(|record| with_layers(tx, record?)).collect()
        })
    }

    /// The newest record of every slot that begins with `prefix`, in the order of the slots.
    pub fn latest(&self, prefix: &str) -> Result<Vec<CacheRecord>, StoreError> {
        // No text follows U+10FFFF. SQLite takes the bare columns from the row that has the maximum.
        let query = format!(
            "SELECT {COLUMNS}, max(created) FROM cache WHERE slot >= ?1 AND slot < ?1 || char(0x10FFFF)
             GROUP BY slot ORDER BY slot"
        );
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached(&query)?;
            let records = statement.query_map([prefix], from_row)?;
            records.map(|record| with_layers(tx, record?)).collect()
        })
    }

    /// Counts these records as used now.
    pub fn touch(&self, keys: &[CacheKey]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.core.db.write(|tx| {
            let mut statement =
                tx.prepare_cached("UPDATE cache SET last_used = ?2, uses = uses + 1 WHERE key = ?1")?;
            for key in keys {
                statement.execute(params![Bytes32(*key), now()])?;
            }
            Ok(())
        })
    }

    /// Keeps the `count` newest records of a slot and forgets the others.
    pub fn keep_newest(&self, slot: &str, count: usize) -> Result<(), StoreError> {
        let query = "DELETE FROM cache WHERE key IN
                     (SELECT key FROM cache WHERE slot = ?1 ORDER BY last_used DESC LIMIT -1 OFFSET ?2)";
        self.core.db.write(|tx| Ok(tx.prepare_cached(query)?.execute(params![slot, count]).map(drop)?))
    }

    /// All records with their sizes, least recently used first.
    pub fn list(&self) -> Result<Vec<CacheUsage>, StoreError> {
        self.core.db.read(list)
    }

    /// Removes a record. Its layers' data stay until [`crate::Store::gc`]. False when it was not there.
    pub fn remove(&self, key: &CacheKey) -> Result<bool, StoreError> {
        self.core.db.write(|tx| remove(tx, key))
    }

    /// Removes records, least recently used first. Returns them; the layers' data stay until [`crate::Store::gc`].
    pub fn prune(&self, prune: CachePrune) -> Result<Vec<CacheUsage>, StoreError> {
        self.core.db.write(|tx| {
            let mut removed = Vec::new();
            for usage in list(tx)? {
                let unused = prune.unused_since.is_none_or(|since| usage.record.last_used < since);
                if (usage.shared && !prune.all) || !unused {
                    continue;
                }
                if let Some(keep) = prune.keep_bytes
                    && total(tx)? <= keep
                {
                    break;
                }
                remove(tx, &usage.record.key)?;
                removed.push(usage);
            }
            Ok(removed)
        })
    }
}

fn remove(tx: &Transaction, key: &CacheKey) -> Result<bool, StoreError> {
    Ok(tx.prepare_cached("DELETE FROM cache WHERE key = ?1")?.execute([Bytes32(*key)])? > 0)
}

/// Logical bytes of the layers that cache records name, each once.
fn total(tx: &Transaction) -> Result<u64, StoreError> {
    let query = "SELECT coalesce(sum(content_size), 0) FROM layers
                 WHERE diff_id IN (SELECT diff_id FROM cache_layers)";
    Ok(tx.prepare_cached(query)?.query_row([], |row| row.get(0))?)
}

fn list(tx: &Transaction) -> Result<Vec<CacheUsage>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS},
            (SELECT coalesce(sum(content_size), 0) FROM cache_layers l JOIN layers USING(diff_id) WHERE l.key = cache.key),
            NOT EXISTS (SELECT 1 FROM cache_layers l WHERE l.key = cache.key
                AND NOT EXISTS (SELECT 1 FROM image_layers i WHERE i.diff_id = l.diff_id)
                AND NOT EXISTS (SELECT 1 FROM container_layers c WHERE c.diff_id = l.diff_id))
         FROM cache ORDER BY last_used, rowid"
    );
    let mut statement = tx.prepare_cached(&query)?;
    let rows = statement.query_map([], |row| Ok((from_row(row)?, row.get(6)?, row.get(7)?)))?;
    rows.map(|row| {
        let (record, size, shared) = row?;
        Ok(CacheUsage { record: with_layers(tx, record)?, size, shared })
    })
    .collect()
}

/// A value in its column: as text, or compressed as a blob where that is worth it (the listing of 20,000 files has
/// 2.4 MB, and every edit of one of them makes another).
struct Text<'a>(&'a str);

impl Text<'_> {
    /// Shorter values stay readable.
    const SHORT: usize = 16 << 10;
    /// No record is longer: what claims to be is damaged.
    const LONGEST: u64 = 1 << 30;

    fn read(row: &Row, at: usize) -> rusqlite::Result<String> {
        let damaged = |error: Box<dyn std::error::Error + Send + Sync>| {
            rusqlite::Error::FromSqlConversionFailure(at, Type::Blob, error)
        };
        match row.get_ref(at)? {
            ValueRef::Blob(bytes) => {
                let decode = || -> std::io::Result<String> {
                    let mut text = String::new();
                    zstd::Decoder::new(bytes)?.take(Self::LONGEST).read_to_string(&mut text)?;
                    Ok(text)
                };
                decode().map_err(|error| damaged(error.into()))
            }
            _ => row.get(at),
        }
    }
}

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        if self.0.len() < Self::SHORT {
            return Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0.as_bytes())));
        }
        let bytes = zstd::bulk::compress(self.0.as_bytes(), 1)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(ToSqlOutput::Owned(Value::Blob(bytes)))
    }
}

fn from_row(row: &Row) -> rusqlite::Result<CacheRecord> {
    Ok(CacheRecord {
        key: row.get::<_, Bytes32>(0)?.0,
        slot: row.get(1)?,
        value: Text::read(row, 2)?,
        layers: Vec::new(),
        created: row.get::<_, Time>(3)?.0,
        last_used: row.get::<_, Time>(4)?.0,
        uses: row.get(5)?,
    })
}

fn with_layers(tx: &Transaction, mut record: CacheRecord) -> Result<CacheRecord, StoreError> {
    let mut statement = tx.prepare_cached("SELECT diff_id FROM cache_layers WHERE key = ?1")?;
    let layers = statement.query_map([Bytes32(record.key)], |row| row.get::<_, Bytes32>(0))?;
    record.layers = layers.map(|layer| Ok(layer?.diff_id())).collect::<Result<_, StoreError>>()?;
    Ok(record)
}
