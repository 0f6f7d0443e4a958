//! Directory blocks (`spec/erofs.md`, section 5).

use super::InodeId;
use super::tree::{Entry, Nodes};
use crate::format::DIRENT_SIZE;
use crate::{BLOCK, FileType};

fn used(entry: &Entry<'_>) -> usize {
    DIRENT_SIZE + entry.name.len()
}

/// Splits sorted entries into blocks, each as full as it can be.
pub(super) fn blocks<'e, 'n>(entries: &'e [Entry<'n>]) -> impl Iterator<Item = &'e [Entry<'n>]> {
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
pub(super) fn size(entries: &[Entry<'_>]) -> u64 {
    let (count, last) =
        blocks(entries).fold((0, 0), |(count, _), block| (count + 1, block.iter().map(used).sum()));
    BLOCK * (count - 1) + last as u64
}

/// Links of a directory with these entries: two, and one for each subdirectory.
pub(super) fn nlink(nodes: Nodes<'_>, entries: &[Entry<'_>]) -> u64 {
    // `.` and `..` are directories, too.
    entries.iter().filter(|entry| nodes.is_directory(entry.child)).count() as u64
}

/// Appends one block, without its padding.
pub(super) fn encode(block: &[Entry<'_>], inode: impl Fn(InodeId) -> (u64, FileType), out: &mut Vec<u8>) {
    let mut name_at = DIRENT_SIZE * block.len();
    for entry in block {
        let (nid, file_type) = inode(entry.child);
        out.extend(nid.to_le_bytes());
        out.extend((name_at as u16).to_le_bytes());
        out.extend([file_type.dirent_code(), 0]);
        name_at += entry.name.len();
    }
    for entry in block {
        out.extend_from_slice(entry.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(lengths: &[usize]) -> (Vec<usize>, u64) {
        let names: Vec<Vec<u8>> = lengths.iter().map(|length| vec![b'x'; *length]).collect();
        let entries: Vec<_> = names.iter().map(|name| Entry { name, child: InodeId::ROOT }).collect();
        (blocks(&entries).map(<[Entry<'_>]>::len).collect(), size(&entries))
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
        let entries = [Entry { name: b".", child: InodeId::ROOT }, Entry { name: b"abc", child: InodeId(1) }];
        let mut bytes = Vec::new();
        let inode = |id: InodeId| (id.index() as u64 + 40, FileType::Directory);
        encode(&entries, inode, &mut bytes);
        let mut expected = vec![40, 0, 0, 0, 0, 0, 0, 0, 24, 0, 2, 0];
        expected.extend([41, 0, 0, 0, 0, 0, 0, 0, 25, 0, 2, 0]);
        expected.extend(b".abc");
        assert_eq!(bytes, expected);
    }
}
