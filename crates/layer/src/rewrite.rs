//! Layers made of other layers: with their times cut off, or several as one.
//!
//! Both write canonical tars, so that equal trees give equal DiffIds wherever and whenever they are made.
use crate::tar::{Member, MemberKind, OPAQUE, Reader, WHITEOUT};
use crate::tree::{Entry, SourceTree};
use crate::{Contents, FileType, LayerBuilder, LayerError, LayerInfo, Limits, Metadata, Stack};
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, Write};

/// Copies a layer's tar from `tar` to `out`; what was modified after `latest` (seconds since 1970) was then modified
/// at `latest`. This is what `rewrite-timestamp=true` does to the layers of a build (`spec/build.md` 4.3).
///
/// # Errors
/// [`LayerError::Tar`] for a damaged tar; [`LayerError::Path`] for a hard link to a file of another layer, which
/// strata writes into no layer.
pub fn clamp_times(
    tar: &mut dyn BufRead,
    latest: i64,
    out: &mut dyn Write,
) -> Result<(LayerInfo, Contents), LayerError> {
    // The layer is in the store: its names were bounded when it came.
    let mut reader = Reader::new(tar, &Limits { metadata: u64::MAX, ..Limits::default() });
    let mut builder = LayerBuilder::new(out);
    while let Some(mut member) = reader.next_member()? {
        clamp(&mut member.metadata, latest);
        copy_member(&mut reader, &member, &mut builder)?;
    }
    let (_, info, contents) = builder.finish()?;
    Ok((info, contents))
}

fn clamp(metadata: &mut Metadata, latest: i64) {
    if metadata.mtime >= latest {
        (metadata.mtime, metadata.mtime_nsec) = (latest, 0);
    }
}

fn copy_member<R: BufRead>(
    reader: &mut Reader<R>,
    member: &Member,
    builder: &mut LayerBuilder<&mut dyn Write>,
) -> Result<(), LayerError> {
    let (parent, name) = match member.path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&member.path[..slash], &member.path[slash + 1..]),
        None => (&b""[..], &member.path[..]),
    };
    if name == OPAQUE {
        return builder.opaque(parent);
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        if hidden.starts_with(WHITEOUT) {
            // Notes of aufs to itself, which hide nothing.
            return Ok(());
        }
        let path = if parent.is_empty() { hidden.to_vec() } else { [parent, b"/", hidden].concat() };
        return builder.whiteout(&path);
    }
    match &member.kind {
        MemberKind::Regular(_) => {
            let metadata = member.metadata.clone();
            builder.add_file(&member.path, &metadata, &mut reader.content(member), None).map(drop)
        }
        MemberKind::HardLink(target) => builder.hard_link(&member.path, target),
        MemberKind::Symlink(target) => builder.add(&member.path, &member.metadata, target),
        MemberKind::Directory | MemberKind::CharDevice | MemberKind::BlockDevice | MemberKind::Fifo => {
            builder.add(&member.path, &member.metadata, b"")
        }
    }
}

/// Writes the one layer that makes `base` what `top` is (`--squash`). `top` must stand on the layers of `base`: what
/// both have from the same layer is the same.
///
/// # Errors
/// Those of reading the layers and of writing.
pub fn difference(
    base: &Stack,
    top: &Stack,
    out: &mut dyn Write,
) -> Result<(LayerInfo, Contents), LayerError> {
    let mut squash = Squash { top, builder: LayerBuilder::new(out), links: HashMap::new() };
    squash.removed(base, b"")?;
    for (path, entry) in top.walk(b"", None)?.iter() {
        let before = base.entry(&path)?;
        if before.as_ref().is_none_or(|before| !is_same(before, &entry)) {
            squash.add(&path, &entry)?;
        }
        if entry.is_directory() && before.is_some_and(|before| before.is_directory()) {
            squash.removed(base, &path)?;
        }
    }
    let (_, info, contents) = squash.builder.finish()?;
    Ok((info, contents))
}

/// A directory is the same if it looks the same, whichever layer says so; a file if no layer above wrote it.
fn is_same(before: &Entry, now: &Entry) -> bool {
    let same_inode =
        || (before.identity.device, before.identity.inode) == (now.identity.device, now.identity.inode);
    before.metadata == now.metadata && (now.is_directory() || same_inode())
}

struct Squash<'a> {
    top: &'a Stack,
    builder: LayerBuilder<&'a mut dyn Write>,
    /// First path of each inode with several, by layer and inode number.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Squash<'_> {
    fn add(&mut self, path: &[u8], entry: &Entry) -> Result<(), LayerError> {
        let inode = (entry.identity.device, entry.identity.inode);
        let is_linked = entry.identity.links > 1 && !entry.is_directory();
        if let Some(first) = self.links.get(&inode).filter(|_| is_linked) {
            return self.builder.hard_link(path, first);
        }
        if entry.metadata.file_type == FileType::Regular {
            let digest = self.top.layers()[inode.0 as usize].content_digest(inode.1);
            let mut content = SourceTree::open(self.top, path, entry)?;
            self.builder.add_file(path, &entry.metadata, &mut content, digest)?;
        } else {
            self.builder.add(path, &entry.metadata, &entry.link)?;
        }
        if is_linked {
            self.links.insert(inode, path.to_vec());
        }
        Ok(())
    }

    /// Hides what is in a directory of `base` and no more in that of the top.
    fn removed(&mut self, base: &Stack, directory: &[u8]) -> Result<(), LayerError> {
        let names = |stack: &Stack| -> Result<BTreeSet<Vec<u8>>, LayerError> {
            Ok(SourceTree::read_dir(stack, directory)?.into_iter().map(|(name, _)| name).collect())
        };
        for name in names(base)?.difference(&names(self.top)?) {
            self.builder.whiteout(&crate::tree::join(directory, name))?;
        }
        Ok(())
    }
}
