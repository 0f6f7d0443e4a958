//! The index: an EROFS image, then our section of content digests.
//!
//! The section begins where the image ends (a multiple of 4096 bytes), little endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `strataX1` |
//! | 8 | 8 | length of the tar that the image's device slot stands for |
//! | 16 | 8 | number of records, n |
//! | 24 | 40 n | records: nid (8), BLAKE3 of the file's bytes (32); sorted by nid, one per regular file |
//! | 24 + 40 n | 32 | BLAKE3 of the whole index before this field, image included |
//!
//! The last field is what makes a damaged index an error at open: the EROFS checksum covers only the superblock.

use crate::{ContentDigest, LayerError};
use std::io::Write;
use strata_erofs::Image;

const MAGIC: &[u8; 8] = b"strataX1";
const HEADER: usize = 24;
const RECORD: usize = 40;
const SEAL: usize = 32;

/// The section after the image: what EROFS has no field for.
pub(crate) struct Digests {
    tar_length: u64,
    records: Vec<u8>,
}

impl Digests {
    /// Content digest of the regular file at `nid`.
    pub(crate) fn get(&self, nid: u64) -> Option<ContentDigest> {
        let records = self.records.as_chunks::<RECORD>().0;
        let found = records.binary_search_by_key(&nid, |record| number(&record[..8])).ok()?;
        Some(ContentDigest(records[found][8..].try_into().expect("a record ends with 32 bytes")))
    }

    /// Length in bytes of the tar this index was made for.
    pub(crate) fn tar_length(&self) -> u64 {
        self.tar_length
    }
}

/// Turns an image that is written into it into an index.
pub(crate) struct Sealer<'a> {
    out: &'a mut dyn Write,
    hash: blake3::Hasher,
}

impl<'a> Sealer<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, hash: blake3::Hasher::new() }
    }

    /// The image is complete: writes the section behind it, of `count` digests in the order of their nids.
    pub(crate) fn finish(
        mut self,
        tar_length: u64,
        count: u64,
        digests: impl Iterator<Item = (u64, ContentDigest)>,
    ) -> Result<(), LayerError> {
        let mut buffer = Vec::with_capacity(1 << 16);
        buffer.extend_from_slice(MAGIC);
        buffer.extend_from_slice(&tar_length.to_le_bytes());
        buffer.extend_from_slice(&count.to_le_bytes());
        for (nid, digest) in digests {
            if buffer.len() + RECORD > buffer.capacity() {
                self.write_all(&buffer)?;
                buffer.clear();
            }
            buffer.extend_from_slice(&nid.to_le_bytes());
            buffer.extend_from_slice(&digest.0);
        }
        self.write_all(&buffer)?;
        let seal = self.hash.finalize();
        self.out.write_all(seal.as_bytes())?;
        Ok(self.out.flush()?)
    }
}

impl Write for Sealer<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Takes an index apart into the image and its content digests, both checked.
pub(crate) fn read_digests(mut index: Vec<u8>) -> Result<(Image<Vec<u8>>, Digests), LayerError> {
    let image_length = Image::open(index.as_slice())?.length();
    let end = usize::try_from(image_length).unwrap_or(usize::MAX);
    let damaged = |what| LayerError::Digests { at: image_length, what };
    let section = index.get(end..).ok_or_else(|| damaged("missing: the index is cut off"))?;
    if section.len() < HEADER + SEAL || &section[..8] != MAGIC {
        return Err(damaged("missing or of an unknown version"));
    }
    let records = (section.len() - HEADER - SEAL) as u64;
    if number(&section[16..24]).checked_mul(RECORD as u64) != Some(records) {
        return Err(damaged("their number does not fit the length of the index"));
    }
    let (sealed, seal) = index.split_at(index.len() - SEAL);
    if blake3::hash(sealed).as_bytes() != seal {
        return Err(damaged("the checksum of the index is wrong"));
    }
    let tar_length = number(&index[end + 8..end + 16]);
    index.truncate(index.len() - SEAL);
    let records = index.split_off(end + HEADER);
    index.truncate(end);
    Ok((Image::open(index)?, Digests { tar_length, records }))
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("callers pass 8 bytes"))
}
