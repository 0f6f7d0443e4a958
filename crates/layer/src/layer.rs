//! An opened layer: index in memory, tar by offset.
use crate::{ContentDigest, LayerError};
use std::fs::File;
use std::path::Path;

/// The pair of one layer's index and tar.
pub struct Layer {
    _tar: File,
}

impl Layer {
    /// Opens a layer from its index bytes and its tar. Offsets are checked against the tar's length.
    pub fn open(_index: Vec<u8>, _tar: File) -> Result<Self, LayerError> {
        todo!()
    }
    /// The index.
    pub fn image(&self) -> &strata_erofs::Image<Vec<u8>> {
        todo!()
    }
    /// Content digest of a regular file, from the index's own section.
    pub fn content_digest(&self, _nid: u64) -> Option<ContentDigest> {
        todo!()
    }
    /// Reads file bytes at an offset; 0 at the end.
    pub fn read_at(&self, _nid: u64, _buffer: &mut [u8], _offset: u64) -> Result<usize, LayerError> {
        todo!()
    }
    /// Unpacks the layer below `directory` exactly as the kernel would show the mounted pair: whiteouts as
    /// char devices 0:0, opaque directories by xattr (tree mode).
    pub fn unpack(&self, _directory: &Path) -> Result<(), LayerError> {
        todo!()
    }
}
