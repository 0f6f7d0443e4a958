//! `history`.
use jiff::Timestamp;
use strata_oci::{ChainId, DiffId, ImageId, Reference};

/// One row, newest first.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    /// The image whose last instruction this is, where such an image is here; shown as `<missing>` otherwise.
    pub id: Option<ImageId>,
    /// When the instruction ran.
    pub created: Option<Timestamp>,
    /// The instruction.
    pub created_by: String,
    /// Logical bytes of its layer; 0 without a layer.
    pub size: u64,
    /// `buildkit.dockerfile.v0` and the like.
    pub comment: String,
    /// Names of `id`.
    pub tags: Vec<Reference>,
    /// Its layer, if it made one.
    pub diff_id: Option<DiffId>,
    /// The stack up to and including its layer.
    pub chain_id: Option<ChainId>,
}

impl crate::Engine {
    /// The rows of an image, newest first.
    pub fn history(&self, _image: &str) -> Result<Vec<HistoryRow>, crate::EngineError> {
        todo!()
    }
}
