//! Compression of layers and archives, told apart by content.
use std::io::Read;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, any number of members.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2 (ADD only).
    Bzip2,
    /// xz (ADD only).
    Xz,
}

impl Compression {
    /// Told by the first bytes (6 are enough).
    pub fn detect(_head: &[u8]) -> Self {
        todo!()
    }
}

/// The uncompressed bytes of `input`, whatever its compression.
pub fn decompress<'a>(_input: Box<dyn Read + Send + 'a>) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    todo!()
}
