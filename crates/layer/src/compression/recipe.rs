//! How a layer is compressed: everything that decides the bytes that come out.
use super::Compression;
use libdeflater::{CompressionLvl, Compressor as Deflater};
use std::fmt;
use std::io;
use std::str::FromStr;

/// Counts the changes of what the compressors write for the same input: a new libdeflate or zstd may. The test
/// `recipes_are_what_they_were` says when to add one.
const REVISION: u32 = 1;

/// A way to compress layers. Equal recipes give equal bytes, on any number of cores.
///
/// The uncompressed bytes are cut into blocks of a fixed length, and each becomes a gzip member or a zstd frame of its
/// own. Both formats say that a stream of several is the concatenation of what they hold (RFC 1952, section 2.2; RFC
/// 8878, section 3), so that every reader understands it, and any block can be made again without the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    compression: Compression,
    level: i32,
}

/// A recipe that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// Not a compression of layers.
    #[error("unknown compression {0:?}: use gzip, zstd or uncompressed")]
    Compression(String),
    /// Not a level of this compression.
    #[error("{compression} has levels {lowest} to {highest}, not {level}")]
    Level {
        /// Which compression.
        compression: &'static str,
        /// What was asked for.
        level: i32,
        /// The fastest.
        lowest: i32,
        /// The smallest.
        highest: i32,
    },
}

impl Default for Recipe {
    /// What every registry and every runtime reads, as small as `gzip -6` makes it.
    fn default() -> Self {
        Self { compression: Compression::Gzip, level: 5 }
    }
}

impl Recipe {
    /// The recipe of a compression by name (`gzip`, `zstd`, `uncompressed`) and level: 0 to 9 for gzip, 1 to 22 for
    /// zstd, as their programs number them; without a level a fast one whose result is no larger than the programs'
    /// own default.
    ///
    /// # Errors
    /// For a compression that layers do not have, and for a level that it does not have.
    pub fn new(compression: &str, level: Option<i32>) -> Result<Self, RecipeError> {
        let (compression, name, lowest, highest, default) = match compression {
            "gzip" => (Compression::Gzip, "gzip", 0, 9, Self::default().level),
            "zstd" => (Compression::Zstd, "zstd", 1, 22, 3),
            "uncompressed" => (Compression::None, "uncompressed", 0, 0, 0),
            other => return Err(RecipeError::Compression(other.to_owned())),
        };
        let level = level.unwrap_or(default);
        if !(lowest..=highest).contains(&level) {
            return Err(RecipeError::Level { compression: name, level, lowest, highest });
        }
        Ok(Self { compression, level })
    }

    /// What it makes.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether it makes anything smaller.
    pub fn compresses(&self) -> bool {
        self.compression != Compression::None
    }

    /// Uncompressed bytes of a block; the last one of a layer is shorter.
    pub(super) fn block(&self) -> u64 {
        match self.compression {
            // Longer ones gain less than a hundredth of the size.
            Compression::Gzip => 1 << 20,
            _ => 2 << 20,
        }
    }

    pub(super) fn worker(&self) -> io::Result<Worker> {
        let machine = match self.compression {
            Compression::Gzip => {
                let level = CompressionLvl::new(self.level)
                    .map_err(|_| io::Error::other(format!("libdeflate has no level {}", self.level)))?;
                Machine::Gzip(Deflater::new(level))
            }
            Compression::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(self.level)?;
                compressor.include_checksum(true)?;
                Machine::Zstd(compressor)
            }
            _ => Machine::None,
        };
        Ok(Worker { machine, block: Vec::new(), made: Vec::new() })
    }
}

/// A name to remember results by: `gzip-5.1`.
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compression {
            Compression::Gzip => write!(f, "gzip-{}.{REVISION}", self.level),
            Compression::Zstd => write!(f, "zstd-{}.{REVISION}", self.level),
            _ => f.write_str("uncompressed"),
        }
    }
}

impl FromStr for Recipe {
    type Err = RecipeError;

    /// Reads a remembered name; one of another revision is unknown, because its bytes cannot be made any more.
    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let unknown = || RecipeError::Compression(text.to_owned());
        let recipe = match text.split_once('-') {
            None => Self::new(text, None)?,
            Some((name, level)) => {
                let level = level.strip_suffix(&format!(".{REVISION}")).ok_or_else(unknown)?;
                Self::new(name, Some(level.parse().map_err(|_| unknown())?))?
            }
        };
        if recipe.to_string() == text { Ok(recipe) } else { Err(unknown()) }
    }
}

/// Compresses blocks, one after the other. Its buffers live as long as it does: large ones that come and go between
/// threads are kept by the allocator, in each of them.
pub(super) struct Worker {
    machine: Machine,
    block: Vec<u8>,
    made: Vec<u8>,
}

enum Machine {
    None,
    Gzip(Deflater),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Worker {
    /// The member or frame of the block that `read` fills a buffer with.
    pub(super) fn compress(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        read(&mut self.block)?;
        let length = match &mut self.machine {
            Machine::None => return Ok(self.block.clone()),
            Machine::Gzip(deflater) => {
                self.made.resize(deflater.gzip_compress_bound(self.block.len()), 0);
                deflater.gzip_compress(&self.block, &mut self.made).map_err(io::Error::other)?
            }
            Machine::Zstd(compressor) => {
                self.made.resize(zstd::zstd_safe::compress_bound(self.block.len()), 0);
                compressor.compress_to_buffer(&self.block, &mut self.made[..])?
            }
        };
        Ok(self.made[..length].to_vec())
    }
}
