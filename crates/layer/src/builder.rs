//! Our own tars: canonical and deterministic.
use crate::{ContentDigest, Contents, LayerError, LayerInfo, Metadata};
use std::io::{Read, Write};

/// Streams a new layer's tar into `W`, hashing as it goes. Paths are relative bytes without leading `/` or
/// `./`; `b""` is the root itself. Parents must come before children (they need not come at all).
pub struct LayerBuilder<W> {
    _out: W,
}

impl<W: Write> LayerBuilder<W> {
    /// An empty layer; if nothing is added, its DiffId is that of 1024 zero bytes (`5f70bf18...`).
    pub fn new(_out: W) -> Self {
        todo!()
    }
    /// Adds a directory, symlink (`link` is the target), device, FIFO or socket (becomes an empty file).
    pub fn add(&mut self, _path: &[u8], _metadata: &Metadata, _link: &[u8]) -> Result<(), LayerError> {
        todo!()
    }
    /// Adds a regular file of exactly `metadata.size` bytes. `digest` if it is already known.
    pub fn add_file(
        &mut self,
        _path: &[u8],
        _metadata: &Metadata,
        _content: &mut dyn Read,
        _digest: Option<ContentDigest>,
    ) -> Result<ContentDigest, LayerError> {
        todo!()
    }
    /// Adds a hard link to an entry added before.
    pub fn hard_link(&mut self, _path: &[u8], _target: &[u8]) -> Result<(), LayerError> {
        todo!()
    }
    /// Hides `path` of the layers below (`.wh.NAME`).
    pub fn whiteout(&mut self, _path: &[u8]) -> Result<(), LayerError> {
        todo!()
    }
    /// Hides everything below directory `path` in the layers below (`.wh..wh..opq`).
    pub fn opaque(&mut self, _path: &[u8]) -> Result<(), LayerError> {
        todo!()
    }
    /// Ends the tar and gives the output back.
    pub fn finish(self) -> Result<(W, LayerInfo, Contents), LayerError> {
        todo!()
    }
}
