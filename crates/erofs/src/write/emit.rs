//! The second pass: the planned image, from its first byte to its last.

use super::chunks::{self, BLOCK_BITS};
use super::plan::{DEVICE_TABLE, Place, Plan};
use super::tree::{Entry, Nodes};
use super::{InodeId, WriteError, directory, xattr_size};
use crate::format::inode::{Header, Layout};
use crate::format::superblock::{self, Superblock};
use crate::format::{CHUNK_ENTRY_SIZE, CHUNK_INDEXES, encode_device, xattr};
use crate::{Attributes, BLOCK, Data, Kind};
use sha2::{Digest, Sha256};
use std::io::{self, BufWriter, Write};

/// A tree with its layout.
pub(super) struct Emitter<'a> {
    pub(super) nodes: Nodes<'a>,
    pub(super) plan: &'a Plan,
}

/// A writer that knows its position.
struct Output<W> {
    sink: W,
    at: u64,
}

/// Hashes an image and keeps its head.
struct Sealer {
    hash: Sha256,
    head: Vec<u8>,
}

/// Writes a sealed head in the place of the first bytes it is given.
struct Sealed<'a> {
    head: &'a [u8],
    out: &'a mut dyn Write,
}

/// The part of an image that the checksum covers ends here.
const HEAD: usize = superblock::OFFSET + BLOCK as usize;

impl Emitter<'_> {
    /// Writes the image twice: first to learn its uuid and checksum, which stand at its beginning, then to `out`.
    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), WriteError> {
        let mut sealer = Sealer { hash: Sha256::new(), head: Vec::with_capacity(HEAD) };
        self.emit(&mut sealer)?;
        let Sealer { hash, mut head } = sealer;
        superblock::seal(&mut head, BLOCK_BITS, uuid(&hash.finalize().into()));
        self.emit(&mut Sealed { head: &head, out })?;
        out.flush()?;
        Ok(())
    }

    fn emit(&self, sink: &mut dyn Write) -> io::Result<()> {
        let mut out = Output { sink: BufWriter::with_capacity(1 << 16, sink), at: 0 };
        out.pad_to(superblock::OFFSET as u64)?;
        out.put(&self.superblock().encode())?;
        let mut flat_address = self.plan.blocks;
        for &blocks in &self.plan.device_blocks {
            out.put(&superblock::encode_device_slot(blocks, flat_address))?;
            // Only mounts without `device=` look at this address; 0 says that there is none.
            flat_address = flat_address.checked_add(blocks).unwrap_or(0);
        }
        for (serial, id) in (1..).zip(&self.plan.order) {
            self.emit_inode(*id, serial, &mut out)?;
        }
        for id in &self.plan.order {
            if self.plan.place(*id).in_blocks() > 0 {
                out.pad_to(u64::from(self.plan.first_block(*id)) * BLOCK)?;
                self.emit_blocks(*id, &mut out)?;
            }
        }
        out.pad_to(self.plan.length())?;
        out.sink.flush()
    }

    fn superblock(&self) -> Superblock {
        let (epoch, fixed_nsec) = self.plan.epoch;
        Superblock {
            checksum: 0,
            compat: superblock::COMPAT_CHECKSUM | superblock::COMPAT_MTIME,
            incompat: superblock::INCOMPAT_CHUNKED | superblock::INCOMPAT_DEVICES,
            block_bits: BLOCK_BITS,
            directory_block_bits: 0,
            root_nid: self.plan.place(InodeId::ROOT).nid() as u16,
            inodes: self.plan.order.len() as u64,
            epoch,
            fixed_nsec,
            blocks: self.plan.blocks,
            meta_block: 0,
            xattr_block: 0,
            devices: self.plan.device_blocks.len() as u16,
            device_table: DEVICE_TABLE,
        }
    }

    /// Header, xattrs, and the chunk index or the tail of the data.
    fn emit_inode<W: Write>(&self, id: InodeId, serial: u32, out: &mut Output<W>) -> io::Result<()> {
        let place = self.plan.place(id);
        let (attributes, kind) = (self.nodes.attributes(id), self.nodes.kind(id));
        let entries = match &*kind {
            Kind::Directory => self.nodes.listing(id, place.parent()),
            _ => Vec::new(),
        };
        let nlink = match &*kind {
            Kind::Directory => directory::nlink(self.nodes, &entries) as u32,
            _ => place.names(),
        };
        let mut bytes = Vec::with_capacity(128);
        let union = union(&kind, place, self.plan.first_block(id));
        Header { union, serial, nlink, ..header(&kind, &attributes, place) }.encode(&mut bytes);
        xattr::encode_body(&attributes.xattrs, &mut bytes);
        out.pad_to(place.at())?;
        out.put(&bytes)?;
        if let (Layout::Chunked, Kind::Regular { size, data: Data::External(extents) }) =
            (place.layout, &*kind)
        {
            out.pad_to(out.at.next_multiple_of(CHUNK_ENTRY_SIZE))?;
            for entry in chunks::entries(*size, extents, place.chunk_bits) {
                out.put(&entry)?;
            }
        }
        if place.tail() > 0 {
            match directory::blocks(&entries).last() {
                Some(block) => out.put(&self.directory_block(block))?,
                None => out.put(&flat_bytes(&kind)[place.in_blocks() as usize..])?,
            }
        }
        Ok(())
    }

    /// The data's whole blocks; padding is left to whatever comes next.
    fn emit_blocks<W: Write>(&self, id: InodeId, out: &mut Output<W>) -> io::Result<()> {
        let place = self.plan.place(id);
        if !self.nodes.is_directory(id) {
            return out.put(&flat_bytes(&self.nodes.kind(id))[..place.in_blocks() as usize]);
        }
        let count = place.in_blocks().div_ceil(BLOCK) as usize;
        for block in directory::blocks(&self.nodes.listing(id, place.parent())).take(count) {
            out.pad_to(out.at.next_multiple_of(BLOCK))?;
            out.put(&self.directory_block(block))?;
        }
        Ok(())
    }

    fn directory_block(&self, block: &[Entry<'_>]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BLOCK as usize);
        let inode = |id| (self.plan.place(id).nid(), self.nodes.file_type(id));
        directory::encode(block, inode, &mut bytes);
        bytes
    }
}

/// A header, but for what depends on more than the inode itself.
fn header(kind: &Kind, attributes: &Attributes, place: &Place) -> Header {
    Header {
        extended: place.extended,
        layout: place.layout,
        xattr_count: xattr::body_count(xattr_size(&attributes.xattrs)),
        mode: kind.file_type().mode_bits() | attributes.mode,
        size: place.size,
        union: 0,
        serial: 0,
        uid: attributes.uid,
        gid: attributes.gid,
        mtime: attributes.mtime,
        mtime_nsec: attributes.mtime_nsec,
        nlink: 0,
    }
}

/// The header field whose meaning depends on the type and layout.
fn union(kind: &Kind, place: &Place, first_block: u32) -> u32 {
    match *kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            encode_device(major, minor).expect("`add` refuses device numbers that do not fit")
        }
        Kind::Fifo | Kind::Socket => 0,
        Kind::Regular { .. } if place.layout == Layout::Chunked => {
            u32::from(u16::from(place.chunk_bits - BLOCK_BITS) | CHUNK_INDEXES)
        }
        Kind::Regular { .. } | Kind::Directory | Kind::Symlink(_) => first_block,
    }
}

/// Content that is stored in the image, except that of directories.
fn flat_bytes(kind: &Kind) -> &[u8] {
    match kind {
        Kind::Symlink(bytes) | Kind::Regular { data: Data::Inline(bytes), .. } => bytes,
        _ => &[],
    }
}

/// A version 8 (own scheme) uuid from a hash.
fn uuid(hash: &[u8; 32]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

impl<W: Write> Output<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.sink.write_all(bytes)
    }

    /// Writes zeros up to `offset`, which is at or after the current position.
    fn pad_to(&mut self, offset: u64) -> io::Result<()> {
        const ZEROS: [u8; 512] = [0; 512];
        debug_assert!(self.at <= offset, "the plan leaves too little room before {offset}");
        while self.at < offset {
            let step = ZEROS.len().min((offset - self.at) as usize);
            self.put(&ZEROS[..step])?;
        }
        Ok(())
    }
}

impl Write for Sealer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let kept = bytes.len().min(HEAD - self.head.len());
        self.head.extend_from_slice(&bytes[..kept]);
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Sealed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.head.is_empty() {
            return self.out.write(bytes);
        }
        let (now, later) = self.head.split_at(bytes.len().min(self.head.len()));
        self.out.write_all(now)?;
        self.head = later;
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
