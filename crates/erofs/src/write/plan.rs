//! Where everything goes: order, sizes and addresses.

use super::chunks::{self, BLOCK_BITS};
use super::error::shown;
use super::tree::{Entry, Nodes};
use super::{InodeId, WriteError, directory, name_fault, xattr_size};
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
    places: Vec<Place>,
    /// Where the data of those that have whole blocks of it begin.
    first_blocks: HashMap<InodeId, u32>,
    /// Time of the compact inodes: seconds, nanoseconds.
    pub(super) epoch: (i64, u32),
    /// Length of each device.
    pub(super) device_blocks: Vec<u32>,
    /// Length of the image, padding included.
    pub(super) blocks: u32,
}

/// Where an inode is, and how its data lie.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) size: u64,
    /// Offset of the inode in units of nids.
    nid: u32,
    /// Of a directory the one that it is in; of everything else the number of its names, 0 for what has no place.
    link: u32,
    pub(super) extended: bool,
    pub(super) layout: Layout,
    /// log2 of the chunk size, where there are chunks.
    pub(super) chunk_bits: u8,
}

/// No directory.
const NOWHERE: u32 = u32::MAX;

impl Place {
    fn new(is_directory: bool) -> Self {
        let link = if is_directory { NOWHERE } else { 0 };
        Self { size: 0, nid: 0, link, extended: false, layout: Layout::Plain, chunk_bits: 0 }
    }

    pub(super) fn nid(&self) -> u64 {
        u64::from(self.nid)
    }

    /// Byte offset of the inode.
    pub(super) fn at(&self) -> u64 {
        self.nid() * NID_UNIT
    }

    /// Of a directory: the one that it is in.
    pub(super) fn parent(&self) -> InodeId {
        InodeId(self.link)
    }

    /// Of everything else: how many names it has.
    pub(super) fn names(&self) -> u32 {
        self.link
    }

    /// Bytes of data right behind the inode; less than a block.
    pub(super) fn tail(&self) -> u64 {
        if self.layout == Layout::Inline { self.size % BLOCK } else { 0 }
    }

    /// Bytes of data in whole blocks, without padding.
    pub(super) fn in_blocks(&self) -> u64 {
        if self.layout == Layout::Chunked { 0 } else { self.size - self.tail() }
    }

    fn header_size(&self) -> u64 {
        if self.extended { EXTENDED_SIZE } else { COMPACT_SIZE }
    }
}

/// Where the device table begins, in slots: right behind the superblock.
pub(super) const DEVICE_TABLE: u16 =
    ((superblock::OFFSET + superblock::SIZE) as u64 / superblock::DEVICE_SLOT_SIZE) as u16;

impl Plan {
    /// Finds and places everything.
    pub(super) fn new(nodes: Nodes<'_>, device_lengths: &[u64]) -> Result<Self, WriteError> {
        let device_blocks = device_blocks(device_lengths)?;
        let mut places: Vec<Place> =
            (0..nodes.count()).map(|id| Place::new(nodes.is_directory(InodeId(id as u32)))).collect();
        let order = order(nodes, &mut places)?;
        let epoch = commonest_time(nodes, &order);
        let first_blocks = HashMap::new();
        let mut plan = Self { order, places, first_blocks, epoch, device_blocks, blocks: 0 };
        let mut chunks_left = CHUNKS_MAX;
        for at in 0..plan.order.len() {
            plan.measure(nodes, plan.order[at], device_lengths, &mut chunks_left)?;
        }
        let metadata_end = plan.place_inodes(nodes)?;
        plan.place_blocks(metadata_end)?;
        Ok(plan)
    }

    pub(super) fn place(&self, id: InodeId) -> &Place {
        &self.places[id.index()]
    }

    /// Where an inode's whole blocks begin, or [`NO_BLOCK`].
    pub(super) fn first_block(&self, id: InodeId) -> u32 {
        self.first_blocks.get(&id).copied().unwrap_or(NO_BLOCK)
    }

    /// Length of the image in bytes.
    pub(super) fn length(&self) -> u64 {
        u64::from(self.blocks) * BLOCK
    }

    /// Finds out everything about an inode that does not depend on its address.
    fn measure(
        &mut self,
        nodes: Nodes<'_>,
        id: InodeId,
        device_lengths: &[u64],
        chunks_left: &mut u64,
    ) -> Result<(), WriteError> {
        nodes.check(id)?;
        let (attributes, kind) = (nodes.attributes(id), nodes.kind(id));
        let place = &mut self.places[id.index()];
        let mut nlink = u64::from(place.names());
        (place.size, place.layout) = match &*kind {
            Kind::Directory => {
                let entries = nodes.listing(id, place.parent());
                nlink = directory::nlink(nodes, &entries);
                flat(directory::size(&entries))
            }
            Kind::Symlink(target) => flat(target.len() as u64),
            Kind::Regular { size, data: Data::Inline(_) } => flat(*size),
            Kind::Regular { size: 0, .. } => flat(0),
            Kind::Regular { size, .. } => (*size, Layout::Chunked),
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => flat(0),
        };
        if let Kind::Regular { size, data: Data::External(extents) } = &*kind {
            chunks::check_devices(extents, device_lengths)?;
            place.chunk_bits = chunks::chunk_bits(*size, extents);
            let left = chunks_left.checked_sub(chunks::count(*size, place.chunk_bits));
            *chunks_left = left.ok_or(WriteError::TooManyChunks { limit: CHUNKS_MAX })?;
        }
        let compact = (attributes.mtime, attributes.mtime_nsec) == self.epoch
            && attributes.uid <= u32::from(u16::MAX)
            && attributes.gid <= u32::from(u16::MAX)
            && nlink <= u64::from(u16::MAX)
            && place.size <= u64::from(u32::MAX);
        place.extended = !compact;
        Ok(())
    }

    /// Gives every inode its offset; returns where the inodes end.
    fn place_inodes(&mut self, nodes: Nodes<'_>) -> Result<u64, WriteError> {
        let table = u64::from(DEVICE_TABLE) * superblock::DEVICE_SLOT_SIZE;
        let mut at = table + self.device_blocks.len() as u64 * superblock::DEVICE_SLOT_SIZE;
        for id in &self.order {
            let place = &mut self.places[id.index()];
            let before_data = place.header_size() + xattr_size(&nodes.attributes(*id).xattrs);
            at = at.next_multiple_of(NID_UNIT);
            if place.layout == Layout::Inline {
                match inline_start(at, before_data, place.tail()) {
                    Some(start) => at = start,
                    None => place.layout = Layout::Plain,
                }
            }
            place.nid = u32::try_from(at / NID_UNIT).map_err(|_| WriteError::ImageTooLong(at))?;
            at += before_data;
            at = match place.layout {
                Layout::Chunked => {
                    let entries = chunks::count(place.size, place.chunk_bits) * CHUNK_ENTRY_SIZE;
                    at.next_multiple_of(CHUNK_ENTRY_SIZE) + entries
                }
                Layout::Plain | Layout::Inline => at + place.tail(),
            };
        }
        if self.place(InodeId::ROOT).nid() > u64::from(u16::MAX) {
            return Err(WriteError::TooManyDevices(self.device_blocks.len()));
        }
        Ok(at)
    }

    /// Places whole blocks of data behind the inodes, and ends the image.
    fn place_blocks(&mut self, metadata_end: u64) -> Result<(), WriteError> {
        let mut at = metadata_end.next_multiple_of(BLOCK);
        for id in &self.order {
            let length = self.places[id.index()].in_blocks();
            if length > 0 {
                let block = u32::try_from(at / BLOCK).map_err(|_| WriteError::ImageTooLong(at))?;
                self.first_blocks.insert(*id, block);
                at += length.next_multiple_of(BLOCK);
            }
        }
        at = at.next_multiple_of(PAD);
        self.blocks = u32::try_from(at / BLOCK).map_err(|_| WriteError::ImageTooLong(at))?;
        Ok(())
    }
}

/// Size and layout of data that lie in the image.
fn flat(size: u64) -> (u64, Layout) {
    (size, if size.is_multiple_of(BLOCK) { Layout::Plain } else { Layout::Inline })
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

/// Every inode that a name leads to once, each directory before what is in it, siblings by name. Notes the parents of
/// directories and counts the names of everything else.
fn order(nodes: Nodes<'_>, places: &mut [Place]) -> Result<Vec<InodeId>, WriteError> {
    let mut order = Vec::new();
    let mut stack = vec![InodeId::ROOT];
    let mut seen = vec![false; places.len()];
    places[InodeId::ROOT.index()].link = InodeId::ROOT.0;
    while let Some(id) = stack.pop() {
        if std::mem::replace(&mut seen[id.index()], true) {
            continue;
        }
        order.push(id);
        if !nodes.is_directory(id) {
            continue;
        }
        let entries = nodes.listing(id, places[id.index()].parent());
        check_names(&entries)?;
        for entry in entries.iter().rev().filter(|entry| !matches!(entry.name, b"." | b"..")) {
            let place = places.get_mut(entry.child.index()).ok_or(WriteError::UnknownInode(entry.child))?;
            if !nodes.is_directory(entry.child) {
                place.link += 1;
            } else if place.link == NOWHERE {
                place.link = id.0;
            } else {
                return Err(WriteError::DirectoryLinked { name: shown(entry.name) });
            }
            if !seen[entry.child.index()] {
                stack.push(entry.child);
            }
        }
    }
    order.shrink_to_fit();
    Ok(order)
}

/// Makes sure that sorted names, `.` and `..` among them, can be those of a directory.
fn check_names(entries: &[Entry<'_>]) -> Result<(), WriteError> {
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(WriteError::NameTwice { name: shown(pair[0].name) });
    }
    let own = entries.iter().filter(|entry| !matches!(entry.name, b"." | b".."));
    let mut faults = own.filter_map(|entry| Some((entry.name, name_fault(entry.name)?)));
    faults.next().map_or(Ok(()), |(name, why)| Err(WriteError::Name { name: shown(name), why }))
}

/// The time that lets most inodes be compact; of equally common ones the earliest.
fn commonest_time(nodes: Nodes<'_>, order: &[InodeId]) -> (i64, u32) {
    let mut times: Vec<(i64, u32)> = Vec::with_capacity(order.len());
    times.extend(order.iter().map(|id| {
        let attributes = nodes.attributes(*id);
        (attributes.mtime, attributes.mtime_nsec)
    }));
    times.sort_unstable();
    let counted = times.chunk_by(|a, b| a == b).map(|same| (same[0], same.len()));
    let candidates = counted.filter(|((seconds, _), _)| *seconds >= 0);
    candidates.max_by_key(|(time, count)| (*count, std::cmp::Reverse(*time))).map_or((0, 0), |(time, _)| time)
}

const _: () = assert!(1 << BLOCK_BITS == BLOCK);
