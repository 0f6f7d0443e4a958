//! A context that comes as a tar: it is stored as a layer is, and read through its index like one. The same tar is
//! stored once; nothing of it is unpacked.
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use strata_layer::compression::decompress;
use strata_layer::tree::{SourceTree, resolve};
use strata_layer::{LayerError, Limits, Stack, ingest};
use strata_oci::DiffId;
use strata_store::Lease;

/// The files of a tar, kept while one of its clones lives.
#[derive(Clone)]
pub struct TarContext {
    diff_id: DiffId,
    files: Arc<Stack>,
    /// That of the commit or of the download.
    time: Option<Timestamp>,
    _lease: Lease,
}

impl fmt::Debug for TarContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarContext").field("diff_id", &self.diff_id).finish_non_exhaustive()
    }
}

impl PartialEq for TarContext {
    fn eq(&self, other: &Self) -> bool {
        self.diff_id == other.diff_id
    }
}

impl Eq for TarContext {}

impl Engine {
    /// Takes a context in from a tar, compressed or not.
    pub fn tar_context(&self, input: Box<dyn Read + Send + '_>) -> Result<TarContext, EngineError> {
        let unreadable = |error| EngineError::layer("unable to prepare context: cannot read the tar", error);
        let lease = self.store().leases().acquire()?;
        let staged = self.store().layers().begin(&lease)?;
        let mut file = staged.tar_file()?;
        let mut tar = decompress(input)?;
        let (info, contents) = ingest(&mut tar, &mut file, &Limits::default()).map_err(unreadable)?;
        let diff_id = info.diff_id;
        staged.commit(info, &contents, &[])?;
        let files = Arc::new(self.store().layers().stack(&[diff_id])?);
        Ok(TarContext { diff_id, files, time: None, _lease: lease })
    }
}

/// A tar's first header, or the beginning of a compressed file. `head` is the first 512 bytes, or all if there are fewer.
pub fn is_archive(head: &[u8]) -> bool {
    const MAGICS: [&[u8]; 4] =
        [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]];
    if MAGICS.iter().any(|magic| head.starts_with(magic)) {
        return true;
    }
    // Old tars have no magic, but all have the sum of the header's bytes, its own field counted as blanks.
    let Some(field) = head.get(148..156).filter(|_| head.len() == 512) else { return false };
    let text = String::from_utf8_lossy(field);
    let said = u32::from_str_radix(text.trim_matches(['\0', ' ']), 8);
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    said == Ok(sum(&head[..148]) + 8 * u32::from(b' ') + sum(&head[156..]))
}

impl TarContext {
    pub(super) fn new(diff_id: DiffId, files: Arc<Stack>, lease: Lease) -> Self {
        Self { diff_id, files, time: None, _lease: lease }
    }

    /// Notes when what it holds was made, in seconds since 1970.
    pub(super) fn dated(self, seconds: Option<i64>) -> Self {
        Self { time: seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()), ..self }
    }

    /// When what it holds was made, if that is known: what `SOURCE_DATE_EPOCH=context` means.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.time
    }

    pub(super) fn files(&self) -> Arc<Stack> {
        Arc::clone(&self.files)
    }

    /// A regular file's bytes; `None` if there is no such file. Links are followed inside the context.
    ///
    /// # Errors
    /// A tar that cannot be read, or a file of more than `limit` bytes.
    pub fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, EngineError> {
        let unreadable = |error: LayerError| EngineError::layer(format!("{path} in the context"), error);
        let found = resolve(&*self.files, path.as_bytes()).map_err(unreadable)?;
        let Some((real, entry)) = found.filter(|(_, entry)| entry.is_file()) else { return Ok(None) };
        if entry.metadata.size > limit {
            return Err(EngineError::Invalid(format!(
                "{path} has {} bytes, more than {limit}",
                entry.metadata.size
            )));
        }
        let mut bytes = Vec::new();
        SourceTree::open(&*self.files, &real, &entry).map_err(unreadable)?.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}
