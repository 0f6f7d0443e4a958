//! Blobs by digest: image configs and manifests. Compressed layers are not kept, what is known of them is.
mod forms;

pub use forms::RemoteBlob;

use crate::core::Core;
use crate::db::{Bytes32, Time, now};
use crate::root::{open_whole, sync_directory};
use crate::staging::Staging;
use crate::trash::{doom, spare};
use crate::{Lease, StoreError};
use fs_err as fs;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Write};
use std::sync::Arc;
use strata_oci::Digest;

/// The blobs of the store.
#[derive(Clone, Debug)]
pub struct Blobs {
    core: Arc<Core>,
}

/// What a blob is, and so how long it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// An image config: stays with its image.
    Config,
    /// A manifest or index: stays with the repository digest that names it.
    Manifest,
}

impl BlobKind {
    fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Manifest => "manifest",
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "config" => Self::Config,
            _ => Self::Manifest,
        }
    }
}

/// What is recorded of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub digest: Digest,
    /// Length in bytes.
    pub length: u64,
    /// What it is.
    pub kind: BlobKind,
    /// When it was last put or touched.
    pub last_used: Timestamp,
}

/// A blob being written; hashes as it goes.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    lease: Lease,
    staging: Staging,
    file: fs::File,
    hasher: Sha256,
    length: u64,
}

impl Blobs {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Starts a blob. `lease` keeps it once it is committed.
    pub fn begin(&self, lease: &Lease) -> Result<BlobWriter, StoreError> {
        let staging = Staging::new(&self.core.root)?;
        let file = fs::File::create(staging.join("blob"))?;
        Ok(BlobWriter {
            blobs: self.clone(),
            lease: lease.clone(),
            staging,
            file,
            hasher: Sha256::new(),
            length: 0,
        })
    }

    /// Stores all of `input`, which must be at most `limit` bytes and have digest `expected`, if that is known.
    pub fn put(
        &self,
        lease: &Lease,
        kind: BlobKind,
        expected: Option<&Digest>,
        limit: u64,
        input: &mut dyn Read,
    ) -> Result<BlobInfo, StoreError> {
        let mut writer = self.begin(lease)?;
        let copied = std::io::copy(&mut input.take(limit.saturating_add(1)), &mut writer)?;
        if copied > limit {
            let digest = expected.map(Digest::to_string).unwrap_or_default();
            return Err(StoreError::TooLong { digest, limit });
        }
        writer.commit(kind, expected)
    }

    /// What is recorded of a blob; `None` when it is not here.
    pub fn info(&self, digest: &Digest) -> Result<Option<BlobInfo>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement =
                tx.prepare_cached("SELECT digest, length, kind, last_used FROM blobs WHERE digest = ?1")?;
            Ok(statement.query_row([Bytes32::from(digest)], blob_from_row).optional()?)
        })
    }

    /// All blobs.
    pub fn list(&self) -> Result<Vec<BlobInfo>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT digest, length, kind, last_used FROM blobs")?;
            Ok(statement.query_map([], blob_from_row)?.collect::<Result<_, _>>()?)
        })
    }

    /// Opens a blob for streaming. Its length is compared with the record, its bytes are not hashed.
    pub fn open(&self, digest: &Digest) -> Result<fs::File, StoreError> {
        let info = self.info(digest)?.ok_or(StoreError::MissingBlob(*digest))?;
        let path = self.core.root.blob(digest);
        let damaged = |what| StoreError::DamagedBlob { digest: *digest, what };
        open_whole(&path, info.length)?.map_err(damaged)
    }

    /// Reads a small blob (config, manifest) whole and checks its digest.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.open(digest)?.read_to_end(&mut bytes)?;
        match Digest::of(&bytes) {
            actual if actual == *digest => Ok(bytes),
            actual => Err(StoreError::DamagedBlob {
                digest: *digest,
                what: format!("its bytes have digest {actual}"),
            }),
        }
    }

    /// Hashes a blob again.
    pub fn verify(&self, digest: &Digest) -> Result<(), StoreError> {
        match hash(&mut self.open(digest)?)? {
            actual if actual == *digest => Ok(()),
            actual => Err(StoreError::DamagedBlob {
                digest: *digest,
                what: format!("its bytes have digest {actual}"),
            }),
        }
    }

    /// Takes the files of forgotten blobs (and whatever else is doomed) away.
    pub(crate) fn bury(&self) -> Result<(), StoreError> {
        self.core.bury().map(drop)
    }

    /// Publishes bytes in memory and records them together with what `also` records.
    pub(crate) fn put_with<T>(
        &self,
        kind: BlobKind,
        bytes: &[u8],
        also: impl FnOnce(&Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let digest = Digest::of(bytes);
        let staging = Staging::new(&self.core.root)?;
        let staged = staging.join("blob");
        let path = self.core.root.blob(&digest);
        self.core.publish(|| {
            let here = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == bytes.len() as u64);
            if !here {
                let mut file = fs::File::create(&staged)?;
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(&staged, &path)?;
                sync_directory(&self.core.root.blobs())?;
            }
            self.core.db.write(|tx| {
                record(tx, &digest, bytes.len() as u64, kind)?;
                also(tx)
            })
        })
    }
}

impl BlobWriter {
    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Publishes what was written, if it has digest `expected`; a blob that is already here is kept.
    pub fn commit(self, kind: BlobKind, expected: Option<&Digest>) -> Result<BlobInfo, StoreError> {
        let actual = Digest::from_bytes(self.hasher.clone().finalize().into());
        if let Some(expected) = expected.filter(|expected| **expected != actual) {
            return Err(StoreError::DigestMismatch { expected: *expected, actual });
        }
        self.file.sync_all()?;
        let core = &self.blobs.core;
        core.publish(|| {
            fs::rename(self.staging.join("blob"), core.root.blob(&actual))?;
            sync_directory(&core.root.blobs())?;
            core.db.write(|tx| {
                self.lease.hold_blob(tx, Bytes32::from(&actual))?;
                record(tx, &actual, self.length, kind)
            })
        })?;
        Ok(BlobInfo { digest: actual, length: self.length, kind, last_used: now().0 })
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn record(tx: &Transaction, digest: &Digest, length: u64, kind: BlobKind) -> Result<(), StoreError> {
    spare(tx, &format!("blobs/sha256/{}", digest.hex()))?;
    tx.prepare_cached(
        "INSERT INTO blobs VALUES(?1, ?2, ?3, ?4) ON CONFLICT(digest) DO UPDATE SET last_used = ?4",
    )?
    .execute(params![Bytes32::from(digest), length, kind.name(), now()])?;
    Ok(())
}

/// Deletes the record and dooms the file.
pub(crate) fn forget(tx: &Transaction, digest: Bytes32) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?.execute([digest])?;
    doom(tx, &format!("blobs/sha256/{}", digest.digest().hex()))
}

fn blob_from_row(row: &Row) -> rusqlite::Result<BlobInfo> {
    Ok(BlobInfo {
        digest: row.get::<_, Bytes32>(0)?.digest(),
        length: row.get(1)?,
        kind: BlobKind::from_name(row.get_ref(2)?.as_str()?),
        last_used: row.get::<_, Time>(3)?.0,
    })
}

/// Digest of everything up to the end of `input`.
pub(crate) fn hash(input: &mut dyn Read) -> Result<Digest, StoreError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
