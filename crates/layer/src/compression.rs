//! Compression of layers and archives, told apart by content.
//!
//! All decoders stream and are written in Rust, except zstd's. Streams of several members or frames are
//! read to their end, as `gzip -d` and `zstd -d` do.
mod blocks;
mod crew;
mod recipe;

pub use blocks::{BlockReader, Blocks};
pub use crew::Crew;
pub use recipe::{Recipe, RecipeError};

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};

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

/// Bytes read at once from a compressed stream.
const BUFFER: usize = 128 << 10;

impl Compression {
    /// So many bytes tell.
    pub const HEAD: usize = 6;

    /// Told by the first bytes.
    pub fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or a skippable frame before one (RFC 8878, sections 3.1.1 and 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// The uncompressed bytes of `input`, whatever its compression.
///
/// # Errors
/// What reading the first bytes gives. A stream that is damaged or cut off is an error of the reads that follow.
pub fn decompress<'a>(mut input: Box<dyn Read + Send + 'a>) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut head = Vec::with_capacity(Compression::HEAD);
    input.by_ref().take(Compression::HEAD as u64).read_to_end(&mut head)?;
    let compression = Compression::detect(&head);
    let input = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(input));
    decompress_as(compression, input)
}

/// The uncompressed bytes of `input`, which is known to be compressed like this.
///
/// # Errors
/// When the decoder cannot be set up.
pub fn decompress_as<'a>(
    compression: Compression,
    input: impl BufRead + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new(input, true)),
    })
}

/// Compresses what is written into it. The same bytes always give the same output: no time, no name in the header.
pub struct Compressor<W: Write>(Encoder<W>);

enum Encoder<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// `level` as `gzip` (0 to 9, 6 if `None`) and `zstd` (1 to 22, 3 if `None`) number them.
    ///
    /// # Errors
    /// For bzip2 and xz, which nothing writes into an image; for a level that does not exist.
    pub fn new(compression: Compression, level: Option<u32>, out: W) -> io::Result<Self> {
        let refuse = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        Ok(Self(match (compression, level) {
            (Compression::None, _) => Encoder::None(out),
            (Compression::Gzip, Some(level @ 10..)) => {
                return refuse(format!("gzip has levels 0 to 9, not {level}"));
            }
            (Compression::Gzip, level) => {
                Encoder::Gzip(GzBuilder::new().write(out, flate2::Compression::new(level.unwrap_or(6))))
            }
            (Compression::Zstd, Some(level @ (0 | 23..))) => {
                return refuse(format!("zstd has levels 1 to 22, not {level}"));
            }
            (Compression::Zstd, level) => {
                let mut encoder =
                    zstd::stream::write::Encoder::new(out, level.map_or(3, |level| level as i32))?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
            (Compression::Bzip2 | Compression::Xz, _) => {
                return refuse("layers are compressed with gzip or zstd, not bzip2 or xz".into());
            }
        }))
    }

    /// Writes the end of the compressed stream and gives the output back.
    ///
    /// # Errors
    /// What writing gives.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Encoder::None(mut out) => {
                out.flush()?;
                Ok(out)
            }
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Encoder::None(out) => out.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Encoder::None(out) => out.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests;
