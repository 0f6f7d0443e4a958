//! Tars from outside.
//!
//! One thread reads, writes, parses and takes BLAKE3 of the files; another takes SHA-256 of everything. Memory
//! is a few buffers and the tree of names, both bounded by [`Limits`].

mod tee;

use crate::contents::{New, Placed, needs_spool, placed};
use crate::tar::{Member, MemberKind, Reader, Segment, padding};
use crate::{ContentDigest, Contents, LayerError, LayerInfo};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use strata_erofs::Attributes;
use tee::Tee;

/// Bounds on what a tar from outside may claim.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members, and inodes with the implied parents.
    pub entries: u64,
    /// Bytes of tar.
    pub tar_length: u64,
    /// Bytes of one PAX header or GNU long name.
    pub header: u64,
    /// Bytes of names, symlink targets, attributes, maps of sparse files and contents that must stand in the index.
    pub metadata: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 20_000_000, tar_length: 1 << 40, header: 64 << 20, metadata: 1 << 30 }
    }
}

/// Longest file that is copied into the index because its padding in the tar is not zeros, which a program that maps
/// the file would see behind its end. Of longer ones that is accepted: reads never show it.
const MAX_DIRTY: u64 = 1 << 20;
/// Longest sparse file that is copied into the index because its pieces are not aligned.
const MAX_UNALIGNED: u64 = 64 << 20;
/// Holes that are hashed as zeros (2 s), all files of a tar together.
const MAX_HASHED_HOLES: u64 = 16 << 30;

/// Copies an uncompressed tar of any dialect byte for byte from `tar` to `out`, hashing and indexing it on the
/// way. Reads to the end of input, so that trailing bytes belong to the DiffId as they do for Docker.
///
/// # Errors
/// [`LayerError::Tar`] for a damaged or hostile tar, [`LayerError::Io`] for what `tar` and `out` say. `out` then
/// holds a part of the tar.
pub fn ingest(
    tar: &mut dyn Read,
    out: &mut dyn Write,
    limits: &Limits,
) -> Result<(LayerInfo, Contents), LayerError> {
    let mut reader = Reader::new(Tee::new(tar, out, limits.tar_length), limits);
    let mut ingest =
        Ingest { contents: Contents::new(limits), holes_left: MAX_HASHED_HOLES, kept: Vec::new() };
    while let Some(member) = reader.next_member()? {
        ingest.member(&mut reader, member)?;
    }
    let entries = reader.members();
    let (diff_id, tar_length) = reader.into_inner().finish()?;
    let mut contents = ingest.contents;
    let content_size = contents.finish(tar_length);
    Ok((LayerInfo { diff_id, tar_length, content_size, entries }, contents))
}

struct Ingest {
    contents: Contents,
    holes_left: u64,
    /// The current file's bytes, while they may have to go into the index.
    kept: Vec<u8>,
}

impl Ingest {
    fn member(&mut self, reader: &mut Reader<Tee>, member: Member) -> Result<(), LayerError> {
        let (major, minor) = member.metadata.rdev;
        let new = match &member.kind {
            MemberKind::Regular(segments) => self.regular(reader, &member, segments)?,
            MemberKind::Directory => New::Directory,
            MemberKind::HardLink(target) => New::HardLink(target),
            MemberKind::Symlink(target) => New::Symlink(target),
            MemberKind::CharDevice => New::CharDevice(major, minor),
            MemberKind::BlockDevice => New::BlockDevice(major, minor),
            MemberKind::Fifo => New::Fifo,
        };
        let attributes = Attributes {
            mode: member.metadata.mode,
            uid: member.metadata.uid,
            gid: member.metadata.gid,
            mtime: member.metadata.mtime,
            mtime_nsec: member.metadata.mtime_nsec,
            xattrs: member.metadata.xattrs.clone(),
        };
        self.contents.insert(&member.path, attributes, new).map_err(|what| refuse(&member, what))
    }

    /// Reads a file: its digest and where an index finds its bytes.
    fn regular<'a>(
        &mut self,
        reader: &mut Reader<Tee>,
        member: &Member,
        segments: &[Segment],
    ) -> Result<New<'a>, LayerError> {
        let size = member.metadata.size;
        let spool = needs_spool(segments);
        // Padding inside the file is read as part of it; behind the end only mmap shows it.
        let inner = segments.iter().any(|s| padding(s.length) != 0 && s.logical + s.length != size);
        let odd = inner || padding(size) != 0;
        let limit = if spool || inner { MAX_UNALIGNED } else { MAX_DIRTY };
        let keep = (spool || odd) && size <= limit && self.contents.can_afford(size);
        let (digest, clean) = self.content(reader, member, segments, keep)?;
        let copy = spool || !clean;
        if copy && !keep && (spool || inner) {
            let what = format!(
                "its pieces do not begin and end on blocks of 512 bytes, so that its {size} bytes must be copied into the index; at most {MAX_UNALIGNED} are"
            );
            return Err(refuse(member, what));
        }
        let data =
            if copy && keep { Placed::Spooled(Box::new(self.kept.clone())) } else { placed(segments, size) };
        Ok(New::Regular { size, data, digest })
    }

    /// Reads all data of a member; the digest of the file's bytes and whether all padding is zeros.
    fn content(
        &mut self,
        reader: &mut Reader<Tee>,
        member: &Member,
        segments: &[Segment],
        keep: bool,
    ) -> Result<(ContentDigest, bool), LayerError> {
        let size = member.metadata.size;
        let mut hash = self.hash_for(segments, size);
        let kept = &mut self.kept;
        kept.clear();
        let (mut position, mut clean) = (0, true);
        for segment in segments {
            hash.hole(segment.logical - position);
            reader.read_to(segment.offset, member, |bytes| clean &= bytes.iter().all(|byte| *byte == 0))?;
            if keep {
                kept.resize(segment.logical as usize, 0);
            }
            reader.read_to(segment.offset + segment.length, member, |bytes| {
                hash.blake3.update(bytes);
                if keep {
                    kept.extend_from_slice(bytes);
                }
            })?;
            position = segment.logical + segment.length;
        }
        hash.hole(size - position);
        if keep {
            kept.resize(size as usize, 0);
        }
        clean &= reader.padding_is_clean(member)?;
        Ok((ContentDigest(*hash.blake3.finalize().as_bytes()), clean))
    }

    /// BLAKE3 of the file as it reads. A tar may claim holes of exabytes; beyond a bound the digest is one of the
    /// map and the stored bytes, in a domain of its own: never equal to another file's, only found less often.
    fn hash_for(&mut self, segments: &[Segment], size: u64) -> FileHash {
        let holes = segments.iter().fold(size, |holes, segment| holes.saturating_sub(segment.length));
        if let Some(left) = self.holes_left.checked_sub(holes) {
            self.holes_left = left;
            return FileHash { blake3: blake3::Hasher::new(), zeros: true };
        }
        let mut blake3 = blake3::Hasher::new_derive_key("strata 2026 sparse file: size, map, stored bytes");
        blake3.update(&size.to_le_bytes());
        for segment in segments {
            blake3.update(&segment.logical.to_le_bytes()).update(&segment.length.to_le_bytes());
        }
        FileHash { blake3, zeros: false }
    }
}

struct FileHash {
    blake3: blake3::Hasher,
    zeros: bool,
}

impl FileHash {
    fn hole(&mut self, mut length: u64) {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while self.zeros && length > 0 {
            let part = length.min(ZEROS.len() as u64);
            self.blake3.update(&ZEROS[..part as usize]);
            length -= part;
        }
    }
}

fn refuse(member: &Member, what: String) -> LayerError {
    let path = (!member.path.is_empty()).then(|| OsString::from_vec(member.path.clone()).into());
    LayerError::Tar { offset: member.offset, path, what }
}
