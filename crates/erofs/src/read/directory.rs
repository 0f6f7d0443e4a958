//! Directories: search and listing.

use super::data::{Flat, flat};
use super::error::damaged;
use super::{DirEntry, Image, Nid, ReadError};
use crate::FileType;
use crate::format::{DIRENT_SIZE, NAME_MAX, get};
use std::cmp::Ordering;

/// One block of a directory: entries, then their names.
struct Block<'a> {
    bytes: &'a [u8],
    /// Number of entries, at least 1.
    count: usize,
    /// Offset of the directory's inode, for messages.
    at: u64,
}

impl<'a> Block<'a> {
    fn new(bytes: &'a [u8], at: u64) -> Result<Self, ReadError> {
        let names_at =
            if bytes.len() < DIRENT_SIZE { 0 } else { usize::from(u16::from_le_bytes(get(bytes, 8))) };
        if names_at == 0 || names_at % DIRENT_SIZE != 0 || names_at >= bytes.len() {
            return Err(damaged(at, "directory block has no entries, or names begin in an impossible place"));
        }
        Ok(Self { bytes, count: names_at / DIRENT_SIZE, at })
    }

    fn name_offset(&self, index: usize) -> usize {
        usize::from(u16::from_le_bytes(get(self.bytes, index * DIRENT_SIZE + 8)))
    }

    fn name(&self, index: usize) -> Result<&'a [u8], ReadError> {
        let last = index + 1 == self.count;
        let end = if last { self.bytes.len() } else { self.name_offset(index + 1) };
        let start = self.name_offset(index);
        let name = if start < self.count * DIRENT_SIZE { None } else { self.bytes.get(start..end) };
        let mut name = name.ok_or_else(|| damaged(self.at, "directory names are outside their block"))?;
        if last {
            name = name.split(|byte| *byte == 0).next().unwrap_or(name);
        }
        let possible =
            (1..=NAME_MAX).contains(&name.len()) && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
        if possible { Ok(name) } else { Err(damaged(self.at, "directory has an impossible name")) }
    }

    fn entry(&self, index: usize) -> Result<DirEntry<'a>, ReadError> {
        let at = index * DIRENT_SIZE;
        let file_type = FileType::from_dirent_code(self.bytes[at + 10]);
        Ok(DirEntry {
            name: self.name(index)?,
            nid: u64::from_le_bytes(get(self.bytes, at)),
            file_type: file_type.ok_or_else(|| damaged(self.at, "directory entry has an unknown type"))?,
        })
    }
}

/// A directory's blocks.
struct Blocks<'a> {
    data: Flat<'a>,
    block_size: usize,
    at: u64,
}

impl<'a> Blocks<'a> {
    fn of<B: AsRef<[u8]>>(image: &'a Image<B>, directory: Nid) -> Result<Self, ReadError> {
        let inode = image.header_of(directory, FileType::Directory, "directory")?;
        Ok(Self { data: flat(image, &inode)?, block_size: image.block_size() as usize, at: inode.at })
    }

    fn count(&self) -> usize {
        self.data.blocks.len().div_ceil(self.block_size) + usize::from(!self.data.tail.is_empty())
    }

    fn get(&self, index: usize) -> Result<Block<'a>, ReadError> {
        let bytes = self.data.blocks.chunks(self.block_size).nth(index).unwrap_or(self.data.tail);
        Block::new(bytes, self.at)
    }
}

pub(super) fn lookup<'a, B: AsRef<[u8]>>(
    image: &'a Image<B>,
    directory: Nid,
    name: &[u8],
) -> Result<Option<DirEntry<'a>>, ReadError> {
    let blocks = Blocks::of(image, directory)?;
    // The last block whose first name is not after `name`.
    let Some(index) = last_not_after(blocks.count(), name, |index| blocks.get(index)?.name(0))? else {
        return Ok(None);
    };
    let block = blocks.get(index)?;
    match last_not_after(block.count, name, |index| block.name(index))? {
        Some(index) if block.name(index)? == name => block.entry(index).map(Some),
        _ => Ok(None),
    }
}

/// Binary search among `count` sorted names for the last one that is not greater than `name`.
fn last_not_after<'a>(
    count: usize,
    name: &[u8],
    at: impl Fn(usize) -> Result<&'a [u8], ReadError>,
) -> Result<Option<usize>, ReadError> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match at(middle)?.cmp(name) {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return Ok(Some(middle)),
            Ordering::Greater => high = middle,
        }
    }
    Ok(low.checked_sub(1))
}

pub(super) fn entries<'a, B: AsRef<[u8]>>(
    image: &'a Image<B>,
    directory: Nid,
) -> Result<Vec<DirEntry<'a>>, ReadError> {
    let blocks = Blocks::of(image, directory)?;
    let mut entries: Vec<DirEntry<'a>> = Vec::new();
    let mut before: &[u8] = b"";
    for index in 0..blocks.count() {
        let block = blocks.get(index)?;
        for index in 0..block.count {
            let entry = block.entry(index)?;
            if entry.name <= before {
                return Err(damaged(blocks.at, "directory is not sorted"));
            }
            before = entry.name;
            if !matches!(entry.name, b"." | b"..") {
                entries.push(entry);
            }
        }
    }
    check_subdirectories(image, directory, blocks.at, &entries)?;
    Ok(entries)
}

/// Makes sure that the directories form a tree: each is named once, and by its `..`.
fn check_subdirectories<B: AsRef<[u8]>>(
    image: &Image<B>,
    directory: Nid,
    at: u64,
    entries: &[DirEntry<'_>],
) -> Result<(), ReadError> {
    let directories = entries.iter().filter(|entry| entry.file_type == FileType::Directory);
    let mut nids: Vec<Nid> = directories.map(|entry| entry.nid).collect();
    nids.sort_unstable();
    if nids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(damaged(at, "directory names a subdirectory twice"));
    }
    for nid in nids {
        let parent = lookup(image, nid, b"..")?.map(|entry| entry.nid);
        if parent != Some(directory) || nid == image.root() {
            return Err(damaged(at, "directory names a subdirectory of another directory"));
        }
    }
    Ok(())
}
