//! Pruning images.
use super::list::records;
use super::remove::{drop_names, erase, user};
use super::{ImageRecord, Images, Removed};
use crate::StoreError;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Which images, containers or volumes to prune.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// Images: also named ones. Volumes: also named ones.
    pub all: bool,
    /// Only what was created before.
    pub until: Option<Timestamp>,
    /// Only what was last used before.
    pub unused_since: Option<Timestamp>,
    /// All of these must hold.
    pub labels: Vec<LabelFilter>,
}

/// A condition on labels: `label=key`, `label=key=value`, and `label!=` for the opposite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFilter {
    /// The key.
    pub key: String,
    /// The value, if it matters.
    pub value: Option<String>,
    /// True for `label!=`.
    pub negated: bool,
}

impl LabelFilter {
    /// True when a thing with these labels passes.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = labels
            .get(&self.key)
            .is_some_and(|value| self.value.as_ref().is_none_or(|wanted| wanted == value));
        has != self.negated
    }
}

impl Prune {
    pub(crate) fn matches(&self, created: Option<Timestamp>, labels: &BTreeMap<String, String>) -> bool {
        // What has no date is as old as can be.
        let old = self.until.is_none_or(|until| created.is_none_or(|created| created < until));
        old && self.labels.iter().all(|filter| filter.matches(labels))
    }
}

impl Images {
    /// Removes dangling images, or with `all` every image without containers. Children go before parents, so that
    /// a chain of intermediates goes in one call. The layers' data stay until [`crate::Store::gc`].
    pub fn prune(&self, prune: &Prune) -> Result<Vec<Removed>, StoreError> {
        let report = self.core.db.write_durably(|tx| {
            let mut report = Vec::new();
            loop {
                let before = report.len();
                for image in records(tx, None)? {
                    if !is_candidate(&image, prune) || user(tx, &image.id, false)?.is_some() {
                        continue;
                    }
                    drop_names(tx, &image, &mut report)?;
                    report.push(erase(tx, &image)?);
                }
                if report.len() == before {
                    return Ok(report);
                }
            }
        })?;
        self.blobs.bury()?;
        Ok(report)
    }
}

fn is_candidate(image: &ImageRecord, prune: &Prune) -> bool {
    let unused = prune.unused_since.is_none_or(|since| image.last_used < since);
    let named = !image.is_dangling();
    !image.has_children && (prune.all || !named) && unused && prune.matches(image.created, &image.labels)
}
