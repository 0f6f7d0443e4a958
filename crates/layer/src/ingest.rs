//! Tars from outside.
use crate::{Contents, LayerError, LayerInfo};
use std::io::{Read, Write};

/// Bounds on what a tar from outside may claim.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members.
    pub entries: u64,
    /// Bytes of tar.
    pub tar_length: u64,
    /// Bytes of one PAX header or GNU long name.
    pub header: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 20_000_000, tar_length: 1 << 40, header: 64 << 20 }
    }
}

/// Copies an uncompressed tar of any dialect byte for byte from `tar` to `out`, hashing and indexing it on the
/// way. Reads to the end of input, so that trailing bytes belong to the DiffId as they do for Docker.
pub fn ingest(
    _tar: &mut dyn Read,
    _out: &mut dyn Write,
    _limits: &Limits,
) -> Result<(LayerInfo, Contents), LayerError> {
    todo!()
}
