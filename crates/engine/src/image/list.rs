//! `images`.
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::collections::BTreeMap;
use strata_oci::{ImageId, Reference};
use strata_store::ImageRecord;

/// Which images a list shows. Empty: all of them.
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

impl From<ImageRecord> for ImageSummary {
    fn from(record: ImageRecord) -> Self {
        let digests =
            record.repo_digests.iter().map(|(name, digest)| format!("{}@{digest}", familiar(name))).collect();
        Self {
            id: record.id,
            tags: record.tags,
            digests,
            created: record.created,
            size: record.size,
            shared_size: record.shared_size,
            containers: record.containers,
            labels: record.labels,
        }
    }
}

impl Engine {
    /// Images, newest first.
    pub fn images(&self, filter: &ImageFilter) -> Result<Vec<ImageSummary>, EngineError> {
        let moment = |name: &Option<String>| -> Result<Option<Timestamp>, EngineError> {
            let Some(name) = name else { return Ok(None) };
            let id = self.store().images().resolve(name)?;
            Ok(self.store().images().get(&id)?.and_then(|image| image.created))
        };
        let (before, since) = (moment(&filter.before)?, moment(&filter.since)?);
        let created = |image: &ImageRecord| image.created.unwrap_or(Timestamp::UNIX_EPOCH);
        let images = self.store().images().list()?;
        let kept = images.into_iter().filter(|image| {
            filter.dangling.is_none_or(|dangling| dangling == image.tags.is_empty())
                && before.is_none_or(|before| created(image) < before)
                && since.is_none_or(|since| created(image) > since)
                && filter.labels.iter().all(|(key, value)| has_label(image, key, value.as_deref()))
        });
        Ok(kept.filter_map(|image| named(image.into(), &filter.references)).collect())
    }
}

fn has_label(image: &ImageRecord, key: &str, value: Option<&str>) -> bool {
    image.labels.get(key).is_some_and(|have| value.is_none_or(|value| value == have))
}

/// Keeps the names that match; without patterns all, and images without names too.
fn named(mut image: ImageSummary, patterns: &[String]) -> Option<ImageSummary> {
    if patterns.is_empty() {
        return Some(image);
    }
    image.tags.retain(|tag| patterns.iter().any(|pattern| matches(pattern, tag)));
    (!image.tags.is_empty()).then_some(image)
}

/// A pattern is a repository, a name with a tag, or a glob over either (Docker's `reference` filter).
fn matches(pattern: &str, tag: &Reference) -> bool {
    let glob =
        |name: &str| strata_dockerfile::glob::matches(pattern.as_bytes(), name.as_bytes()).unwrap_or(false);
    let (name, full) = (tag.familiar_name(), tag.familiar());
    glob(&name)
        || glob(&full)
        || pattern.parse::<Reference>().is_ok_and(|reference| {
            let repository = format!("{}/{}", reference.domain(), reference.path());
            let has_tag = pattern.rsplit('/').next().is_some_and(|last| last.contains(':'));
            repository == format!("{}/{}", tag.domain(), tag.path())
                && (!has_tag || reference.tag() == tag.tag())
        })
}

/// A full repository name without what is implied.
pub(crate) fn familiar(repository: &str) -> String {
    repository
        .parse::<Reference>()
        .map_or_else(|_| repository.to_owned(), |reference| reference.familiar_name())
}
