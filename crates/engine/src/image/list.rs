//! `images`.
use strata_oci::{ImageId, Reference};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Which images a list shows. Empty: all that have a name, and dangling ones.
#[derive(Clone, Debug, Default)]
pub struct ImageFilter {
    /// `reference=` patterns or the positional argument; any may match.
    pub references: Vec<String>,
    /// `dangling=true|false`.
    pub dangling: Option<bool>,
    /// `label=k[=v]`; all must match.
    pub labels: Vec<(String, Option<String>)>,
    /// `before=IMAGE`.
    pub before: Option<String>,
    /// `since=IMAGE`.
    pub since: Option<String>,
}

/// One image in a list.
#[derive(Clone, Debug)]
pub struct ImageSummary {
    /// Config digest.
    pub id: ImageId,
    /// Names, sorted; empty: dangling.
    pub tags: Vec<Reference>,
    /// `repository@sha256:...` as pulled or pushed.
    pub digests: Vec<String>,
    /// From the config.
    pub created: Option<Timestamp>,
    /// Logical bytes of all layers (`design.md`, decision 6).
    pub size: u64,
    /// Of it, bytes in layers that other images use too.
    pub shared_size: u64,
    /// Containers made from it.
    pub containers: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl crate::Engine {
    /// Images, newest first.
    pub fn images(&self, _filter: &ImageFilter) -> Result<Vec<ImageSummary>, crate::EngineError> {
        todo!()
    }
}
