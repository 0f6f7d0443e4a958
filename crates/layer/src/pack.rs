//! An overlayfs upper directory as a layer.

mod source;

use crate::{Contents, FileType, LayerBuilder, LayerError, LayerInfo, Metadata};
use rustix::fd::OwnedFd;
use source::{Attributes, Directory, Name, Stat};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Directories kept open on the way down; what is deeper is opened again, so that depth costs no descriptors.
const MAX_OPEN: usize = 64;

/// Packs the upper directory of an overlayfs into a canonical tar: names in byte order, char device 0:0 and
/// the opaque xattr turned into `.wh.` entries, hard links kept, overlayfs's own xattrs left out.
///
/// Of other attributes `user.*`, `security.capability` and POSIX ACLs are kept: what belongs to this machine's
/// security modules stays here. Sockets are left out, holes are written as zeros. The upper directory itself
/// is not a member: its attributes are the snapshot's, not a change somebody made.
///
/// Symlinks are never followed and every directory is opened beneath `upper`; nothing outside can get in, even if
/// somebody changes the tree meanwhile.
///
/// # Errors
/// [`LayerError::Path`] for a file that changes while it is read, for a name beginning with `.wh.`, which no image
/// can hold, and for an upper directory of an overlayfs with `redirect_dir` or `metacopy`.
pub fn pack(upper: &Path, out: &mut dyn Write) -> Result<(LayerInfo, Contents), LayerError> {
    let mut packer = Packer { builder: LayerBuilder::new(out), links: HashMap::new() };
    packer.tree(&Directory::top(upper)?)?;
    let (_, info, contents) = packer.builder.finish()?;
    Ok((info, contents))
}

struct Packer<'a> {
    builder: LayerBuilder<&'a mut dyn Write>,
    /// First path of each inode with several, by device and inode number.
    links: HashMap<(u64, u64), Vec<u8>>,
}

/// A directory being listed.
struct Level {
    path: Vec<u8>,
    /// `None` when it must be opened again.
    directory: Option<Directory>,
    names: std::vec::IntoIter<Name>,
}

impl Packer<'_> {
    fn tree(&mut self, top: &Directory) -> Result<(), LayerError> {
        let first = top.beneath(b"")?;
        let mut levels =
            vec![Level { path: Vec::new(), names: first.names()?.into_iter(), directory: Some(first) }];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            if level.directory.is_none() {
                level.directory = Some(top.beneath(&level.path)?);
            }
            let Some(directory) = &level.directory else { unreachable!("opened above") };
            let path = if level.path.is_empty() {
                name.name.clone()
            } else {
                [&level.path, &b"/"[..], &name.name].concat()
            };
            if name.file_type == Some(FileType::Regular) {
                self.regular(directory, &name.name, &path)?;
                continue;
            }
            let stat = directory.stat(&name.name)?;
            match stat.metadata.file_type {
                FileType::Directory => {
                    let below = top.beneath(&path)?;
                    self.directory(&below, &path)?;
                    let names = below.names()?.into_iter();
                    if levels.len() >= MAX_OPEN
                        && let Some(level) = levels.last_mut()
                    {
                        level.directory = None;
                    }
                    levels.push(Level { path, names, directory: Some(below) });
                }
                FileType::Regular => self.regular(directory, &name.name, &path)?,
                _ => self.special(directory, &name.name, &path, stat)?,
            }
        }
        Ok(())
    }

    fn directory(&mut self, directory: &Directory, path: &[u8]) -> Result<(), LayerError> {
        let mut metadata = directory.own_stat()?.metadata;
        let attributes = directory.attributes()?;
        attributes.refuse_shared(path)?;
        metadata.xattrs = attributes.kept;
        self.builder.add(path, &metadata, b"")?;
        if attributes.opaque {
            self.builder.opaque(path)?;
        }
        Ok(())
    }

    fn regular(&mut self, directory: &Directory, name: &[u8], path: &[u8]) -> Result<(), LayerError> {
        let file = directory.open_file(name)?;
        let Stat { mut metadata, inode, links } = source::stat_of(&file, path)?;
        if metadata.file_type != FileType::Regular {
            return Err(source::changed(path, "it is no regular file any more"));
        }
        if links > 1 && self.linked(inode, path)? {
            return Ok(());
        }
        let attributes = self.attributes_of(&file, path)?;
        if attributes.whiteout && metadata.size == 0 {
            return self.builder.whiteout(path);
        }
        metadata.xattrs = attributes.kept;
        self.builder.add_file(path, &metadata, &mut File::from(file), None)?;
        Ok(())
    }

    fn attributes_of(&self, file: &OwnedFd, path: &[u8]) -> Result<Attributes, LayerError> {
        let attributes = source::attributes_of(file, path)?;
        attributes.refuse_shared(path)?;
        Ok(attributes)
    }

    /// Symlinks, devices, FIFOs. Not opened: opening a device or a FIFO does things.
    fn special(
        &mut self,
        directory: &Directory,
        name: &[u8],
        path: &[u8],
        stat: Stat,
    ) -> Result<(), LayerError> {
        let Stat { mut metadata, inode, links } = stat;
        match (metadata.file_type, metadata.rdev) {
            (FileType::Socket, _) => return Ok(()),
            // overlayfs makes one whiteout and links it wherever it needs one.
            (FileType::CharDevice, (0, 0)) => return self.builder.whiteout(path),
            _ => {}
        }
        if links > 1 && self.linked(inode, path)? {
            return Ok(());
        }
        if metadata.file_type == FileType::Symlink {
            let target = directory.read_link(name)?;
            metadata.size = target.len() as u64;
            return self.builder.add(path, &metadata, &target);
        }
        metadata.xattrs = directory.attributes_at(name)?.kept;
        self.builder.add(path, &metadata, b"")
    }

    /// True if the inode was written under another name; then `path` is now a hard link to it.
    fn linked(&mut self, inode: (u64, u64), path: &[u8]) -> Result<bool, LayerError> {
        match self.links.get(&inode) {
            Some(first) => {
                self.builder.hard_link(path, first)?;
                Ok(true)
            }
            None => {
                self.links.insert(inode, path.to_vec());
                Ok(false)
            }
        }
    }
}

/// What a directory entry and its inode say, read without following anything.
fn to_metadata(stat: &rustix::fs::Statx) -> Option<Metadata> {
    use rustix::fs::FileType as Kind;
    let file_type = match Kind::from_raw_mode(u32::from(stat.stx_mode)) {
        Kind::RegularFile => FileType::Regular,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::CharacterDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::Unknown => return None,
    };
    Some(Metadata {
        file_type,
        mode: stat.stx_mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: stat.stx_mtime.tv_sec,
        mtime_nsec: stat.stx_mtime.tv_nsec,
        size: if file_type == FileType::Regular { stat.stx_size } else { 0 },
        rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
        xattrs: Vec::new(),
    })
}
