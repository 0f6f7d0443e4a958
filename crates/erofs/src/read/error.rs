//! What can be wrong with an image.

use super::Nid;

/// Why bytes are not a readable image, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Not what the format allows, or what this crate reads.
    #[error("damaged EROFS image at byte {at}: {what}")]
    Damaged {
        /// Byte offset.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A question that only another type of inode can answer.
    #[error("inode {nid} of the EROFS image is not a {expected}")]
    WrongType {
        /// The inode.
        nid: Nid,
        /// What it would have to be.
        expected: &'static str,
    },
}

pub(super) fn damaged(at: u64, what: &'static str) -> ReadError {
    ReadError::Damaged { at, what }
}
