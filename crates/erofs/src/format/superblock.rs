//! The superblock, its checksum, and the device table (`spec/erofs.md`, sections 1 and 2).

use super::{get, put};

/// Where the superblock is.
pub(crate) const OFFSET: usize = 1024;
/// Its size (no extension slots), which is also that of a device slot.
pub(crate) const SIZE: usize = 128;
/// Size of a slot of the device table, and the unit of `device_table`.
pub(crate) const DEVICE_SLOT_SIZE: u64 = 128;
const MAGIC: u32 = 0xE0F5_E1E2;
const CHECKSUM_FIELD: usize = 4;
const UUID_FIELD: usize = 48;

/// Compatible feature: the superblock carries a checksum.
pub(crate) const COMPAT_CHECKSUM: u32 = 0x1;
/// Compatible feature: times are modification times.
pub(crate) const COMPAT_MTIME: u32 = 0x2;
/// Incompatible feature: compressed data end their block. Harmless where nothing is compressed.
pub(crate) const INCOMPAT_LZ4_PADDING: u32 = 0x1;
/// Incompatible feature: chunk-based files.
pub(crate) const INCOMPAT_CHUNKED: u32 = 0x4;
/// Incompatible feature: a table of extra devices.
pub(crate) const INCOMPAT_DEVICES: u32 = 0x8;

/// The superblock's fields, without those that are always zero here.
#[derive(Clone, Debug)]
pub(crate) struct Superblock {
    pub(crate) checksum: u32,
    pub(crate) compat: u32,
    pub(crate) incompat: u32,
    pub(crate) block_bits: u8,
    pub(crate) directory_block_bits: u8,
    pub(crate) root_nid: u16,
    pub(crate) inodes: u64,
    /// Modification time of every compact inode.
    pub(crate) epoch: i64,
    pub(crate) fixed_nsec: u32,
    /// Length of the image.
    pub(crate) blocks: u32,
    pub(crate) meta_block: u32,
    pub(crate) xattr_block: u32,
    pub(crate) devices: u16,
    /// Offset of the device table in slots.
    pub(crate) device_table: u16,
}

impl Superblock {
    pub(crate) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        put(&mut bytes, 0, MAGIC.to_le_bytes());
        put(&mut bytes, CHECKSUM_FIELD, self.checksum.to_le_bytes());
        put(&mut bytes, 8, self.compat.to_le_bytes());
        bytes[12] = self.block_bits;
        put(&mut bytes, 14, self.root_nid.to_le_bytes());
        put(&mut bytes, 16, self.inodes.to_le_bytes());
        put(&mut bytes, 24, self.epoch.to_le_bytes());
        put(&mut bytes, 32, self.fixed_nsec.to_le_bytes());
        put(&mut bytes, 36, self.blocks.to_le_bytes());
        put(&mut bytes, 40, self.meta_block.to_le_bytes());
        put(&mut bytes, 44, self.xattr_block.to_le_bytes());
        put(&mut bytes, 80, self.incompat.to_le_bytes());
        put(&mut bytes, 86, self.devices.to_le_bytes());
        put(&mut bytes, 88, self.device_table.to_le_bytes());
        bytes[90] = self.directory_block_bits;
        bytes
    }

    /// `None` when the magic number is not EROFS's.
    pub(crate) fn decode(bytes: &[u8; SIZE]) -> Option<Self> {
        (u32::from_le_bytes(get(bytes, 0)) == MAGIC).then(|| Self {
            checksum: u32::from_le_bytes(get(bytes, CHECKSUM_FIELD)),
            compat: u32::from_le_bytes(get(bytes, 8)),
            incompat: u32::from_le_bytes(get(bytes, 80)),
            block_bits: bytes[12],
            directory_block_bits: bytes[90],
            root_nid: u16::from_le_bytes(get(bytes, 14)),
            inodes: u64::from_le_bytes(get(bytes, 16)),
            epoch: i64::from_le_bytes(get(bytes, 24)),
            fixed_nsec: u32::from_le_bytes(get(bytes, 32)),
            blocks: u32::from_le_bytes(get(bytes, 36)),
            meta_block: u32::from_le_bytes(get(bytes, 40)),
            xattr_block: u32::from_le_bytes(get(bytes, 44)),
            devices: u16::from_le_bytes(get(bytes, 86)),
            device_table: u16::from_le_bytes(get(bytes, 88)),
        })
    }
}

/// Bytes after [`OFFSET`] that the checksum covers.
pub(crate) fn checksum_length(block_bits: u8) -> usize {
    let block = 1 << block_bits;
    if block <= OFFSET { block } else { block - OFFSET }
}

/// The checksum of `covered`, which starts at the superblock; the checksum field counts as zero.
pub(crate) fn checksum(covered: &[u8]) -> u32 {
    let before = crc32c::crc32c(&covered[..CHECKSUM_FIELD]);
    let zeroed = crc32c::crc32c_append(before, &[0; 4]);
    // EROFS leaves out the final inversion that CRC-32C ends with.
    !crc32c::crc32c_append(zeroed, &covered[CHECKSUM_FIELD + 4..])
}

/// Sets the uuid and then the checksum in the first bytes of an image.
pub(crate) fn seal(head: &mut [u8], block_bits: u8, uuid: [u8; 16]) {
    put(head, OFFSET + UUID_FIELD, uuid);
    let sum = checksum(&head[OFFSET..OFFSET + checksum_length(block_bits)]);
    put(head, OFFSET + CHECKSUM_FIELD, sum.to_le_bytes());
}

/// A slot of the device table: the device's length and its place in the flat address space, in blocks.
pub(crate) fn encode_device_slot(blocks: u32, flat_address: u32) -> [u8; DEVICE_SLOT_SIZE as usize] {
    let mut bytes = [0; DEVICE_SLOT_SIZE as usize];
    put(&mut bytes, 64, blocks.to_le_bytes());
    put(&mut bytes, 68, flat_address.to_le_bytes());
    bytes
}

/// The device's length in blocks.
pub(crate) fn decode_device_blocks(slot: &[u8; DEVICE_SLOT_SIZE as usize]) -> u32 {
    u32::from_le_bytes(get(slot, 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c_without_the_final_inversion() {
        // After the magic number and the empty field the kernel starts from this value.
        let mut head = MAGIC.to_le_bytes().to_vec();
        head.extend([0xAA; 4]);
        assert_eq!(checksum(&head), 0x5045_B54A);
    }

    #[test]
    fn the_checksum_covers_one_block_or_what_the_first_block_has_left() {
        assert_eq!([9, 10, 11, 12].map(checksum_length), [512, 1024, 1024, 3072]);
    }
}
