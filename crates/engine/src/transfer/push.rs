//! `push`.
mod foreign;
mod forms;
mod sender;
mod upload;

pub(crate) use forms::{media_type_of, oci_type};
pub(crate) use sender::crew;

use super::layer::check;
use super::{Progress, TransferError, TransferEvents};
use crate::{Engine, EngineError};
use sender::{Offers, Sender};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use strata_layer::compression::Recipe;
use strata_oci::{Digest, ImageConfig, ImageId, Manifest, Raw, Reference};
use strata_store::{Origin, StoredManifest};

/// What is asked of `push`.
#[derive(Clone, Debug)]
pub struct PushRequest {
    /// Which image, and where to; with `all_tags`, all images of the repository.
    pub reference: Reference,
    /// `-a`.
    pub all_tags: bool,
    /// How it is sent.
    pub form: PushForm,
}

/// How an image is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct PushForm {
    /// `--compression`: every layer is sent like this. Without it a layer keeps the form in which it is known.
    pub recipe: Option<Recipe>,
    /// `--allow-nondistributable-artifacts`: layers whose makers hand them out themselves are sent like all others.
    pub foreign: bool,
}

/// An image that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its name.
    pub reference: Reference,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Length of its manifest.
    pub size: u64,
}

/// An image on its way out.
pub(crate) struct Outgoing<'a> {
    pub(crate) config: &'a Raw<ImageConfig>,
    /// Of its manifest, in place of what the store knows.
    pub(crate) annotations: Option<&'a BTreeMap<String, String>>,
    /// Where layers can be had that are not here.
    pub(crate) offers: &'a Offers<'a>,
}

impl<'a> Outgoing<'a> {
    /// All of it is in the store.
    pub(crate) fn stored(config: &'a Raw<ImageConfig>) -> Self {
        Self { config, annotations: None, offers: &|_| None }
    }
}

impl Engine {
    /// Sends images to their registry.
    pub fn push(
        &self,
        request: &PushRequest,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Pushed>, EngineError> {
        let reference = &request.reference;
        if reference.digest().is_some() {
            return Err(TransferError::PushDigest(reference.familiar()).into());
        }
        events(Progress::PushingTo(&reference.name()));
        let references = if request.all_tags { self.tags_of(reference)? } else { vec![reference.clone()] };
        let push = |reference: &Reference| {
            let images = self.store().images();
            let id = images.lookup(reference)?;
            let id = id.ok_or_else(|| TransferError::NoSuchTag(reference.familiar()))?;
            let config = images.config(&id)?;
            let lease = self.store().leases().acquire()?;
            lease.hold(&config.value().rootfs.diff_ids)?;
            self.push_config(&Outgoing::stored(&config), reference, request.form, events, cancel)
        };
        let pushed: Result<Vec<Pushed>, EngineError> = references.iter().map(push).collect();
        // Whatever fails once it is cancelled fails because of that.
        pushed.map_err(|error| check(cancel).err().unwrap_or(error))
    }

    /// Sends an image that need not be recorded in the store; its layers must be there, and held, or
    /// be offered.
    pub(crate) fn push_config(
        &self,
        image: &Outgoing<'_>,
        reference: &Reference,
        form: PushForm,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<Pushed, EngineError> {
        let Outgoing { config, annotations, offers } = *image;
        let images = self.store().images();
        let id = ImageId::new(*config.digest());
        let kept = images.annotations(&id)?;
        let annotations = annotations.unwrap_or(&kept);
        let mut known = if form.recipe.is_none() { images.manifests(&id)? } else { Vec::new() };
        if !annotations.is_empty() {
            known.retain(|known| self.has_annotations(known, annotations));
        }
        let sender = Sender::new(self, reference, form, offers, events);
        let manifest = sender.send(config, &known, annotations, cancel)?;
        let tag = reference.tag().unwrap_or("latest");
        sender.name(tag, &manifest)?;
        let pushed = Pushed {
            reference: reference.clone(),
            digest: manifest.digest,
            size: manifest.bytes.len() as u64,
        };
        if images.contains(&id)? {
            let lease = self.store().leases().acquire()?;
            let blobs = self.store().blobs();
            let kind = strata_store::BlobKind::Manifest;
            blobs.put(&lease, kind, Some(&pushed.digest), pushed.size, &mut &manifest.bytes[..])?;
            let repository = reference.name();
            let origin = Origin { repository, digest: pushed.digest, manifest: pushed.digest };
            images.remember_origin(&id, &origin)?;
        }
        events(Progress::Pushed(&pushed));
        Ok(pushed)
    }

    /// Whether a manifest of old has these annotations and no others.
    fn has_annotations(&self, known: &StoredManifest, wanted: &BTreeMap<String, String>) -> bool {
        let bytes = self.store().blobs().get(&known.digest).unwrap_or_default();
        serde_json::from_slice::<Manifest>(&bytes).is_ok_and(|manifest| manifest.annotations == *wanted)
    }

    /// Every tag that a repository has here.
    fn tags_of(&self, reference: &Reference) -> Result<Vec<Reference>, EngineError> {
        let images = self.store().images().list()?;
        let mut tags: Vec<Reference> = images
            .into_iter()
            .flat_map(|image| image.tags)
            .filter(|tag| (tag.domain(), tag.path()) == (reference.domain(), reference.path()))
            .collect();
        tags.sort();
        if tags.is_empty() {
            return Err(TransferError::NoTags(reference.familiar_name()).into());
        }
        Ok(tags)
    }
}
