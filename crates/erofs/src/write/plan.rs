//! Where everything goes: order, sizes and addresses.

use super::chunks::{self, BLOCK_BITS};
use super::directory::{self, Names};
use super::error::shown;
use super::{InodeId, Node, WriteError};
use crate::format::inode::{COMPACT_SIZE, EXTENDED_SIZE, Layout};
use crate::format::{CHUNK_ENTRY_SIZE, NID_UNIT, NO_BLOCK, superblock};
use crate::{BLOCK, Data, Kind};
use std::collections::HashMap;

/// The image is padded to this, the page size of most machines.
const PAD: u64 = 4096;
/// Chunk entries of one image, together: 512 MiB. A small hostile tar could ask for any number.
const CHUNKS_MAX: u64 = 1 << 26;

/// The layout of an image.
pub(super) struct Plan {
    /// Every inode, in the order of the image: the root first.
    pub(super) order: Vec<InodeId>,
    /// Indexed by [`InodeId`].
    pub(super) places: Vec<Place>,
    /// Time of the compact inodes: seconds, nanoseconds.
    pub(super) epoch: (i64, u32),
    /// Length of each device.
    pub(super) device_blocks: Vec<u32>,
    /// Length of the image, padding included.
    pub(super) blocks: u32,
}

/// Where an inode and its data are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Byte offset of the inode.
    pub(super) at: u64,
    pub(super) extended: bool,
    pub(super) layout: Layout,
    pub(super) size: u64,
    /// Bytes of data right behind the inode; less than a block.
    pub(super) tail: u64,
    /// log2 of the chunk size, where there are chunks.
    pub(super) chunk_bits: u8,
    /// Where the data's whole blocks begin, or [`NO_BLOCK`].
    pub(super) first_block: u32,
}

impl Place {
    pub(super) fn nid(&self) -> u64 {
        self.at / NID_UNIT
    }

    /// Bytes of data in whole blocks, without padding.
    pub(super) fn in_blocks(&self) -> u64 {
        if self.layout == Layout::Chunked { 0 } else { self.size - self.tail }
    }

    fn header_size(&self) -> u64 {
        if self.extended { EXTENDED_SIZE } else { COMPACT_SIZE }
    }
}

/// Where the device table begins, in slots: right behind the superblock.
pub(super) const DEVICE_TABLE: u16 =
    ((superblock::OFFSET + superblock::SIZE) as u64 / superblock::DEVICE_SLOT_SIZE) as u16;

impl Plan {
    /// Sorts the directories, completes them with `.` and `..`, and places everything.
    pub(super) fn new(nodes: &mut [Node], names: &Names, device_lengths: &[u64]) -> Result<Self, WriteError> {
        let device_blocks = device_blocks(device_lengths)?;
        for (index, node) in nodes.iter_mut().enumerate() {
            complete(InodeId(index as u32), node, names)?;
        }
        let order = order(nodes)?;
        let epoch = commonest_time(nodes);
        let mut plan = Self { order, places: Vec::new(), epoch, device_blocks, blocks: 0 };
        plan.places = nodes.iter().map(|node| plan.measure(node)).collect();
        check_contents(nodes, &plan.places, device_lengths)?;
        let metadata_end = plan.place_inodes(nodes)?;
        plan.place_blocks(metadata_end)?;
        Ok(plan)
    }

    /// Length of the image in bytes.
    pub(super) fn length(&self) -> u64 {
        u64::from(self.blocks) * BLOCK
    }

    /// Everything about an inode that does not depend on its address.
    fn measure(&self, node: &Node) -> Place {
        let attributes = &node.attributes;
        let (size, layout, tail) = match &node.kind {
            Kind::Directory => flat(directory::size(&node.entries)),
            Kind::Symlink(target) => flat(target.len() as u64),
            Kind::Regular { size, data: Data::Inline(_) } => flat(*size),
            Kind::Regular { size: 0, .. } => flat(0),
            Kind::Regular { size, .. } => (*size, Layout::Chunked, 0),
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => flat(0),
        };
        let chunk_bits = match &node.kind {
            Kind::Regular { size, data: Data::External(extents) } => chunks::chunk_bits(*size, extents),
            _ => 0,
        };
        let compact = (attributes.mtime, attributes.mtime_nsec) == self.epoch
            && attributes.uid <= u32::from(u16::MAX)
            && attributes.gid <= u32::from(u16::MAX)
            && node.nlink <= u32::from(u16::MAX)
            && size <= u64::from(u32::MAX);
        Place { at: 0, extended: !compact, layout, size, tail, chunk_bits, first_block: NO_BLOCK }
    }

    /// Gives every inode its offset; returns where the inodes end.
    fn place_inodes(&mut self, nodes: &[Node]) -> Result<u64, WriteError> {
        let table = u64::from(DEVICE_TABLE) * superblock::DEVICE_SLOT_SIZE;
        let mut at = table + self.device_blocks.len() as u64 * superblock::DEVICE_SLOT_SIZE;
        for id in &self.order {
            let place = &mut self.places[id.index()];
            let before_data = place.header_size() + nodes[id.index()].xattr_size();
            at = at.next_multiple_of(NID_UNIT);
            if place.layout == Layout::Inline {
                match inline_start(at, before_data, place.tail) {
                    Some(start) => at = start,
                    None => (place.layout, place.tail) = (Layout::Plain, 0),
                }
            }
            place.at = at;
            at += before_data;
            at = match place.layout {
                Layout::Chunked => {
                    let entries = chunks::count(place.size, place.chunk_bits) * CHUNK_ENTRY_SIZE;
                    at.next_multiple_of(CHUNK_ENTRY_SIZE) + entries
                }
                Layout::Plain | Layout::Inline => at + place.tail,
            };
        }
        if self.places[InodeId::ROOT.index()].nid() > u64::from(u16::MAX) {
            return Err(WriteError::TooManyDevices(self.device_blocks.len()));
        }
        Ok(at)
    }

    /// Places whole blocks of data behind the inodes, and ends the image.
    fn place_blocks(&mut self, metadata_end: u64) -> Result<(), WriteError> {
        let mut at = metadata_end.next_multiple_of(BLOCK);
        for id in &self.order {
            let place = &mut self.places[id.index()];
            let length = place.in_blocks();
            if length > 0 {
                place.first_block = u32::try_from(at / BLOCK).map_err(|_| WriteError::ImageTooLong(at))?;
                at += length.next_multiple_of(BLOCK);
            }
        }
        at = at.next_multiple_of(PAD);
        self.blocks = u32::try_from(at / BLOCK).map_err(|_| WriteError::ImageTooLong(at))?;
        Ok(())
    }
}

/// Size, layout and tail of data that lie in the image.
fn flat(size: u64) -> (u64, Layout, u64) {
    let tail = size % BLOCK;
    (size, if tail == 0 { Layout::Plain } else { Layout::Inline }, tail)
}

/// The first start at or after `at` from which a tail behind `before_data` bytes stays within one block;
/// none exists when the xattrs' odd length leaves no position for a nearly full block.
fn inline_start(at: u64, before_data: u64, tail: u64) -> Option<u64> {
    let starts = (at..at + BLOCK).step_by(NID_UNIT as usize);
    starts.into_iter().find(|start| (start + before_data) % BLOCK + tail <= BLOCK)
}

fn device_blocks(lengths: &[u64]) -> Result<Vec<u32>, WriteError> {
    if lengths.len() > usize::from(u16::MAX) {
        return Err(WriteError::TooManyDevices(lengths.len()));
    }
    let blocks =
        lengths.iter().enumerate().map(|(index, &length)| match u32::try_from(length.div_ceil(BLOCK)) {
            Ok(blocks) if blocks < NO_BLOCK => Ok(blocks),
            _ => Err(WriteError::DeviceTooLong { slot: index + 1, length }),
        });
    blocks.collect()
}

/// Adds `.` and `..` to a directory and sorts it.
fn complete(id: InodeId, node: &mut Node, names: &Names) -> Result<(), WriteError> {
    if !node.is_directory() {
        return Ok(());
    }
    let parent = node.parent.ok_or(WriteError::Unreachable(id))?;
    node.entries.extend([names.dot(id), names.dot_dot(parent)]);
    node.entries.sort_unstable_by_key(|entry| names.get(entry));
    let twice = node.entries.windows(2).find(|pair| names.get(&pair[0]) == names.get(&pair[1]));
    match twice {
        Some(pair) => Err(WriteError::NameTwice { name: shown(names.get(&pair[0])) }),
        None => Ok(()),
    }
}

/// Every inode once, each directory before what is in it, siblings by name.
fn order(nodes: &[Node]) -> Result<Vec<InodeId>, WriteError> {
    let mut order = Vec::with_capacity(nodes.len());
    let mut seen = vec![false; nodes.len()];
    let mut stack = vec![InodeId::ROOT];
    while let Some(id) = stack.pop() {
        if !std::mem::replace(&mut seen[id.index()], true) {
            order.push(id);
            // `.` and `..` lead to what has been seen.
            let children = nodes[id.index()].entries.iter().rev().map(|entry| entry.child);
            stack.extend(children.filter(|child| !seen[child.index()]));
        }
    }
    match seen.iter().position(|reached| !reached) {
        Some(index) => Err(WriteError::Unreachable(InodeId(index as u32))),
        None => Ok(order),
    }
}

/// The time that lets most inodes be compact; of equally common ones the earliest.
fn commonest_time(nodes: &[Node]) -> (i64, u32) {
    let mut counts: HashMap<(i64, u32), usize> = HashMap::new();
    for node in nodes {
        *counts.entry((node.attributes.mtime, node.attributes.mtime_nsec)).or_default() += 1;
    }
    let candidates = counts.into_iter().filter(|((seconds, _), _)| *seconds >= 0);
    candidates.max_by_key(|(time, count)| (*count, std::cmp::Reverse(*time))).map_or((0, 0), |(time, _)| time)
}

fn check_contents(nodes: &[Node], places: &[Place], device_lengths: &[u64]) -> Result<(), WriteError> {
    let mut chunks_left = CHUNKS_MAX;
    for (node, place) in nodes.iter().zip(places) {
        if let Kind::Regular { size, data: Data::External(extents) } = &node.kind {
            chunks::check_devices(extents, device_lengths)?;
            let count = chunks::count(*size, place.chunk_bits);
            let left = chunks_left.checked_sub(count);
            chunks_left = left.ok_or(WriteError::TooManyChunks { limit: CHUNKS_MAX })?;
        }
    }
    Ok(())
}

const _: () = assert!(1 << BLOCK_BITS == BLOCK);
