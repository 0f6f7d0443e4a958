//! Directory blocks (`spec/erofs.md`, section 5).

use super::InodeId;
use crate::format::DIRENT_SIZE;
use crate::{BLOCK, FileType};

/// A name in a directory, stored in [`Names`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    start: usize,
    length: u8,
    pub(super) child: InodeId,
}

/// The names of all directories, one after the other.
#[derive(Debug)]
pub(super) struct Names(Vec<u8>);

impl Names {
    /// Starts with `..`, of which `.` is a part.
    pub(super) fn new() -> Self {
        Self(b"..".to_vec())
    }

    /// Stores `name`, at most 255 bytes long.
    pub(super) fn store(&mut self, name: &[u8], child: InodeId) -> Entry {
        let start = self.0.len();
        self.0.extend_from_slice(name);
        Entry { start, length: name.len() as u8, child }
    }

    pub(super) fn dot(&self, child: InodeId) -> Entry {
        Entry { start: 0, length: 1, child }
    }

    pub(super) fn dot_dot(&self, child: InodeId) -> Entry {
        Entry { start: 0, length: 2, child }
    }

    pub(super) fn get(&self, entry: &Entry) -> &[u8] {
        &self.0[entry.start..entry.start + usize::from(entry.length)]
    }
}

fn used(entry: &Entry) -> usize {
    DIRENT_SIZE + usize::from(entry.length)
}

/// Splits sorted entries into blocks, each as full as it can be.
pub(super) fn blocks(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut room = BLOCK as usize;
        let fitting = rest.iter().take_while(|entry| {
            let fits = used(entry) <= room;
            room = room.saturating_sub(used(entry));
            fits
        });
        let (block, tail) = rest.split_at(fitting.count());
        rest = tail;
        (!block.is_empty()).then_some(block)
    })
}

/// A directory's size: whole blocks, and the bytes used in the last one.
pub(super) fn size(entries: &[Entry]) -> u64 {
    let (count, last) =
        blocks(entries).fold((0, 0), |(count, _), block| (count + 1, block.iter().map(used).sum()));
    BLOCK * (count - 1) + last as u64
}

/// Appends one block, without its padding.
pub(super) fn encode(
    block: &[Entry],
    names: &Names,
    inode: impl Fn(InodeId) -> (u64, FileType),
    out: &mut Vec<u8>,
) {
    let mut name_at = DIRENT_SIZE * block.len();
    for entry in block {
        let (nid, file_type) = inode(entry.child);
        out.extend(nid.to_le_bytes());
        out.extend((name_at as u16).to_le_bytes());
        out.extend([file_type.dirent_code(), 0]);
        name_at += usize::from(entry.length);
    }
    for entry in block {
        out.extend_from_slice(names.get(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(lengths: &[usize]) -> (Vec<usize>, u64) {
        let mut names = Names::new();
        let entries: Vec<Entry> =
            lengths.iter().map(|length| names.store(&vec![b'x'; *length], InodeId::ROOT)).collect();
        (blocks(&entries).map(<[Entry]>::len).collect(), size(&entries))
    }

    #[test]
    fn blocks_are_filled_to_the_last_byte() {
        assert_eq!(sizes(&[1, 2]), (vec![2], 27));
        assert_eq!(sizes(&[244, 244]), (vec![2], 512));
        assert_eq!(sizes(&[244, 245]), (vec![1, 1], 512 + 257));
        assert_eq!(sizes(&[255, 255, 255]), (vec![1, 1, 1], 1024 + 267));
    }

    #[test]
    fn an_encoded_block_has_its_names_behind_its_entries() {
        let mut names = Names::new();
        let entries = [names.dot(InodeId::ROOT), names.store(b"abc", InodeId(1))];
        let mut bytes = Vec::new();
        let inode = |id: InodeId| (id.index() as u64 + 40, FileType::Directory);
        encode(&entries, &names, inode, &mut bytes);
        let mut expected = vec![40, 0, 0, 0, 0, 0, 0, 0, 24, 0, 2, 0];
        expected.extend([41, 0, 0, 0, 0, 0, 0, 0, 25, 0, 2, 0]);
        expected.extend(b".abc");
        assert_eq!(bytes, expected);
    }
}
