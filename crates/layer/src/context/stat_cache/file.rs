//! The bytes of a stat cache.
//!
//! Little endian: magic (8); for each directory a *block*, the records of its files sorted by name, then the names;
//! the *table*, for each directory 40 bytes sorted by path (where its path ends among the paths, 8; where its block
//! begins, 8; the block's length, 4; number of records, 4; the first half of the block's BLAKE3, 16), then the paths;
//! the DiffIds of layers that records speak of, 32 each; last where the table begins, the number of directories and of
//! layers (8 each), and BLAKE3 of everything from the table to here.
//!
//! The table is kept in memory and a block is read when somebody looks at its directory, so that what a build holds
//! does not grow with the number of files. What does not fit in every respect does not exist.
use super::record::{RECORD, Record, part};
use crate::LayerError;
use crate::tree::Place;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use strata_oci::{DiffId, Digest};

const MAGIC: &[u8; 8] = b"stratSC2";
const DIRECTORY: usize = 40;
const FOOTER: usize = 24 + SEAL;
const SEAL: usize = 32;
const CHECK: usize = 16;

/// A stat cache's file, open.
#[derive(Default)]
pub(super) struct Loaded {
    file: Option<File>,
    /// Directories, paths, layers.
    table: Vec<u8>,
    directories: usize,
    layers: usize,
}

/// The records of one directory.
#[derive(Default)]
pub(in crate::context) struct Block {
    bytes: Vec<u8>,
    count: usize,
}

impl Loaded {
    /// `None` if it is not there, or anything about it is wrong.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let file = fs_err::File::open(path).ok()?.into_parts().0;
        let length = file.metadata().ok()?.len();
        let footer_at = length.checked_sub(FOOTER as u64)?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0).ok()?;
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, footer_at).ok()?;
        let number = |at| u64::from_le_bytes(part(&footer, at));
        let size = usize::try_from(footer_at.checked_sub(number(0))?).ok()?;
        let mut table = vec![0; size];
        file.read_exact_at(&mut table, number(0)).ok()?;
        let seal = *blake3::Hasher::new().update(&table).update(&footer[..24]).finalize().as_bytes();
        if magic != *MAGIC || seal[..] != footer[24..] {
            return None;
        }
        let (directories, layers) = (usize::try_from(number(8)).ok()?, usize::try_from(number(16)).ok()?);
        let paths = directories.checked_mul(DIRECTORY)?.checked_add(layers.checked_mul(SEAL)?)?;
        let paths = size.checked_sub(paths)?;
        let loaded = Self { file: Some(file), table, directories, layers };
        let ends = (0..directories).map(|at| loaded.path_end(at));
        let is_sound = ends.clone().zip(ends.skip(1)).all(|(end, next)| end <= next);
        (is_sound && (directories == 0 || loaded.path_end(directories - 1) == paths)).then_some(loaded)
    }

    /// Number of directories.
    pub(super) fn count(&self) -> usize {
        self.directories
    }

    fn path_end(&self, at: usize) -> usize {
        let end = u64::from_le_bytes(part(&self.table, at * DIRECTORY));
        usize::try_from(end).unwrap_or(usize::MAX)
    }

    /// Path of a directory.
    pub(super) fn path(&self, at: usize) -> &[u8] {
        let paths = self.directories * DIRECTORY;
        let start = at.checked_sub(1).map_or(0, |before| self.path_end(before));
        &self.table[paths + start..paths + self.path_end(at)]
    }

    /// Number of files that are known in a directory.
    pub(super) fn records(&self, at: usize) -> usize {
        u32::from_le_bytes(part(&self.table, at * DIRECTORY + 20)) as usize
    }

    /// The layers that records speak of, by their numbers.
    pub(super) fn layers(&self) -> impl Iterator<Item = DiffId> + '_ {
        let start = self.table.len() - self.layers * SEAL;
        self.table[start..].as_chunks::<SEAL>().0.iter().map(|bytes| DiffId::new(Digest::from_bytes(*bytes)))
    }

    /// What is known of the files of a directory.
    pub(super) fn block_of(&self, directory: &[u8]) -> Option<Block> {
        let (mut low, mut high) = (0, self.directories);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.path(middle).cmp(directory) {
                std::cmp::Ordering::Equal => return self.block(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The same for the directory at `at` of the table.
    pub(super) fn block(&self, at: usize) -> Option<Block> {
        let entry: [u8; DIRECTORY] = part(&self.table, at * DIRECTORY);
        let start = u64::from_le_bytes(part(&entry, 8));
        let length = u32::from_le_bytes(part(&entry, 16)) as usize;
        // A block is in front of the table, whose place and length are sealed, and so is this one's.
        let mut bytes = vec![0; length];
        self.file.as_ref()?.read_exact_at(&mut bytes, start).ok()?;
        if blake3::hash(&bytes).as_bytes()[..CHECK] != entry[24..] {
            return None;
        }
        Some(Block { bytes, count: self.records(at) })
    }
}

impl Block {
    fn name(&self, at: usize) -> &[u8] {
        let end = |at: usize| u32::from_le_bytes(part(&self.bytes, at * RECORD)) as usize;
        let names = self.count * RECORD;
        &self.bytes[names + at.checked_sub(1).map_or(0, end)..names + end(at)]
    }

    fn record(&self, at: usize) -> Record {
        Record::decode(&part(&self.bytes, at * RECORD))
    }

    /// The record of a file.
    pub(in crate::context) fn find(&self, name: &[u8]) -> Option<Record> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name(middle).cmp(name) {
                std::cmp::Ordering::Equal => return Some(self.record(middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Names and records, sorted by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Record)> {
        (0..self.count).map(|at| (self.name(at), self.record(at)))
    }
}

/// Writes a stat cache, directory by directory.
pub(super) struct Writer<'a> {
    out: BufWriter<fs_err::File>,
    at: u64,
    table: Vec<u8>,
    paths: Vec<u8>,
    directories: u64,
    /// Those that the caller's numbers mean.
    known_layers: &'a [DiffId],
    /// Those that are written, and their new numbers.
    layers: Vec<DiffId>,
    numbers: HashMap<DiffId, u16>,
}

impl<'a> Writer<'a> {
    /// `known_layers` are those that the records' numbers mean.
    pub(super) fn new(file: fs_err::File, known_layers: &'a [DiffId]) -> std::io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        out.write_all(MAGIC)?;
        Ok(Self {
            out,
            at: MAGIC.len() as u64,
            table: Vec::new(),
            paths: Vec::new(),
            directories: 0,
            known_layers,
            layers: Vec::new(),
            numbers: HashMap::new(),
        })
    }

    /// Adds a directory; they come sorted by path, and their files sorted by name. Nothing is written for none.
    pub(super) fn directory(&mut self, path: &[u8], files: &[(&[u8], Record)]) -> std::io::Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let mut block = Vec::with_capacity(files.len() * (RECORD + 16));
        let mut end = 0;
        for (name, record) in files {
            end += name.len() as u32;
            let place = record.place.and_then(|place| self.renumber(place));
            record.with_place(place).encode(end, &mut block);
        }
        files.iter().for_each(|(name, _)| block.extend_from_slice(name));
        self.paths.extend_from_slice(path);
        self.table.extend_from_slice(&(self.paths.len() as u64).to_le_bytes());
        self.table.extend_from_slice(&self.at.to_le_bytes());
        self.table.extend_from_slice(&(block.len() as u32).to_le_bytes());
        self.table.extend_from_slice(&(files.len() as u32).to_le_bytes());
        self.table.extend_from_slice(&blake3::hash(&block).as_bytes()[..CHECK]);
        self.directories += 1;
        self.at += block.len() as u64;
        self.out.write_all(&block)
    }

    fn renumber(&mut self, place: Place) -> Option<Place> {
        let layer = *self.known_layers.get(usize::from(place.layer()))?;
        let next = u16::try_from(self.layers.len()).ok().filter(|next| *next < u16::MAX);
        let number = match (self.numbers.get(&layer), next) {
            (Some(number), _) => *number,
            (None, next) => {
                self.layers.push(layer);
                *self.numbers.entry(layer).or_insert(next?)
            }
        };
        Some(place.in_layer(number))
    }

    pub(super) fn finish(mut self) -> Result<(), LayerError> {
        let mut table = self.table;
        table.append(&mut self.paths);
        self.layers.iter().for_each(|layer| table.extend_from_slice(layer.digest().as_bytes()));
        let mut footer = Vec::with_capacity(FOOTER);
        for number in [self.at, self.directories, self.layers.len() as u64] {
            footer.extend_from_slice(&number.to_le_bytes());
        }
        let seal = blake3::Hasher::new().update(&table).update(&footer).finalize();
        self.out.write_all(&table)?;
        self.out.write_all(&footer)?;
        self.out.write_all(seal.as_bytes())?;
        Ok(self.out.flush()?)
    }
}
