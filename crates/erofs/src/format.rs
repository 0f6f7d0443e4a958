//! The on-disk structures that reader and writer share. All integers are little endian.

pub(crate) mod inode;
pub(crate) mod superblock;
pub(crate) mod xattr;

use crate::FileType;

/// Bytes that one nid step covers.
pub(crate) const NID_UNIT: u64 = 32;
/// Block address of data that is nowhere: a hole, or an inode without whole blocks.
pub(crate) const NO_BLOCK: u32 = u32::MAX;
/// Size of a directory entry before its name.
pub(crate) const DIRENT_SIZE: usize = 12;
/// Longest name a directory entry can have.
pub(crate) const NAME_MAX: usize = 255;
/// Longest symlink target the kernel follows (`PATH_MAX` without its NUL).
pub(crate) const LINK_MAX: usize = 4095;
/// Size of a chunk index entry.
pub(crate) const CHUNK_ENTRY_SIZE: u64 = 8;
/// Chunk format bit: entries are 8 bytes long and name a device.
pub(crate) const CHUNK_INDEXES: u16 = 0x20;
/// Chunk format bits that hold log2(chunk size / block size).
pub(crate) const CHUNK_BITS_MASK: u16 = 0x1f;

/// The `N` bytes at `at`; the caller has checked that they exist.
pub(crate) fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Overwrites the bytes at `at`; the caller has checked that they exist.
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

impl FileType {
    const ALL: [FileType; 7] = [
        FileType::Regular,
        FileType::Directory,
        FileType::CharDevice,
        FileType::BlockDevice,
        FileType::Fifo,
        FileType::Socket,
        FileType::Symlink,
    ];

    /// The type's `S_IFMT` bits.
    pub(crate) fn mode_bits(self) -> u16 {
        match self {
            FileType::Regular => 0o100_000,
            FileType::Directory => 0o040_000,
            FileType::CharDevice => 0o020_000,
            FileType::BlockDevice => 0o060_000,
            FileType::Fifo => 0o010_000,
            FileType::Socket => 0o140_000,
            FileType::Symlink => 0o120_000,
        }
    }

    pub(crate) fn from_mode(mode: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.mode_bits() == mode & 0o170_000)
    }

    /// The code in a directory entry: the order of [`Self::ALL`], from 1.
    pub(crate) fn dirent_code(self) -> u8 {
        match self {
            FileType::Regular => 1,
            FileType::Directory => 2,
            FileType::CharDevice => 3,
            FileType::BlockDevice => 4,
            FileType::Fifo => 5,
            FileType::Socket => 6,
            FileType::Symlink => 7,
        }
    }

    pub(crate) fn from_dirent_code(code: u8) -> Option<Self> {
        usize::from(code).checked_sub(1).and_then(|index| Self::ALL.get(index).copied())
    }
}

/// Packs a device number as the kernel's `new_encode_dev` does; `None` when a part is too big.
pub(crate) fn encode_device(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some((minor & 0xff) | major << 8 | (minor & !0xff) << 12)
}

/// The inverse of [`encode_device`]: (major, minor).
pub(crate) fn decode_device(packed: u32) -> (u32, u32) {
    ((packed >> 8) & 0xfff, (packed & 0xff) | ((packed >> 12) & 0xf_ff00))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive() {
        assert_eq!(encode_device(8, 257), Some(0x0010_0801));
        for (major, minor) in [(0, 0), (1, 3), (4095, 1_048_575), (259, 256)] {
            assert_eq!(encode_device(major, minor).map(decode_device), Some((major, minor)));
        }
    }

    #[test]
    fn types_survive() {
        for file_type in FileType::ALL {
            assert_eq!(FileType::from_dirent_code(file_type.dirent_code()), Some(file_type));
            assert_eq!(FileType::from_mode(file_type.mode_bits() | 0o7777), Some(file_type));
        }
        assert_eq!((FileType::from_dirent_code(0), FileType::from_dirent_code(8)), (None, None));
        assert_eq!(FileType::from_mode(0o7777), None);
    }
}
