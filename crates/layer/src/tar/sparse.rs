//! Sparse members: from a map of (offset, length) pairs to places in the tar.
use super::{BLOCK, Segment, number, padding};

/// The places of a sparse file's segments. `map` is offset, length, offset, length...; `stored` bytes of data
/// begin at `start` in the tar. Empty segments, with which GNU tar marks the file's end, are left out.
///
/// GNU tar begins every segment on a block, others pack them back to back. The two differ only when a segment
/// before the last one is not a multiple of 512; then the number of stored bytes tells them apart.
pub(crate) fn segments(map: &[u64], real_size: u64, start: u64, stored: u64) -> Result<Vec<Segment>, String> {
    let (pairs, odd) = map.as_chunks::<2>();
    if !odd.is_empty() {
        return Err("its sparse map has an offset without a length".into());
    }
    let (mut end, mut packed, mut padded, mut before) = (0u64, 0u64, 0u64, 0u64);
    for &[offset, length] in pairs {
        let next = offset.checked_add(length).filter(|next| *next <= real_size);
        let Some(next) = next.filter(|_| offset >= end) else {
            return Err(format!(
                "its sparse map has a segment of {length} bytes at {offset}; segments must be in order and inside the file's {real_size} bytes"
            ));
        };
        end = next;
        if length > 0 {
            packed += length;
            padded += before + padding(before);
            before = length;
        }
    }
    padded += before;
    let aligned = stored == padded || stored == padded + padding(padded);
    if !aligned && stored != packed {
        return Err(format!("its sparse map covers {packed} bytes, but {stored} are stored"));
    }
    let mut offset = start;
    Ok(pairs
        .iter()
        .filter(|[_, length]| *length > 0)
        .map(|&[logical, length]| {
            let segment = Segment { logical, length, offset };
            offset += if aligned { length + padding(length) } else { length };
            segment
        })
        .collect())
}

/// Offset and length pairs of an old GNU header (4) or of one of its extension blocks (21): 12-byte numbers,
/// ended by a blank one.
pub(crate) fn old_map(area: &[u8], map: &mut Vec<u64>) -> Result<(), String> {
    for pair in area.as_chunks::<24>().0 {
        if pair[0] == 0 {
            break;
        }
        for field in [&pair[..12], &pair[12..]] {
            let value = number::field(field).and_then(|value| u64::try_from(value).ok());
            map.push(value.ok_or("its sparse map holds something that is not a number")?);
        }
    }
    Ok(())
}

/// The map of format 1.0, at the beginning of the data: decimal numbers, each ended by a line feed, the first
/// one the number of pairs; padded to a block.
#[derive(Default)]
pub(crate) struct NewMap {
    expected: Option<u64>,
    digits: Vec<u8>,
    map: Vec<u64>,
}

impl NewMap {
    /// Takes the next block; true when the map is complete.
    pub(crate) fn block(&mut self, block: &[u8; BLOCK as usize]) -> Result<bool, String> {
        for byte in block {
            if self.complete() {
                break;
            }
            match byte {
                b'\n' => {
                    let value = number::decimal(&self.digits)
                        .ok_or("its sparse map holds something that is not a number")?;
                    self.digits.clear();
                    match self.expected {
                        None => {
                            let pairs =
                                value.checked_mul(2).ok_or("its sparse map claims too many segments")?;
                            self.expected = Some(pairs);
                        }
                        Some(_) => self.map.push(value),
                    }
                }
                _ if self.digits.len() >= 20 => {
                    return Err("its sparse map holds something that is not a number".into());
                }
                _ => self.digits.push(*byte),
            }
        }
        Ok(self.complete())
    }

    fn complete(&self) -> bool {
        self.expected.is_some_and(|expected| self.map.len() as u64 >= expected)
    }

    /// Offset, length, offset, length...
    pub(crate) fn into_map(self) -> Vec<u64> {
        self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(logical: u64, length: u64, offset: u64) -> Segment {
        Segment { logical, length, offset }
    }

    #[test]
    fn segments_of_whole_blocks_follow_each_other() {
        let map = [0, 512, 4096, 1024, 9000, 0];
        let expected = [place(0, 512, 1024), place(4096, 1024, 1536)];
        assert_eq!(segments(&map, 9000, 1024, 1536).unwrap(), expected);
    }

    #[test]
    fn the_stored_length_tells_padded_from_packed() {
        let map = [0, 100, 1024, 200];
        assert_eq!(segments(&map, 2000, 0, 712).unwrap(), [place(0, 100, 0), place(1024, 200, 512)]);
        assert_eq!(segments(&map, 2000, 0, 1024).unwrap(), [place(0, 100, 0), place(1024, 200, 512)]);
        assert_eq!(segments(&map, 2000, 0, 300).unwrap(), [place(0, 100, 0), place(1024, 200, 100)]);
        assert!(segments(&map, 2000, 0, 301).unwrap_err().contains("covers 300 bytes, but 301"));
    }

    #[test]
    fn lying_maps_are_refused() {
        assert!(segments(&[0, 10, 5, 10], 100, 0, 20).is_err());
        assert!(segments(&[0, 101], 100, 0, 101).is_err());
        assert!(segments(&[u64::MAX, 2], u64::MAX, 0, 2).is_err());
        assert!(segments(&[0], 100, 0, 0).is_err());
    }

    #[test]
    fn the_new_map_may_end_anywhere_in_a_block() {
        let mut block = [0u8; 512];
        let text = b"2\n0\n512\n4096\n10\n";
        block[..text.len()].copy_from_slice(text);
        let mut map = NewMap::default();
        assert_eq!(map.block(&block), Ok(true));
        assert_eq!(map.into_map(), [0, 512, 4096, 10]);
        let mut map = NewMap::default();
        assert!(map.block(&[b'1'; 512]).is_err());
    }
}
