//! Where data are: flat, inline and chunked.

use super::error::damaged;
use super::inode::Located;
use super::{Image, Nid, ReadError, Region, Source};
use crate::FileType;
use crate::format::inode::Layout;
use crate::format::{CHUNK_BITS_MASK, CHUNK_ENTRY_SIZE, CHUNK_INDEXES, LINK_MAX, NO_BLOCK, get};

/// Size of a chunk entry that only has a block address.
const BLOCK_ENTRY_SIZE: u64 = 4;

/// Data of one inode that lie in the image, in two runs.
pub(super) struct Flat<'a> {
    /// Offset of the whole blocks.
    blocks_at: u64,
    /// Whole blocks; without an inline tail the last one may be cut.
    pub(super) blocks: &'a [u8],
    tail_at: u64,
    /// What follows, inline; at most one block.
    pub(super) tail: &'a [u8],
}

/// Finds the data of a plain or inline inode.
pub(super) fn flat<'a, B: AsRef<[u8]>>(image: &'a Image<B>, inode: &Located) -> Result<Flat<'a>, ReadError> {
    let size = inode.header.size;
    let tail_length = match inode.header.layout {
        Layout::Plain => 0,
        // A last block that is full stands inline as well.
        Layout::Inline if size > 0 => (size - 1) % image.block_size() + 1,
        Layout::Inline => 0,
        Layout::Chunked => return Err(damaged(inode.at, "a chunk index where data should be")),
    };
    let tail_at = inode.data_at();
    if tail_at % image.block_size() + tail_length > image.block_size() {
        return Err(damaged(tail_at, "inline data cross a block boundary"));
    }
    let length = size - tail_length;
    let blocks_at = u64::from(inode.header.union) << image.superblock.block_bits;
    let blocks = if length == 0 { &[] } else { image.slice(blocks_at, length)? };
    let tail = if tail_length == 0 { &[] } else { image.slice(tail_at, tail_length)? };
    Ok(Flat { blocks_at, blocks, tail_at, tail })
}

pub(super) fn read_link<B: AsRef<[u8]>>(image: &Image<B>, nid: Nid) -> Result<Vec<u8>, ReadError> {
    let inode = image.header_of(nid, FileType::Symlink, "symlink")?;
    if inode.header.size == 0 || inode.header.size > LINK_MAX as u64 {
        return Err(damaged(inode.at + 8, "symlink target is empty or over 4095 bytes"));
    }
    let flat = flat(image, &inode)?;
    Ok([flat.blocks, flat.tail].concat())
}

pub(super) fn regions<B: AsRef<[u8]>>(image: &Image<B>, nid: Nid) -> Result<Vec<Region>, ReadError> {
    let inode = image.header_of(nid, FileType::Regular, "regular file")?;
    let mut regions = Vec::new();
    if inode.header.layout == Layout::Chunked {
        chunks(image, &inode, &mut regions)?;
    } else {
        let flat = flat(image, &inode)?;
        push(&mut regions, flat.blocks.len() as u64, Source::Image(flat.blocks_at));
        push(&mut regions, flat.tail.len() as u64, Source::Image(flat.tail_at));
    }
    Ok(regions)
}

fn chunks<B: AsRef<[u8]>>(
    image: &Image<B>,
    inode: &Located,
    regions: &mut Vec<Region>,
) -> Result<(), ReadError> {
    let size = inode.header.size;
    let format = inode.header.union as u16;
    if inode.header.union > u32::from(CHUNK_INDEXES | CHUNK_BITS_MASK) {
        return Err(damaged(inode.at + 16, "unknown chunk format"));
    }
    let has_devices = format & CHUNK_INDEXES != 0;
    let entry_size = if has_devices { CHUNK_ENTRY_SIZE } else { BLOCK_ENTRY_SIZE };
    let chunk = image.block_size() << (format & CHUNK_BITS_MASK);
    let table_at = inode.data_at().next_multiple_of(entry_size);
    let table_length = size.div_ceil(chunk).checked_mul(entry_size);
    let table_length = table_length.ok_or_else(|| damaged(inode.at + 8, "file size is absurd"))?;
    let table = image.slice(table_at, table_length)?;
    let mut left = size;
    for (entry, at) in table.chunks_exact(entry_size as usize).zip((table_at..).step_by(entry_size as usize))
    {
        let (device, block) = if has_devices {
            (u16::from_le_bytes(get(entry, 2)), u32::from_le_bytes(get(entry, 4)))
        } else {
            (0, u32::from_le_bytes(get(entry, 0)))
        };
        let length = left.min(chunk);
        push(regions, length, chunk_source(image, device, block, length, at)?);
        left -= length;
    }
    Ok(())
}

fn chunk_source<B: AsRef<[u8]>>(
    image: &Image<B>,
    device: u16,
    block: u32,
    length: u64,
    at: u64,
) -> Result<Source, ReadError> {
    let offset = u64::from(block) << image.superblock.block_bits;
    match device {
        _ if block == NO_BLOCK => Ok(Source::Hole),
        0 => image.slice(offset, length).map(|_| Source::Image(offset)),
        slot if slot <= image.devices() => Ok(Source::Device(slot, offset)),
        _ => Err(damaged(at, "chunk is in a device that does not exist")),
    }
}

/// Appends a run, or lengthens the last one if this continues it.
fn push(regions: &mut Vec<Region>, length: u64, source: Source) {
    if length == 0 {
        return;
    }
    let logical = regions.last().map_or(0, |last| last.logical + last.length);
    match regions.last_mut() {
        Some(last) if continued(last) == Some(source) => last.length += length,
        _ => regions.push(Region { logical, length, source }),
    }
}

/// Where the bytes right behind a run are, if they are where the run's are.
fn continued(region: &Region) -> Option<Source> {
    match region.source {
        Source::Device(slot, offset) => {
            offset.checked_add(region.length).map(|end| Source::Device(slot, end))
        }
        Source::Image(offset) => offset.checked_add(region.length).map(Source::Image),
        Source::Hole => Some(Source::Hole),
    }
}
