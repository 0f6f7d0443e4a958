//! What makes a tree unrepresentable.

use super::InodeId;

/// Why an image cannot be written. Names are shown with unprintable bytes escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output failed.
    #[error("write the EROFS image")]
    Io(#[from] std::io::Error),
    /// [`crate::Attributes::mode`] has more than the permission bits.
    #[error("mode {0:#o} has bits outside 0o7777")]
    Mode(u16),
    /// [`crate::Attributes::mtime_nsec`] is a second or more.
    #[error("a modification time has {0} nanoseconds, over 999999999")]
    Nanoseconds(u32),
    /// The format has no place for this xattr's name.
    #[error(
        "xattr name {name:?} cannot be stored: only user.*, trusted.*, security.* and POSIX ACLs up to 255 bytes can"
    )]
    XattrName {
        /// The full name.
        name: String,
    },
    /// An xattr's value is longer than 65,535 bytes.
    #[error("xattr {name:?} has a value of {length} bytes, over the 65535 that can be stored")]
    XattrValue {
        /// The full name.
        name: String,
        /// The value's length in bytes.
        length: usize,
    },
    /// Two xattrs of one inode have the same name.
    #[error("xattr {name:?} is given twice")]
    XattrTwice {
        /// The full name.
        name: String,
    },
    /// All xattrs of one inode together are too long.
    #[error("the xattrs of one inode take {length} bytes, over the {limit} that can be stored")]
    XattrsTooLong {
        /// What they take.
        length: u64,
        /// What they may take.
        limit: u64,
    },
    /// A device number with a major over 12 bits or a minor over 20.
    #[error("device number {major}:{minor} is over 4095:1048575")]
    DeviceNumber {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A symlink target that is empty, longer than 4095 bytes, or has a NUL byte.
    #[error("symlink target of {length} bytes {why}")]
    SymlinkTarget {
        /// Its length in bytes.
        length: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file's size is over 2^63 - 1.
    #[error("file size {0} is over 9223372036854775807")]
    FileSize(u64),
    /// Inline content and size disagree.
    #[error("a file of {size} bytes has inline content of {found} bytes")]
    InlineSize {
        /// The size given.
        size: u64,
        /// The content's length.
        found: u64,
    },
    /// An extent that begins, in the file or in the device, inside a block.
    #[error(
        "extent at file offset {logical} begins at {offset} in device {device}: not both are multiples of 512"
    )]
    UnalignedExtent {
        /// Offset in the file.
        logical: u64,
        /// Device slot.
        device: u16,
        /// Offset in the device.
        offset: u64,
    },
    /// Extents overlap, are not sorted, or pass the end of the file.
    #[error("extent at file offset {logical} overlaps the one before or passes the end of the file")]
    ExtentOrder {
        /// Offset in the file.
        logical: u64,
    },
    /// An extent outside its device, or of a device that does not exist.
    #[error(
        "extent at file offset {logical} ends at {end} in device {device}, which has {device_length} bytes"
    )]
    OutsideDevice {
        /// Offset in the file.
        logical: u64,
        /// Device slot.
        device: u16,
        /// Where the extent's last block ends in the device.
        end: u64,
        /// The device's length; 0 when there is no such slot.
        device_length: u64,
    },
    /// A name that no directory can hold.
    #[error("file name {name:?} {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name is used twice in one directory.
    #[error("file name {name:?} is used twice in one directory")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// [`super::Builder::link`] into something that is not a directory.
    #[error("{name:?} cannot be placed in inode {inode:?}: it is not a directory")]
    NotADirectory {
        /// The name.
        name: String,
        /// Where it was to go.
        inode: InodeId,
    },
    /// A second name for a directory, or a name for the root.
    #[error("{name:?} would be a second name of a directory")]
    DirectoryLinked {
        /// The name.
        name: String,
    },
    /// An id of another builder.
    #[error("inode {0:?} is not of this tree")]
    UnknownInode(InodeId),
    /// An inode that cannot be reached from the root.
    #[error("inode {0:?} cannot be reached from the root directory")]
    Unreachable(InodeId),
    /// More inodes than a 32-bit serial number can count.
    #[error("more than 4294967295 inodes")]
    TooManyInodes,
    /// Sparse files that need too large a chunk index.
    #[error("the holes of sparse files need more than {limit} chunk entries")]
    TooManyChunks {
        /// How many may be used in one image.
        limit: u64,
    },
    /// The device table would push the root inode out of reach of its 16-bit address.
    #[error("{0} devices are too many for one image")]
    TooManyDevices(usize),
    /// A device has 2 TiB or more.
    #[error("device {slot} has {length} bytes, over the 2 TiB that block addresses reach")]
    DeviceTooLong {
        /// Slot, from 1.
        slot: usize,
        /// Length in bytes.
        length: u64,
    },
    /// The image would be 2 TiB or more.
    #[error("the image would have {0} bytes, over the 2 TiB that block addresses reach")]
    ImageTooLong(u64),
}

/// A name as error messages show it.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
