//! `pull`.
use super::documents::{FoundImage, find};
use super::layer::{Fetcher, check};
use super::source::{LayerSource, Registered};
use super::{Progress, TransferEvents};
use crate::{Engine, EngineError};
use std::sync::atomic::AtomicBool;
use strata_oci::{Digest, ImageId, Platform, Reference};
use strata_registry::{Repository, Target};

/// What is asked of `pull`.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// Which image; with `all_tags`, of which repository.
    pub reference: Reference,
    /// `-a`.
    pub all_tags: bool,
    /// `--platform`; the host's when not given.
    pub platform: Option<Platform>,
    /// `--max-inflation`: how many times its length a compressed layer may unpack to; 0: any number.
    pub max_inflation: u64,
}

impl PullRequest {
    /// What nobody exceeds without meaning harm. Deflate makes at most 1032 bytes of one, of zeros.
    pub const MAX_INFLATION: u64 = 250;

    /// One image for this machine.
    pub fn new(reference: Reference) -> Self {
        Self { reference, all_tags: false, platform: None, max_inflation: Self::MAX_INFLATION }
    }
}

/// An image that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The name it was pulled by.
    pub reference: Reference,
    /// The image.
    pub id: ImageId,
    /// What the name points at on the registry.
    pub digest: Digest,
    /// False when exactly this was here under this name already.
    pub newer: bool,
}

impl Engine {
    /// Fetches images from their registry. Each becomes visible when all of it is here.
    pub fn pull(
        &self,
        request: &PullRequest,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Pulled>, EngineError> {
        // Whatever fails once it is cancelled fails because of that.
        self.pull_all(request, events, cancel).map_err(|error| check(cancel).err().unwrap_or(error))
    }

    fn pull_all(
        &self,
        request: &PullRequest,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Pulled>, EngineError> {
        if !request.all_tags {
            return Ok(vec![self.pull_one(&request.reference, request, events, cancel)?]);
        }
        let name = request.reference.name();
        let mut tags = self.registries().tags(&Repository::from(&request.reference))?;
        tags.sort();
        // A tag that is none by the specification cannot be asked for either.
        let references = tags.iter().filter_map(|tag| format!("{name}:{tag}").parse::<Reference>().ok());
        references.map(|tag| self.pull_one(&tag, request, events, cancel)).collect()
    }

    /// Whether an image of this name or ID is here, and is one for the platform if one was asked for.
    pub fn has_image(&self, name: &str, platform: Option<&Platform>) -> bool {
        let images = self.store().images();
        let Ok(id) = images.resolve(name) else { return false };
        let Some(wanted) = platform else { return true };
        images.config(&id).is_ok_and(|config| wanted.suits(&config.value().platform).is_some())
    }

    fn pull_one(
        &self,
        reference: &Reference,
        request: &PullRequest,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<Pulled, EngineError> {
        let full = reference.to_string();
        let name = match reference.digest() {
            Some(_) => &full,
            None => reference.tag().unwrap_or("latest"),
        };
        events(Progress::PullingFrom { name, repository: reference.path() });
        let target = Target::of(reference);
        if let Some(pulled) = self.unchanged(reference, &target, request)? {
            events(Progress::Pulled(&pulled));
            return Ok(pulled);
        }
        let repository = Repository::from(reference);
        let image = find(self.registries(), &repository, &target, request.platform.as_ref(), events)?;
        // A digest names an image for good; only tags are names that the store keeps.
        let names: Vec<Reference> =
            reference.digest().is_none().then(|| reference.clone()).into_iter().collect();
        let before = self.store().images().lookup(reference)?;
        let source = Registered::new(self.registries().clone(), repository);
        let id = self.take_in(&image, source, request.max_inflation, &names, events, cancel)?;
        let pulled =
            Pulled { reference: reference.clone(), id, digest: image.digest, newer: before != Some(id) };
        events(Progress::Pulled(&pulled));
        Ok(pulled)
    }

    /// Fetches what is missing of an image, and makes it visible under these names when all of it is here.
    pub(crate) fn take_in<'s>(
        &self,
        image: &FoundImage,
        source: impl LayerSource + 's,
        max_inflation: u64,
        names: &[Reference],
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<ImageId, EngineError> {
        let lease = self.store().leases().acquire()?;
        let fetcher = Fetcher::new(self.store(), lease.clone(), source, max_inflation);
        materialise(&fetcher, image, events, cancel)?;
        let images = self.store().images();
        Ok(match image.origin() {
            Some(origin) => {
                image.keep_documents(self.store(), &lease)?;
                images.publish_from(&image.config, names, &origin)?
            }
            None => images.publish(&image.config, names)?,
        })
    }

    /// Where the image has the name already, one small question tells whether it still means the same. Registries that
    /// count pulls do not count it.
    fn unchanged(
        &self,
        reference: &Reference,
        target: &Target,
        request: &PullRequest,
    ) -> Result<Option<Pulled>, EngineError> {
        let images = self.store().images();
        let Some(id) = images.lookup(reference)? else { return Ok(None) };
        let Some(record) = images.get(&id)? else { return Ok(None) };
        let wanted = request.platform.clone().unwrap_or_else(Platform::host);
        let config = images.config(&id)?;
        if wanted.suits(&config.value().platform) != Some(0) {
            return Ok(None);
        }
        let repository = Repository::from(reference);
        let digest = match target {
            Target::Digest(digest) => *digest,
            Target::Tag(_) => self.registries().head(&repository, target)?.digest,
        };
        let known = (repository.to_string(), digest);
        let pulled = Pulled { reference: reference.clone(), id, digest, newer: false };
        Ok(record.repo_digests.contains(&known).then_some(pulled))
    }
}

/// Fetches the layers that are missing of an image.
pub(super) fn materialise(
    fetcher: &Fetcher<'_>,
    image: &FoundImage,
    events: &TransferEvents<'_>,
    cancel: &AtomicBool,
) -> Result<(), EngineError> {
    fetcher.fetch_all(&image.manifest.layers, &image.config.value().rootfs.diff_ids, events, cancel)
}
