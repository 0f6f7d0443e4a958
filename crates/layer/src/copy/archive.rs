//! ADD of local archives (`spec/build.md` 2.6).
//!
//! An archive is read twice: once for its headers, which decide what the layer holds (a later member of the same
//! name wins, a hard link's header changes the file that it names), once for the contents that are left. Nothing
//! is spooled, and memory grows with the number of members only.
//!
//! Docker extracts as if the destination were the root of the file system: absolute links lead there, `..` ends there.
use super::error::shown;
use super::plan::{Body, MemberId, Node, Plan, parent};
use super::select::Selection;
use super::{CopyError, CopyOptions};
use crate::compression::decompress;
use crate::tar::{Member, MemberKind, Reader};
use crate::tree::{Entry, SourceTree, join};
use crate::{FileType, LayerBuilder, LayerError, Limits, Metadata};
use std::collections::HashMap;
use std::io::{BufReader, Read, Write};

type TarReader<'a> = Reader<BufReader<Box<dyn Read + Send + 'a>>>;

/// The tar in a file: compressed or not, judged by content. `None` if there is none.
fn open<'a>(tree: &'a dyn SourceTree, path: &[u8], entry: &Entry) -> Result<TarReader<'a>, LayerError> {
    let input = BufReader::with_capacity(1 << 16, decompress(tree.open(path, entry)?)?);
    Ok(Reader::new(input, &Limits::default()).rooted())
}

/// True if the file decompresses to something that begins with a member of a tar.
pub(super) fn is_archive(tree: &dyn SourceTree, path: &[u8], entry: &Entry) -> bool {
    let first = |mut reader: TarReader<'_>| reader.next_member();
    entry.is_file() && matches!(open(tree, path, entry).and_then(first), Ok(Some(_)))
}

impl Plan<'_> {
    /// Plans everything in the archive that a source names, below `destination`.
    pub(super) fn unpack(
        &mut self,
        selection: usize,
        root: usize,
        destination: &[u8],
    ) -> Result<(), CopyError> {
        let base = self.resolve(b"", destination)?;
        // --chmod has no say in what an archive needs, --chown has.
        let made = Metadata { mode: 0o755, ..self.new_directory().metadata };
        self.make_directories_like(&base, &made)?;
        self.keep(&base);
        let source = &self.selections[selection].roots[root];
        let tree = &*self.selections[selection].tree;
        let bad = |error: LayerError| bad_archive(&source.path, &error);
        let mut reader = open(tree, &source.path, &source.entry)?;
        let mut number = 0;
        while let Some(member) = reader.next_member().map_err(bad)? {
            self.add_member(&base, MemberId { selection, root, number }, member)?;
            number += 1;
        }
        Ok(())
    }

    fn add_member(&mut self, base: &[u8], id: MemberId, member: Member) -> Result<(), CopyError> {
        if member.path.is_empty() {
            // The archive's own root says nothing about the destination.
            return Ok(());
        }
        let path = self.place_of(base, &member.path)?;
        let missing = Metadata { mode: 0o755, uid: 0, gid: 0, ..self.new_directory().metadata };
        self.make_directories_like(parent(&path), &missing)?;
        let metadata = dressed(self.options, member.metadata);
        match member.kind {
            MemberKind::Directory => self.add_member_directory(&path, metadata),
            MemberKind::HardLink(target) => {
                let target = self.place_of(base, &target)?;
                self.add_member_link(&path, &target, metadata, id)
            }
            MemberKind::Regular(_) => {
                self.members.insert(id, metadata.clone());
                self.replace(&path, metadata, Vec::new(), Body::Member(id))
            }
            MemberKind::Symlink(link) => self.replace(&path, metadata, link, Body::None),
            MemberKind::CharDevice | MemberKind::BlockDevice | MemberKind::Fifo => {
                self.replace(&path, metadata, Vec::new(), Body::None)
            }
        }
    }

    /// The real path of a member: links on the way are followed below `base`, the last component is not.
    fn place_of(&mut self, base: &[u8], member: &[u8]) -> Result<Vec<u8>, CopyError> {
        let directory = self.resolve(base, parent(member))?;
        let name = member.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        Ok(join(&directory, name))
    }

    fn add_member_directory(&mut self, path: &[u8], metadata: Metadata) -> Result<(), CopyError> {
        if self.lookup(path)? == Some(FileType::Directory) {
            if let Some(node) = self.nodes.get_mut(path) {
                node.metadata = metadata;
            }
            self.keep(path);
            return Ok(());
        }
        let opaque = self.hidden.contains(path);
        let node = Node { metadata, opaque, ..self.new_directory() };
        self.insert(path, node);
        Ok(())
    }

    /// Another name: of a member, whose owner, mode and times the link's header then overwrites, or of a file that
    /// the layers below have, which becomes part of this layer.
    fn add_member_link(
        &mut self,
        path: &[u8],
        target: &[u8],
        metadata: Metadata,
        id: MemberId,
    ) -> Result<(), CopyError> {
        let found = self.lookup(target)?;
        if found == Some(FileType::Regular) && !self.nodes.contains_key(target) {
            self.take_from_below(target)?;
        }
        let bad = |what: &str| CopyError::Archive {
            archive: shown(&self.selections[id.selection].roots[id.root].path),
            what: format!("{} is a hard link to {}, {what}", path.escape_ascii(), target.escape_ascii()),
        };
        let Some(node) = self.nodes.get_mut(target) else { return Err(bad("which does not exist")) };
        if node.metadata.file_type == FileType::Directory {
            return Err(bad("which is a directory"));
        }
        let metadata = Metadata {
            file_type: node.metadata.file_type,
            size: node.metadata.size,
            rdev: node.metadata.rdev,
            mode: if node.metadata.file_type == FileType::Symlink { 0o777 } else { metadata.mode },
            ..metadata
        };
        node.metadata = metadata.clone();
        let (link, body) = (node.link.clone(), node.body);
        if let Body::Member(first) = body {
            self.members.insert(first, metadata.clone());
        }
        if path == target { Ok(()) } else { self.replace(path, metadata, link, body) }
    }

    /// Puts something that is no directory at `path`, whatever was there.
    fn replace(
        &mut self,
        path: &[u8],
        metadata: Metadata,
        link: Vec<u8>,
        body: Body,
    ) -> Result<(), CopyError> {
        if self.lookup(path)? == Some(FileType::Directory) {
            self.remove_directory(path);
        }
        self.insert(path, Node { metadata, link, body, shows_below: false, opaque: false, kept: true });
        Ok(())
    }

    fn remove_directory(&mut self, path: &[u8]) {
        if self.nodes.get(path).is_some_and(|node| node.shows_below) {
            self.hidden.insert(path.to_vec());
        }
        let below = [path, b"/"].concat();
        let gone: Vec<Vec<u8>> = self
            .nodes
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(&below))
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }
}

/// `--chown` is for all members; `--chmod` has no effect on them.
fn dressed(options: &CopyOptions, mut metadata: Metadata) -> Metadata {
    if let Some((uid, gid)) = options.owner {
        (metadata.uid, metadata.gid) = (uid, gid);
    }
    metadata
}

fn bad_archive(path: &[u8], error: &LayerError) -> CopyError {
    CopyError::Archive { archive: shown(path), what: error.to_string() }
}

/// Writes the files that come from archives, each with its further names, in the order of their members.
pub(super) fn write_members<W: Write>(
    files: &HashMap<MemberId, Vec<(&[u8], &Metadata)>>,
    selections: &[&Selection],
    builder: &mut LayerBuilder<W>,
) -> Result<(), CopyError> {
    let mut archives: Vec<(usize, usize)> = files.keys().map(|id| (id.selection, id.root)).collect();
    archives.sort_unstable();
    archives.dedup();
    for (selection, root) in archives {
        let source = &selections[selection].roots[root];
        let changed = || CopyError::Changed(shown(&source.path));
        let mut left = files.keys().filter(|id| (id.selection, id.root) == (selection, root)).count();
        let mut reader = open(&*selections[selection].tree, &source.path, &source.entry)?;
        let mut number = 0;
        while let Some(member) = reader.next_member().map_err(|error| bad_archive(&source.path, &error))? {
            if let Some(names) = files.get(&MemberId { selection, root, number }) {
                let (path, metadata) = names[0];
                if member.metadata.size != metadata.size {
                    return Err(changed());
                }
                builder.add_file(path, metadata, &mut reader.content(&member), None)?;
                for (other, _) in &names[1..] {
                    builder.hard_link(other, path)?;
                }
                left -= 1;
            }
            number += 1;
        }
        if left > 0 {
            return Err(changed());
        }
    }
    Ok(())
}
