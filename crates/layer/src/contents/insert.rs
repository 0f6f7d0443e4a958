//! From members to the tree. Errors say what is wrong; callers add where.
use super::{
    Body, Contents, Directory, File, MAX_CHUNKS, Names, Opaque, Placed, ROOT, is_overlay_xattr, is_shown,
};
use crate::ContentDigest;
use crate::tar::{OPAQUE, WHITEOUT};
use strata_erofs::{Attributes, Xattr};

/// Symlinks followed on the way to one parent, as in the kernel.
const MAX_LINKS: u32 = 40;
/// Longest attribute name and value the kernel takes.
const MAX_XATTR_NAME: usize = 255;
const MAX_XATTR_VALUE: usize = 65535;
/// All attributes of one inode, with EROFS's four bytes and padding each.
const MAX_XATTRS: usize = 4 * 65534;

/// What Linux shows of every symlink, whatever a tar says.
pub(crate) const SYMLINK_MODE: u16 = 0o777;

/// A new entry, besides its attributes.
pub(crate) enum New<'a> {
    Directory,
    Regular { size: u64, data: Placed, digest: ContentDigest },
    Symlink(&'a [u8]),
    HardLink(&'a [u8]),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// What an existing name is, as far as insertion cares.
enum Existing {
    Nothing,
    Directory(u32),
    Symlink(Vec<u8>),
    Whiteout,
    Other,
}

impl Contents {
    /// Adds an entry at a clean relative path, as the next member of the tar does.
    pub(crate) fn insert(&mut self, path: &[u8], attributes: Attributes, new: New<'_>) -> Result<(), String> {
        let mut attributes = checked(attributes)?;
        if let New::Symlink(_) = new {
            attributes.mode = SYMLINK_MODE;
        }
        if path.is_empty() {
            let New::Directory = new else { return Err("the root must be a directory".into()) };
            self.describe(ROOT, attributes);
            return Ok(());
        }
        let (parent, name) = split(path);
        let parent = self.parent(parent)?;
        if name == OPAQUE {
            self.clear(parent, Opaque::Cleared);
            return Ok(());
        }
        match name.strip_prefix(WHITEOUT).filter(|_| is_shown(name)) {
            Some(b"" | b"." | b"..") => {
                Err("it is a whiteout that names nothing; `.wh.NAME` hides NAME".into())
            }
            Some(hidden) => self.hide(parent, hidden),
            None => self.put(parent, name, attributes, new),
        }
    }

    /// Attributes of the entry at `path`, if this layer has it and it is not a directory.
    pub(crate) fn attributes(&self, path: &[u8]) -> Option<Attributes> {
        Some(self.attributes_of(self.link_target(path).ok().flatten()?))
    }

    /// Counts bytes that a tar makes us remember.
    fn charge(&mut self, bytes: u64) -> Result<(), String> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(
            "the names, attributes and maps of this tar need more memory than allowed: not a layer anybody makes",
        )?;
        Ok(())
    }

    fn charge_places(&mut self, data: &Placed, size: u64) -> Result<(), String> {
        self.charge(data.weight())?;
        let chunks = data.chunks(size);
        self.chunks_left = self.chunks_left.checked_sub(chunks).ok_or_else(|| {
            format!("it is a sparse file of {size} bytes whose map would have {chunks} entries; {MAX_CHUNKS} in all are allowed")
        })?;
        Ok(())
    }

    /// True if `bytes` more may be remembered.
    pub(crate) fn can_afford(&self, bytes: u64) -> bool {
        self.bytes_left >= bytes
    }

    fn put(&mut self, parent: u32, name: &[u8], attributes: Attributes, new: New<'_>) -> Result<(), String> {
        let xattrs: usize =
            attributes.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len() + 48).sum();
        self.charge(xattrs as u64)?;
        let existing = self.child(parent, name);
        let body = match new {
            New::Directory => return self.put_directory(parent, name, attributes, existing),
            New::HardLink(target) => match self.link_target(target)? {
                Some(id) => return self.link(parent, name, id),
                None => Body::Lower(target.into()),
            },
            New::CharDevice(0, 0) => return self.hide(parent, name),
            New::CharDevice(major, minor) => Body::CharDevice(major, minor),
            New::BlockDevice(major, minor) => Body::BlockDevice(major, minor),
            New::Fifo => Body::Fifo,
            New::Symlink(target) => {
                self.charge(target.len() as u64)?;
                Body::Symlink(target.into())
            }
            New::Regular { size, data, digest } => {
                self.charge_places(&data, size)?;
                self.digests.push(digest);
                Body::Regular(File { size, data, digest: (self.digests.len() - 1) as u32 })
            }
        };
        let id = self.add(attributes, body)?;
        self.link(parent, name, id)
    }

    fn put_directory(
        &mut self,
        parent: u32,
        name: &[u8],
        attributes: Attributes,
        existing: Existing,
    ) -> Result<(), String> {
        if let Existing::Directory(id) = existing {
            self.describe(id, attributes);
            return Ok(());
        }
        let opaque = if let Existing::Whiteout = existing { Opaque::Replaced } else { Opaque::No };
        let id = self.add_directory(parent, opaque)?;
        self.describe(id, attributes);
        self.link(parent, name, id)
    }

    /// The attributes of a directory, from a member of its own.
    fn describe(&mut self, id: u32, new: Attributes) {
        let body = std::mem::replace(&mut self.inodes[id as usize].body, Body::Fifo);
        let Body::Directory(mut directory) = body else { unreachable!("callers found a directory") };
        directory.implied = false;
        self.inodes[id as usize] = self.inode(new, Body::Directory(directory));
    }

    fn clear(&mut self, id: u32, how: Opaque) {
        if let Body::Directory(directory) = &mut self.inodes[id as usize].body
            && directory.opaque != Opaque::Replaced
        {
            directory.opaque = how;
        }
    }

    /// A whiteout: what this layer itself has at the name stays.
    fn hide(&mut self, parent: u32, name: &[u8]) -> Result<(), String> {
        match self.child(parent, name) {
            Existing::Nothing => {
                let id = self.add(Attributes::default(), Body::Whiteout)?;
                self.link(parent, name, id)
            }
            Existing::Directory(id) => {
                self.clear(id, Opaque::Replaced);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, attributes: Attributes, body: Body) -> Result<u32, String> {
        self.inodes_left = self.inodes_left.checked_sub(1).ok_or("it has more entries than allowed")?;
        let inode = self.inode(attributes, body);
        self.inodes.push(inode);
        Ok((self.inodes.len() - 1) as u32)
    }

    fn add_directory(&mut self, parent: u32, opaque: Opaque) -> Result<u32, String> {
        let directory = Directory { parent, names: Names::default(), implied: true, opaque };
        self.add(super::implied_attributes(), Body::Directory(Box::new(directory)))
    }

    fn link(&mut self, parent: u32, name: &[u8], id: u32) -> Result<(), String> {
        self.charge(name.len() as u64)?;
        let Body::Directory(directory) = &mut self.inodes[parent as usize].body else {
            unreachable!("parents are directories");
        };
        let replaced = directory.names.insert(&mut self.text, name, id)?;
        // A path that was found before may now lead elsewhere.
        if replaced.is_some() {
            self.last_parent = (Vec::new(), ROOT);
        }
        Ok(())
    }

    fn child(&self, parent: u32, name: &[u8]) -> Existing {
        let found = self.directory(parent).and_then(|directory| self.name(directory, name));
        let Some(id) = found else { return Existing::Nothing };
        match &self.inodes[id as usize].body {
            Body::Directory(_) => Existing::Directory(id),
            Body::Symlink(target) => Existing::Symlink(target.to_vec()),
            Body::Whiteout => Existing::Whiteout,
            _ => Existing::Other,
        }
    }

    /// The directory at `path`, made with all its parents if it is not there.
    fn parent(&mut self, path: &[u8]) -> Result<u32, String> {
        if path == self.last_parent.0 {
            return Ok(self.last_parent.1);
        }
        let mut at = ROOT;
        let mut way = Way::new(path);
        while let Some(name) = way.next() {
            at = match self.child(at, &name) {
                _ if name == b".." => self.directory(at).map_or(ROOT, |directory| directory.parent),
                Existing::Directory(id) => id,
                Existing::Symlink(target) => way.follow(&target, at)?,
                Existing::Nothing => self.imply(at, &name, Opaque::No)?,
                Existing::Whiteout => self.imply(at, &name, Opaque::Replaced)?,
                Existing::Other => {
                    let shown = path.escape_ascii();
                    return Err(format!(
                        "its parent {shown} leads through something that is not a directory"
                    ));
                }
            };
        }
        self.last_parent = (path.to_vec(), at);
        Ok(at)
    }

    fn imply(&mut self, parent: u32, name: &[u8], opaque: Opaque) -> Result<u32, String> {
        if name.starts_with(WHITEOUT) && is_shown(name) {
            return Err("a parent of it begins with `.wh.`; that is a whiteout, which holds nothing".into());
        }
        let id = self.add_directory(parent, opaque)?;
        self.link(parent, name, id)?;
        Ok(id)
    }

    /// The inode a hard link names; `None` if only a layer below can have it.
    fn link_target(&self, path: &[u8]) -> Result<Option<u32>, String> {
        match self.find(path)? {
            Some(id) if matches!(self.inodes[id as usize].body, Body::Directory(_)) => {
                let shown = path.escape_ascii();
                Err(format!("it is a hard link to {shown}, a directory; directories have one name"))
            }
            Some(id) if matches!(self.inodes[id as usize].body, Body::Whiteout) => {
                let shown = path.escape_ascii();
                Err(format!("it is a hard link to {shown}, which this layer deletes"))
            }
            found => Ok(found),
        }
    }

    /// The inode at `path`; symlinks on the way are followed, a last one is not.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<u32>, String> {
        let (parent, name) = split(path);
        let mut at = ROOT;
        let mut way = Way::new(parent);
        while let Some(name) = way.next() {
            at = match self.child(at, &name) {
                _ if name == b".." => self.directory(at).map_or(ROOT, |directory| directory.parent),
                Existing::Directory(id) => id,
                Existing::Symlink(target) => way.follow(&target, at)?,
                Existing::Nothing | Existing::Whiteout | Existing::Other => return Ok(None),
            };
        }
        if name.is_empty() {
            return Ok(Some(at));
        }
        Ok(self.directory(at).and_then(|directory| self.name(directory, name)))
    }
}

/// The components still to be walked, symlinks written out.
struct Way {
    rest: Vec<u8>,
    at: usize,
    links: u32,
}

impl Way {
    fn new(path: &[u8]) -> Self {
        Self { rest: path.to_vec(), at: 0, links: 0 }
    }

    /// The next component that is not empty or `.`.
    fn next(&mut self) -> Option<Vec<u8>> {
        while self.at < self.rest.len() {
            let rest = &self.rest[self.at..];
            let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let name = rest[..end].to_vec();
            self.at += end + 1;
            if !name.is_empty() && name != b"." {
                return Some(name);
            }
        }
        None
    }

    /// Puts a symlink's target before the rest; where to go on from `directory`.
    fn follow(&mut self, target: &[u8], directory: u32) -> Result<u32, String> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(format!("its parents lead through more than {MAX_LINKS} symlinks"));
        }
        let rest = self.rest.get(self.at..).unwrap_or_default();
        self.rest = [target, b"/", rest].concat();
        self.at = 0;
        Ok(if target.starts_with(b"/") { ROOT } else { directory })
    }
}

/// Parent and last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Leaves out the attributes that do not belong into an index and checks the others against the kernel's limits.
fn checked(mut attributes: Attributes) -> Result<Attributes, String> {
    if attributes.xattrs.is_empty() {
        return Ok(attributes);
    }
    attributes.xattrs.retain(|xattr| !is_overlay_xattr(&xattr.name) && is_representable(&xattr.name));
    let mut total = 0;
    for Xattr { name, value } in &attributes.xattrs {
        let shown = name[..name.len().min(MAX_XATTR_NAME)].escape_ascii();
        if name.len() > MAX_XATTR_NAME || name.contains(&0) {
            return Err(format!(
                "its attribute {shown} has a name longer than {MAX_XATTR_NAME} bytes or with a NUL"
            ));
        }
        if value.len() > MAX_XATTR_VALUE {
            return Err(format!(
                "its attribute {shown} has {} bytes; Linux takes {MAX_XATTR_VALUE}",
                value.len()
            ));
        }
        total += (4 + name.len() + value.len()).next_multiple_of(4);
    }
    if total > MAX_XATTRS {
        return Err(format!("its attributes have {total} bytes together; an index holds {MAX_XATTRS}"));
    }
    Ok(attributes)
}

/// True for the name spaces EROFS has.
fn is_representable(name: &[u8]) -> bool {
    let spaces = [&b"user."[..], b"trusted.", b"security."];
    name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
        || spaces.iter().any(|space| name.len() > space.len() && name.starts_with(space))
}
