//! `tag`, `rmi` and `image prune`.
use crate::{Engine, EngineError};
use jiff::{SignedDuration, Timestamp};
use strata_oci::{DiffId, ImageId, Reference};
use strata_store::{LabelFilter, Prune, RemoveOptions};

/// One line of `rmi`'s report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away: `busybox:latest`, or `busybox@sha256:...`.
    Untagged(String),
    /// The image is gone.
    Image(ImageId),
    /// A layer that only it used is gone.
    Layer(DiffId),
}

/// What a prune removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// In order.
    pub removed: Vec<Removed>,
    /// Bytes given back on disk.
    pub reclaimed: u64,
}

impl Engine {
    /// Gives `source` another name.
    pub fn tag(&self, source: &str, target: &str) -> Result<(), EngineError> {
        let id = self.store().images().resolve(source)?;
        let reference = parse_reference("Error parsing reference: ", target)?;
        if reference.digest().is_some() {
            return Err(EngineError::Invalid("refusing to create a tag with a digest reference".to_owned()));
        }
        let images = self.store().images();
        let named = source.parse::<Reference>().ok();
        images.tag_as(&reference, &id, &images.named_manifest(&id, named.as_ref())?)?;
        Ok(())
    }

    /// Takes a name away, and with the last one the image. `no_prune` keeps untagged parents.
    pub fn remove_image(&self, name: &str, force: bool, no_prune: bool) -> Result<Vec<Removed>, EngineError> {
        let removed = self.store().images().remove(name, RemoveOptions { force, keep_parents: no_prune })?;
        self.collect_garbage(false)?;
        Ok(report(removed))
    }

    /// Removes dangling images, or with `all` every image without a container. Filters: `until`, `label`, `label!`.
    pub fn prune_images(&self, all: bool, filters: &[(String, String)]) -> Result<Pruned, EngineError> {
        let mut prune = Prune { all, ..Default::default() };
        for (key, value) in filters {
            let label = |negated| {
                let (key, value) =
                    value.split_once('=').map_or((value.as_str(), None), |(k, v)| (k, Some(v)));
                LabelFilter { key: key.to_owned(), value: value.map(str::to_owned), negated }
            };
            match key.as_str() {
                "until" => prune.until = Some(until(value)?),
                "label" => prune.labels.push(label(false)),
                "label!" => prune.labels.push(label(true)),
                "dangling" => prune.all = all || matches!(value.as_str(), "false" | "0"),
                other => {
                    return Err(EngineError::Invalid(format!(
                        "invalid filter '{other}': use until, label, label! or dangling"
                    )));
                }
            }
        }
        let removed = self.store().images().prune(&prune)?;
        let reclaimed = self.collect_garbage(false)?;
        Ok(Pruned { removed: report(removed), reclaimed })
    }
}

fn report(removed: Vec<strata_store::Removed>) -> Vec<Removed> {
    let mut lines = Vec::new();
    for line in removed {
        match line {
            strata_store::Removed::Untagged(name) => lines.push(Removed::Untagged(name)),
            strata_store::Removed::Image { id, layers } => {
                lines.push(Removed::Image(id));
                lines.extend(layers.into_iter().map(|(_, layer)| Removed::Layer(layer)));
            }
        }
    }
    lines
}

/// A time, or a duration before now (`24h`).
fn until(text: &str) -> Result<Timestamp, EngineError> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Some(time) = text.parse::<i64>().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()) {
        return Ok(time);
    }
    let ago = text.parse::<SignedDuration>().ok().and_then(|ago| Timestamp::now().checked_sub(ago).ok());
    ago.ok_or_else(|| {
        EngineError::Invalid(format!("invalid time {text:?} for until: use 24h or 2026-01-31T10:00:00Z"))
    })
}

/// Parses a name given by the user.
pub(crate) fn parse_reference(context: &'static str, text: &str) -> Result<Reference, EngineError> {
    text.parse().map_err(|source| EngineError::Reference { context, text: text.to_owned(), source })
}
