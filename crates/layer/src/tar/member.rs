//! A member of a tar, with everything its headers say.
use super::MAX_PATH;
use super::header::{Block, Dialect, Field};
use super::pax::Records;
use crate::{FileType, Metadata};

/// Linux device numbers have 12 bits of major and 20 of minor.
pub(crate) const MAX_MAJOR: u32 = 0xfff;
pub(crate) const MAX_MINOR: u32 = 0xf_ffff;

/// A member. Its data are read from the [`super::Reader`] that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset in the tar of the member's header (of the last one, when extension headers precede it).
    pub offset: u64,
    /// Path inside the layer: relative, clean; empty for the root.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// What `stat` shows. For hard links only `size` 0 and the type of a regular file have a meaning.
    pub metadata: Metadata,
}

/// What a member is, with what only that type has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A directory.
    Directory,
    /// A regular file. What no segment covers is a hole.
    Regular(Vec<Segment>),
    /// Another name of the entry at this path (relative, clean).
    HardLink(Vec<u8>),
    /// A symbolic link with this target, which may be absolute or lead anywhere.
    Symlink(Vec<u8>),
    /// A character device; its numbers are in the metadata.
    CharDevice,
    /// A block device; its numbers are in the metadata.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// A run of a regular file's bytes in the tar. Sorted by both offsets, not overlapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file.
    pub logical: u64,
    /// Bytes.
    pub length: u64,
    /// Offset in the tar.
    pub offset: u64,
}

/// Mode, owner, time and attributes; the rest follows in [`complete`].
pub(super) fn metadata(header: &Block, records: &mut Records) -> Result<Metadata, String> {
    let (mtime, mtime_nsec) = match records.mtime {
        Some(time) => time,
        None => (header.number(Field::Mtime)?, 0),
    };
    Ok(Metadata {
        file_type: FileType::Regular,
        // Old writers put the file type into the mode as well.
        mode: (header.number(Field::Mode)? & 0o7777) as u16,
        uid: owner(header, Field::Uid, records.uid, "uid")?,
        gid: owner(header, Field::Gid, records.gid, "gid")?,
        mtime,
        mtime_nsec,
        size: 0,
        rdev: (0, 0),
        xattrs: records.take_xattrs(),
    })
}

fn owner(header: &Block, field: Field, record: Option<i64>, name: &str) -> Result<u32, String> {
    let id = match record {
        Some(id) => id,
        None => header.number(field)?,
    };
    u32::try_from(id).map_err(|_| format!("its {name} is {id}; Linux knows 0 to 4294967295"))
}

/// Fills in what depends on the type.
pub(super) fn complete(
    metadata: &mut Metadata,
    kind: &MemberKind,
    header: &Block,
    records: &Records,
) -> Result<(), String> {
    metadata.file_type = match kind {
        MemberKind::Directory => FileType::Directory,
        MemberKind::Regular(_) | MemberKind::HardLink(_) => FileType::Regular,
        MemberKind::Symlink(target) => {
            metadata.size = target.len() as u64;
            FileType::Symlink
        }
        MemberKind::CharDevice => FileType::CharDevice,
        MemberKind::BlockDevice => FileType::BlockDevice,
        MemberKind::Fifo => FileType::Fifo,
    };
    if matches!(kind, MemberKind::CharDevice | MemberKind::BlockDevice) {
        let major = device(header, Field::Major, records.major, MAX_MAJOR, "major")?;
        let minor = device(header, Field::Minor, records.minor, MAX_MINOR, "minor")?;
        metadata.rdev = (major, minor);
    }
    Ok(())
}

fn device(header: &Block, field: Field, record: Option<i64>, limit: u32, name: &str) -> Result<u32, String> {
    let number = match record {
        Some(number) => number,
        None if header.dialect() == Dialect::V7 => 0,
        None => header.number(field)?,
    };
    u32::try_from(number)
        .ok()
        .filter(|number| *number <= limit)
        .ok_or_else(|| format!("its device's {name} number is {number}; Linux knows 0 to {limit}"))
}

/// Any target is legal, wherever it leads: only the reader of a symlink follows it.
pub(crate) fn symlink_target(target: Vec<u8>) -> Result<Vec<u8>, String> {
    if target.is_empty() || target.contains(&0) {
        return Err("it is a symlink with an empty target or a NUL in it; Linux has no such symlinks".into());
    }
    if target.len() > MAX_PATH {
        return Err(format!(
            "its symlink target is {} bytes long; Linux takes {MAX_PATH} at most",
            target.len()
        ));
    }
    Ok(target)
}
