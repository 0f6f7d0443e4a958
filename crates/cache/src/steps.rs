//! What strata knows of its own records, beyond what BuildKit has fields for.
use crate::ConfigError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strata_build::Input;
use strata_oci::Digest;

/// The field `strata` of a config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Of this format: another one is not read.
    pub version: u32,
    /// The platform that the steps were made for.
    pub platform: String,
    /// Results, as lists that share their beginnings: each entry stands on one before it.
    #[serde(default)]
    pub made: Vec<Made>,
    /// Steps, each a record of the config.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Content digests of files of other stages and images, which spare making or fetching those.
    #[serde(default)]
    pub selections: Vec<Selected>,
    /// What was in the cache mounts of RUNs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<KeptMount>,
    /// Index of the config's layer that is none: the files that steps copied ([`crate::Listings`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listings: Option<usize>,
}

/// What was in a cache mount (`RUN --mount=type=cache`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeptMount {
    /// As the RUNs call it.
    pub id: String,
    /// The mount itself: a digest of its id with owner, mode and first content, all of which must be the same elsewhere.
    pub name: Digest,
    /// Index of the config's layer whose files are those of the mount; it stands on nothing.
    pub layer: usize,
}

/// A layer above a base image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Made {
    /// Index of the config's layer.
    pub layer: usize,
    /// Index of what it stands on, which comes before it; none for the first above the base image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<usize>,
    /// Bytes of its regular files.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
}

/// A step of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Index of the config's record, whose digest is the step's key.
    pub record: usize,
    /// Name of the stage, or `stage-N`.
    pub stage: String,
    /// Which layer of the stage, from 0.
    pub position: u32,
    /// `RUN`, `COPY`, ...
    pub instruction: String,
    /// What went into the key. Neither secrets nor proxies are ever among it.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Index into [`Steps::made`] of the result.
    pub made: usize,
}

/// What selected files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Selected {
    /// Key of the selection, written like a SHA-256.
    pub key: Digest,
    /// Digest of the files.
    pub files: Digest,
}

impl Steps {
    /// What is written, and all that is read.
    pub const VERSION: u32 = 1;

    /// The result that ends with this entry, bottom first.
    pub fn stack(&self, made: usize) -> Vec<Made> {
        let below = |made: &Made| made.below.map(|below| self.made[below]);
        let mut stack: Vec<Made> = std::iter::successors(Some(self.made[made]), below).collect();
        stack.reverse();
        stack
    }

    /// Checks that every index leads somewhere.
    pub(crate) fn check(&self, layers: usize, records: usize) -> Result<(), ConfigError> {
        let dangling = |what, index, kind, target: usize| {
            let target = i64::try_from(target).unwrap_or(i64::MAX);
            Err(ConfigError::Dangling { what, index, kind, target })
        };
        for (index, made) in self.made.iter().enumerate() {
            if made.layer >= layers {
                return dangling("result", index, "layer", made.layer);
            }
            // Downwards only: so nothing loops.
            if let Some(below) = made.below.filter(|below| *below >= index) {
                return dangling("result", index, "earlier result", below);
            }
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            if mount.layer >= layers {
                return dangling("cache mount", index, "layer", mount.layer);
            }
        }
        if let Some(layer) = self.listings.filter(|layer| *layer >= layers) {
            return dangling("list of files", 0, "layer", layer);
        }
        for (index, step) in self.steps.iter().enumerate() {
            if step.record >= records {
                return dangling("step", index, "record", step.record);
            }
            if step.made >= self.made.len() {
                return dangling("step", index, "result", step.made);
            }
        }
        Ok(())
    }
}
