//! Our own tars: canonical and deterministic.
use crate::contents::{New, Placed, SYMLINK_MODE, is_overlay_xattr};
use crate::tar::{
    BLOCK, Header, HeaderKind, MAX_MAJOR, MAX_MINOR, OPAQUE, Output, WHITEOUT, clean, padding, symlink_target,
};
use crate::{ContentDigest, Contents, FileType, LayerError, LayerInfo, Limits, Metadata, Xattr};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use strata_erofs::Attributes;

/// Permissions of a whiteout's member, as Docker writes them.
const WHITEOUT_MODE: u16 = 0o600;

/// Streams a new layer's tar into `W`, hashing as it goes. Paths are relative bytes without leading `/` or
/// `./`; `b""` is the root itself. Parents must come before children (they need not come at all).
///
/// The tar is ustar, with PAX records for what ustar cannot say: times with nanoseconds, long or non-ASCII names, large
/// numbers, attributes. It holds no owner names and no time but the mtime, so that the same calls give the same DiffId.
/// Attributes of overlayfs itself are left out.
pub struct LayerBuilder<W> {
    out: Output<W>,
    contents: Contents,
    entries: u64,
}

impl<W: Write> LayerBuilder<W> {
    /// An empty layer; if nothing is added, its DiffId is that of 1024 zero bytes (`5f70bf18...`).
    pub fn new(out: W) -> Self {
        // What we make ourselves is bounded by where it comes from.
        let limits = Limits { metadata: u64::MAX, ..Limits::default() };
        Self { out: Output::new(out), contents: Contents::new(&limits), entries: 0 }
    }

    /// Adds a directory, symlink (`link` is the target), device, FIFO or socket (becomes an empty file).
    ///
    /// # Errors
    /// [`LayerError::Path`] for what a layer cannot hold, a name beginning with `.wh.` among it.
    pub fn add(&mut self, path: &[u8], metadata: &Metadata, link: &[u8]) -> Result<(), LayerError> {
        checked_path(path, metadata)?;
        let (major, minor) = metadata.rdev;
        let (kind, new) = match metadata.file_type {
            FileType::Directory => (HeaderKind::Directory, New::Directory),
            FileType::Symlink => {
                symlink_target(link.to_vec()).map_err(|what| refuse(path, what))?;
                (HeaderKind::Symlink, New::Symlink(link))
            }
            FileType::CharDevice => (HeaderKind::CharDevice, New::CharDevice(major, minor)),
            FileType::BlockDevice => (HeaderKind::BlockDevice, New::BlockDevice(major, minor)),
            FileType::Fifo => (HeaderKind::Fifo, New::Fifo),
            FileType::Regular | FileType::Socket => {
                let empty = Metadata { file_type: FileType::Regular, size: 0, ..metadata.clone() };
                if metadata.file_type == FileType::Regular && metadata.size > 0 {
                    return Err(refuse(path, "it is a file with content; add_file takes those".into()));
                }
                return self.add_file(path, &empty, &mut std::io::empty(), None).map(drop);
            }
        };
        let device = matches!(kind, HeaderKind::CharDevice | HeaderKind::BlockDevice);
        if device && (major > MAX_MAJOR || minor > MAX_MINOR) {
            return Err(refuse(
                path,
                format!("its device number {major}:{minor} is beyond {MAX_MAJOR}:{MAX_MINOR}"),
            ));
        }
        let link = if kind == HeaderKind::Symlink { link } else { b"" };
        let rdev = if device { metadata.rdev } else { (0, 0) };
        let attributes = attributes(metadata);
        self.header(path, kind, &attributes, Extra { size: 0, rdev, link })?;
        self.insert(path, attributes, new)
    }

    /// Adds a regular file of exactly `metadata.size` bytes. `digest` if it is already known: it is then taken for true.
    ///
    /// # Errors
    /// [`LayerError::Path`] if `content` has fewer or more bytes: the file changed while it was read.
    pub fn add_file(
        &mut self,
        path: &[u8],
        metadata: &Metadata,
        content: &mut dyn Read,
        digest: Option<ContentDigest>,
    ) -> Result<ContentDigest, LayerError> {
        checked_path(path, metadata)?;
        if path.is_empty() || metadata.file_type != FileType::Regular {
            return Err(refuse(path, "only a regular file below the root has content".into()));
        }
        let attributes = attributes(metadata);
        let size = metadata.size;
        self.header(path, HeaderKind::Regular, &attributes, Extra { size, ..Extra::default() })?;
        let offset = self.out.position();
        let digest = self.copy(path, size, content, digest)?;
        self.insert(path, attributes, New::Regular { size, data: Placed::Whole(offset), digest })?;
        Ok(digest)
    }

    /// Offset in the tar of the content of the file added last, which has `size` bytes.
    pub(crate) fn content_offset(&self, size: u64) -> u64 {
        self.out.position() - size - padding(size)
    }

    /// Adds a hard link to an entry added before.
    ///
    /// # Errors
    /// [`LayerError::Path`] if `target` was not added or is a directory.
    pub fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), LayerError> {
        checked_name(path)?;
        let Some(attributes) = self.contents.attributes(target) else {
            let shown = target.escape_ascii();
            return Err(refuse(path, format!("it is a hard link to {shown}, which must be added before it")));
        };
        let plain = Attributes { xattrs: Vec::new(), ..attributes };
        self.header(path, HeaderKind::HardLink, &plain, Extra { link: target, ..Extra::default() })?;
        self.insert(path, plain, New::HardLink(target))
    }

    /// Hides `path` of the layers below (`.wh.NAME`).
    pub fn whiteout(&mut self, path: &[u8]) -> Result<(), LayerError> {
        checked_name(path)?;
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => path.split_at(slash + 1),
            None => (&b""[..], path),
        };
        if name.is_empty() {
            return Err(refuse(path, "the root cannot be deleted; make it opaque".into()));
        }
        self.mark([parent, WHITEOUT, name].concat())
    }

    /// Hides everything below directory `path` in the layers below (`.wh..wh..opq`).
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), LayerError> {
        checked_name(path)?;
        self.mark(if path.is_empty() { OPAQUE.to_vec() } else { [path, b"/", OPAQUE].concat() })
    }

    /// Ends the tar and gives the output back.
    pub fn finish(mut self) -> Result<(W, LayerInfo, Contents), LayerError> {
        self.out.put_zeros(2 * BLOCK)?;
        let (out, diff_id, tar_length) = self.out.finish()?;
        let content_size = self.contents.finish(tar_length);
        Ok((out, LayerInfo { diff_id, tar_length, content_size, entries: self.entries }, self.contents))
    }

    fn mark(&mut self, path: Vec<u8>) -> Result<(), LayerError> {
        let attributes = Attributes { mode: WHITEOUT_MODE, ..Attributes::default() };
        self.header(&path, HeaderKind::Regular, &attributes, Extra::default())?;
        // The name alone decides; what stands under it does not count.
        self.insert(&path, attributes, New::Fifo)
    }

    fn insert(&mut self, path: &[u8], attributes: Attributes, new: New<'_>) -> Result<(), LayerError> {
        self.contents.insert(path, attributes, new).map_err(|what| refuse(path, what))
    }

    fn header(
        &mut self,
        path: &[u8],
        kind: HeaderKind,
        attributes: &Attributes,
        extra: Extra<'_>,
    ) -> Result<(), LayerError> {
        let header = Header {
            path,
            kind,
            mode: attributes.mode,
            uid: attributes.uid,
            gid: attributes.gid,
            mtime: attributes.mtime,
            mtime_nsec: attributes.mtime_nsec,
            size: extra.size,
            rdev: extra.rdev,
            link: extra.link,
            xattrs: &attributes.xattrs,
        };
        self.entries += 1;
        Ok(self.out.put(&header.encode())?)
    }

    fn copy(
        &mut self,
        path: &[u8],
        size: u64,
        content: &mut dyn Read,
        known: Option<ContentDigest>,
    ) -> Result<ContentDigest, LayerError> {
        let changed = |what: String| refuse(path, format!("it changed while it was read: {what}"));
        let mut hash = blake3::Hasher::new();
        let mut left = size;
        while left > 0 {
            let bytes = self.out.read_from(content, left)?;
            if bytes.is_empty() {
                return Err(changed(format!("it had {size} bytes, then {}", size - left)));
            }
            left -= bytes.len() as u64;
            if known.is_none() {
                hash.update(bytes);
            }
        }
        if !is_at_end(content)? {
            return Err(changed(format!("it had {size} bytes, then more")));
        }
        self.out.put_zeros(padding(size))?;
        Ok(known.unwrap_or_else(|| ContentDigest(*hash.finalize().as_bytes())))
    }
}

/// What only some types have.
#[derive(Default)]
struct Extra<'a> {
    size: u64,
    rdev: (u32, u32),
    link: &'a [u8],
}

fn attributes(metadata: &Metadata) -> Attributes {
    let xattrs = metadata.xattrs.iter().filter(|Xattr { name, .. }| !is_overlay_xattr(name));
    let symlink = metadata.file_type == FileType::Symlink;
    Attributes {
        mode: if symlink { SYMLINK_MODE } else { metadata.mode },
        uid: metadata.uid,
        gid: metadata.gid,
        mtime: metadata.mtime,
        mtime_nsec: metadata.mtime_nsec,
        xattrs: xattrs.cloned().collect(),
    }
}

fn is_at_end(content: &mut dyn Read) -> std::io::Result<bool> {
    loop {
        match content.read(&mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result.map(|length| length == 0),
        }
    }
}

fn checked_path(path: &[u8], metadata: &Metadata) -> Result<(), LayerError> {
    checked_name(path)?;
    if path.is_empty() && metadata.file_type != FileType::Directory {
        return Err(refuse(path, "the root must be a directory".into()));
    }
    if metadata.mtime_nsec >= 1_000_000_000 {
        return Err(refuse(
            path,
            format!("its time has {} nanoseconds; a second has fewer", metadata.mtime_nsec),
        ));
    }
    Ok(())
}

fn checked_name(path: &[u8]) -> Result<(), LayerError> {
    if clean(path).map_err(|what| refuse(path, what))? != path {
        return Err(refuse(
            path,
            "a path in a layer is relative and has no empty, `.` or `..` components".into(),
        ));
    }
    if path.split(|byte| *byte == b'/').any(|name| name.starts_with(WHITEOUT)) {
        let what = "names that begin with `.wh.` are whiteouts in every image format and cannot be files";
        return Err(refuse(path, what.into()));
    }
    Ok(())
}

fn refuse(path: &[u8], what: String) -> LayerError {
    let shown = if path.is_empty() { b"/".to_vec() } else { path.to_vec() };
    LayerError::Path { path: OsString::from_vec(shown).into(), what }
}
