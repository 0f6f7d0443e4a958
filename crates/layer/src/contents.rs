//! What one layer holds, in memory, on the way from tar to index.
use crate::{LayerError, Stack};

/// The tree of one layer with each file's place in the tar: what [`crate::ingest`] and
/// [`crate::LayerBuilder`] know when the tar is finished.
pub struct Contents {}

impl Contents {
    /// True when the index needs the layers below: implied parent directories take the metadata of the
    /// directory that is already there, and hard links may name a lower layer's file.
    pub fn depends_on_parents(&self) -> bool {
        todo!()
    }

    /// Writes the index: the EROFS image, then the section of content digests. `parents` is the merged view
    /// below this layer (`None`: nothing below, or nothing needed).
    pub fn index(&self, _parents: Option<&Stack>) -> Result<Vec<u8>, LayerError> {
        todo!()
    }
}
