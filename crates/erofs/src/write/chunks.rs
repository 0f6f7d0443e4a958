//! Chunk indexes: where each part of an external file is (`spec/erofs.md`, section 4).

use super::WriteError;
use crate::format::{CHUNK_ENTRY_SIZE, NO_BLOCK, put};
use crate::{BLOCK, Extent};

/// log2 of [`BLOCK`].
pub(super) const BLOCK_BITS: u8 = BLOCK.trailing_zeros() as u8;
/// The largest chunk: five bits hold its log2 above the block's.
const CHUNK_BITS_MAX: u8 = BLOCK_BITS + 31;

/// Sorts out what `add` is given: no empty extents, neighbours that continue each other joined.
pub(super) fn normalize(size: u64, extents: Vec<Extent>) -> Result<Vec<Extent>, WriteError> {
    let mut joined: Vec<Extent> = Vec::with_capacity(extents.len());
    let mut end = 0;
    for extent in extents.into_iter().filter(|extent| extent.length > 0) {
        let Extent { logical, length, device, offset } = extent;
        if logical % BLOCK != 0 || offset % BLOCK != 0 {
            return Err(WriteError::UnalignedExtent { logical, device, offset });
        }
        let next = logical.checked_add(length).filter(|next| *next <= size);
        let next = next.filter(|_| logical >= end).ok_or(WriteError::ExtentOrder { logical })?;
        if offset.checked_add(length).is_none() {
            return Err(WriteError::OutsideDevice { logical, device, end: u64::MAX, device_length: 0 });
        }
        match joined.last_mut() {
            Some(last) if last.device == device && end == logical && last.offset + last.length == offset => {
                last.length += length;
            }
            _ => joined.push(extent),
        }
        end = next;
    }
    joined.shrink_to_fit();
    Ok(joined)
}

/// Checks that every extent lies within its device, with the rest of its last block: the kernel reads
/// whole blocks, and one that the device ends in is an I/O error.
pub(super) fn check_devices(extents: &[Extent], device_lengths: &[u64]) -> Result<(), WriteError> {
    for extent in extents {
        let length = usize::from(extent.device).checked_sub(1).and_then(|slot| device_lengths.get(slot));
        let device_length = length.copied().unwrap_or(0);
        let end = (extent.offset + extent.length).div_ceil(BLOCK).saturating_mul(BLOCK);
        if end > device_length {
            let Extent { logical, device, .. } = *extent;
            return Err(WriteError::OutsideDevice { logical, device, end, device_length });
        }
    }
    Ok(())
}

/// log2 of the one chunk size of a file: the largest power of two on whose multiples every extent begins
/// and ends. An end inside the file that is no multiple of a block gets the smallest chunk, and the
/// zeros that follow it in the device fill the block.
pub(super) fn chunk_bits(size: u64, extents: &[Extent]) -> u8 {
    let whole = u64::BITS - size.saturating_sub(1).leading_zeros();
    let edges = extents.iter().flat_map(|extent| [extent.logical, extent.logical + extent.length]);
    edges
        .filter(|edge| (1..size).contains(edge))
        .map(u64::trailing_zeros)
        .fold(whole, u32::min)
        .clamp(u32::from(BLOCK_BITS), u32::from(CHUNK_BITS_MAX)) as u8
}

/// Number of entries of a file's index.
pub(super) fn count(size: u64, bits: u8) -> u64 {
    size.div_ceil(1 << bits)
}

/// The entries of a file's index, in order.
pub(super) fn entries(
    size: u64,
    extents: &[Extent],
    bits: u8,
) -> impl Iterator<Item = [u8; CHUNK_ENTRY_SIZE as usize]> {
    let mut rest = extents;
    (0..count(size, bits)).map(move |index| {
        let start = index << bits;
        while let [first, tail @ ..] = rest
            && first.logical + first.length <= start
        {
            rest = tail;
        }
        let here = rest.first().filter(|extent| extent.logical <= start);
        let (device, block) = here.map_or((0, NO_BLOCK), |extent| {
            (extent.device, ((extent.offset + (start - extent.logical)) / BLOCK) as u32)
        });
        let mut entry = [0; CHUNK_ENTRY_SIZE as usize];
        put(&mut entry, 2, device.to_le_bytes());
        put(&mut entry, 4, block.to_le_bytes());
        entry
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(logical: u64, length: u64, offset: u64) -> Extent {
        Extent { logical, length, device: 1, offset }
    }

    #[test]
    fn the_chunk_size_divides_every_inner_edge() {
        assert_eq!(chunk_bits(1, &[extent(0, 1, 0)]), 9);
        assert_eq!(chunk_bits(512, &[extent(0, 512, 0)]), 9);
        assert_eq!(chunk_bits(513, &[extent(0, 513, 0)]), 10);
        assert_eq!(chunk_bits(1 << 33, &[extent(0, 1 << 33, 0)]), 33);
        assert_eq!(chunk_bits(1 << 60, &[]), 40);
        assert_eq!(chunk_bits(1 << 20, &[extent(8192, 4096, 0)]), 12);
        assert_eq!(chunk_bits(1 << 20, &[extent(8192, 4000, 0)]), 9);
        // The end of the file does not count.
        assert_eq!(chunk_bits(9001, &[extent(8192, 809, 0)]), 13);
    }

    #[test]
    fn entries_point_into_the_extents() {
        let extents = [extent(1024, 600, 5120), extent(2048, 512, 0)];
        let entries: Vec<_> = entries(4096, &extents, chunk_bits(4096, &extents)).collect();
        let hole = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        let at = |block: u8| [0, 0, 1, 0, block, 0, 0, 0];
        assert_eq!(entries, [hole, hole, at(10), at(11), at(0), hole, hole, hole]);
    }

    #[test]
    fn extents_that_continue_each_other_are_joined() {
        let given =
            vec![extent(0, 512, 512), extent(512, 0, 0), extent(512, 1024, 1024), extent(1536, 512, 0)];
        assert_eq!(normalize(2048, given).unwrap(), [extent(0, 1536, 512), extent(1536, 512, 0)]);
    }
}
