//! `history`.
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::collections::HashMap;
use strata_oci::{ChainId, DiffId, History, ImageConfig, ImageId, Reference};

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

impl Engine {
    /// The rows of an image, newest first. Only the top row has an ID (`spec/engine.md`, D1), and the rows at
    /// which a recorded parent ends.
    pub fn history(&self, image: &str) -> Result<Vec<HistoryRow>, EngineError> {
        let images = self.store().images();
        let id = images.resolve(image)?;
        let config = images.config(&id)?;
        let layers = &config.value().rootfs.diff_ids;
        let sizes: HashMap<DiffId, u64> = self
            .store()
            .layers()
            .records(layers)?
            .iter()
            .map(|layer| (layer.diff_id, layer.content_size))
            .collect();
        let mut rows = rows(config.value(), &sizes);

        let mut next = Some((id, rows.len()));
        while let Some((id, length)) = next.take() {
            let Some(record) = images.get(&id)? else { break };
            if let Some(row) = length.checked_sub(1).and_then(|top| rows.get_mut(top)) {
                row.id = Some(id);
                row.tags = record.tags;
            }
            if let Some(parent) = record.parent {
                next = Some((parent, images.config(&parent)?.value().history.len()));
            }
        }
        rows.reverse();
        Ok(rows)
    }
}

/// Oldest first. Layers are handed out bottom up to the entries that made one; layers that the history does not
/// mention get rows of their own on top, as Docker shows foreign images.
fn rows(config: &ImageConfig, sizes: &HashMap<DiffId, u64>) -> Vec<HistoryRow> {
    let mut layers = config.rootfs.diff_ids.iter();
    let mut chain = None;
    let mut row = |entry: &History, layer: Option<&DiffId>| {
        if let Some(layer) = layer {
            chain = Some(ChainId::extend(chain, *layer));
        }
        HistoryRow {
            id: None,
            created: entry.created,
            created_by: entry.created_by.clone(),
            size: layer.and_then(|layer| sizes.get(layer)).copied().unwrap_or(0),
            comment: entry.comment.clone(),
            tags: Vec::new(),
            diff_id: layer.copied(),
            chain_id: layer.and(chain),
        }
    };
    let mut rows = Vec::new();
    for entry in &config.history {
        let layer = if entry.empty_layer { None } else { layers.next() };
        rows.push(row(entry, layer));
    }
    for layer in layers {
        rows.push(row(&History::default(), Some(layer)));
    }
    rows
}
