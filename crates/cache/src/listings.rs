//! The names of the files that steps copied, so that whoever misses one of these steps elsewhere is told which file differs.
//!
//! They are a blob of the place's own kind, which nobody fetches who has not to explain a miss. The config names it like a
//! layer that no record stands on: readers of BuildKit's format see that it belongs to the cache, and never look into it.
use crate::Content;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use strata_build::FileEntry;
use strata_oci::{Descriptor, DiffId, Digest};

/// Media type of the blob.
pub const LISTINGS_TYPE: &str = "application/vnd.strata.cache.listings.v1+zstd";

/// The longest blob that is read, bytes.
const PACKED_LIMIT: u64 = 8 << 20;
/// What all listings of a cache may take before they are compressed, bytes: some 150,000 files.
const LIMIT: usize = 16 << 20;
/// zstd's; the blob is small, and written once.
const LEVEL: i32 = 9;

/// Files by the digest that stands for them in the keys of steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listings(BTreeMap<Digest, Vec<FileEntry>>);

/// Listings as a blob.
#[derive(Clone, Debug)]
pub struct Packed {
    bytes: Vec<u8>,
    digest: Digest,
    name: DiffId,
    /// Listings that were too long.
    pub left_out: usize,
}

/// Why a blob of listings is none.
#[derive(Debug, thiserror::Error)]
pub enum ListingsError {
    /// It cannot be read, or is not zstd.
    #[error("the list of files cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Not the JSON that it should be.
    #[error("the list of files cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// More than anybody writes.
    #[error("the list of files is too long")]
    TooLong,
    /// Something else than was exported.
    #[error("the list of files has the digest {found}, not {expected}")]
    WrongDigest {
        /// By the config.
        expected: Digest,
        /// Of what came.
        found: Digest,
    },
}

impl Listings {
    /// Adds the files of a digest; none are nothing to be told.
    pub fn add(&mut self, files: Digest, entries: Vec<FileEntry>) {
        if !entries.is_empty() {
            self.0.insert(files, entries);
        }
    }

    /// The files of a digest.
    pub fn get(&self, files: &Digest) -> Option<&[FileEntry]> {
        self.0.get(files).map(Vec::as_slice)
    }

    /// As a blob, the same bytes for the same listings; `None` if there are none. Where all of them are too much, the
    /// longest are left out.
    pub fn pack(&self) -> Option<Packed> {
        let line = |(files, entries): (&Digest, &Vec<FileEntry>)| {
            let mut line =
                serde_json::to_vec(&(files, entries)).expect("strings and numbers have a JSON form");
            line.push(b'\n');
            (*files, line)
        };
        let mut lines: Vec<(Digest, Vec<u8>)> = self.0.iter().map(line).collect();
        let all = lines.len();
        lines.sort_by_key(|(files, line)| (line.len(), *files));
        let mut left = LIMIT;
        lines.retain(|(_, line)| {
            let fits = line.len() <= left;
            left -= if fits { line.len() } else { 0 };
            fits
        });
        lines.sort();
        let (left_out, plain) = (all - lines.len(), lines.into_iter().flat_map(|(_, line)| line));
        let plain: Vec<u8> = plain.collect();
        if plain.is_empty() {
            return None;
        }
        let bytes = zstd::bulk::compress(&plain, LEVEL).expect("memory takes what is written to it");
        let (digest, name) = (Digest::of(&bytes), DiffId::new(Digest::of(&plain)));
        Some(Packed { bytes, digest, name, left_out })
    }

    /// Reads a blob, as far as anybody writes one, and checks its digest.
    ///
    /// # Errors
    /// [`ListingsError`].
    pub fn read(blob: &Descriptor, reader: impl Read) -> Result<Self, ListingsError> {
        let mut bytes = Vec::new();
        reader.take(PACKED_LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > PACKED_LIMIT {
            return Err(ListingsError::TooLong);
        }
        let found = Digest::from_bytes(Sha256::digest(&bytes).into());
        if found != blob.digest {
            return Err(ListingsError::WrongDigest { expected: blob.digest, found });
        }
        let mut plain = Vec::new();
        let most = LIMIT as u64;
        zstd::Decoder::new(&bytes[..])?.take(most + 1).read_to_end(&mut plain)?;
        if plain.len() as u64 > most {
            return Err(ListingsError::TooLong);
        }
        let lines = plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(Self(lines.map(serde_json::from_slice).collect::<Result<_, _>>()?))
    }
}

impl Packed {
    /// The blob.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(LISTINGS_TYPE, self.digest, self.bytes.len() as u64)
    }

    /// The digest of what is compressed.
    pub fn diff_id(&self) -> DiffId {
        self.name
    }
}

impl Content for Packed {
    fn name(&self) -> &Digest {
        self.name.digest()
    }

    fn known(&self) -> Option<(Digest, u64)> {
        Some((self.digest, self.bytes.len() as u64))
    }

    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let mut reader = Cursor::new(&self.bytes[..]);
        reader.set_position(offset);
        Ok(Box::new(reader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_build::FileKind;

    fn files(count: usize, name: &str) -> Vec<FileEntry> {
        let entry = |number| FileEntry {
            path: format!("{name}/{number}"),
            kind: FileKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 7,
            content: "00112233".to_owned(),
        };
        (0..count).map(entry).collect()
    }

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn what_is_packed_is_read() {
        let mut listings = Listings::default();
        assert!(listings.pack().is_none());
        listings.add(digest("a"), files(3, "src"));
        listings.add(digest("b"), files(1, "a\nb \u{fffd}"));
        listings.add(digest("c"), Vec::new());
        let packed = listings.pack().expect("two");
        let read = |offset| packed.open(offset).expect("memory");
        assert_eq!(Listings::read(&packed.descriptor(), read(0)).expect("whole"), listings);
        assert_eq!((listings.get(&digest("a")).map(<[_]>::len), listings.get(&digest("c"))), (Some(3), None));
        assert_eq!(packed.bytes, listings.pack().expect("two").bytes);
        assert!(matches!(
            Listings::read(&packed.descriptor(), read(1)),
            Err(ListingsError::WrongDigest { .. })
        ));
    }

    #[test]
    fn the_longest_are_left_out_where_all_are_too_much() {
        let mut listings = Listings::default();
        let long = files(LIMIT / 100, "directory/of/a/name/that/takes/some/room");
        listings.add(digest("long"), long.clone());
        listings.add(digest("short"), files(2, "x"));
        let packed = listings.pack().expect("one");
        assert_eq!(packed.left_out, 1);
        let read = Listings::read(&packed.descriptor(), packed.open(0).expect("memory")).expect("whole");
        assert!(read.get(&digest("short")).is_some() && read.get(&digest("long")).is_none());
    }

    /// Zeros compress to next to nothing.
    #[test]
    fn a_bomb_is_stopped() {
        let bytes = zstd::bulk::compress(&vec![b'\n'; LIMIT + 1], 1).expect("compressed");
        let blob = Descriptor::new(LISTINGS_TYPE, Digest::of(&bytes), bytes.len() as u64);
        assert!(matches!(Listings::read(&blob, &bytes[..]), Err(ListingsError::TooLong)));
        let endless = Listings::read(&blob, io::repeat(0));
        assert!(matches!(endless, Err(ListingsError::TooLong)));
    }
}
