//! `push`.
mod foreign;
mod forms;
mod sender;
mod upload;

pub(crate) use forms::{bytes_type, is_foreign, media_type_of, oci_type};
pub(crate) use sender::crew;

use super::layer::check;
use super::{Progress, TransferError, TransferEvents};
use crate::{Engine, EngineError};
use sender::{Offers, Sender};
use std::sync::atomic::AtomicBool;
use strata_layer::compression::Recipe;
use strata_oci::{Digest, ImageConfig, ImageId, Raw, Reference};
use strata_store::{NamedManifest, Origin, StoredManifest};

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
    /// Which manifest it is sent under.
    pub(crate) manifest: NamedManifest,
    /// Where layers can be had that are not here.
    pub(crate) offers: &'a Offers<'a>,
}

impl<'a> Outgoing<'a> {
    /// All of it is in the store.
    pub(crate) fn stored(config: &'a Raw<ImageConfig>, manifest: NamedManifest) -> Self {
        Self { config, manifest, offers: &|_| None }
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
            let image = Outgoing::stored(&config, images.named_manifest(&id, Some(reference))?);
            self.push_config(image, reference, request.form, events, cancel)
        };
        let pushed: Result<Vec<Pushed>, EngineError> = references.iter().map(push).collect();
        // Whatever fails once it is cancelled fails because of that.
        pushed.map_err(|error| check(cancel).err().unwrap_or(error))
    }

    /// Sends an image that need not be recorded in the store; its layers must be there, and held, or
    /// be offered.
    pub(crate) fn push_config(
        &self,
        image: Outgoing<'_>,
        reference: &Reference,
        form: PushForm,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<Pushed, EngineError> {
        let Outgoing { config, manifest, offers } = image;
        let images = self.store().images();
        let id = ImageId::new(*config.digest());
        let known = if form.recipe.is_none() { self.suitable(&id, &manifest)? } else { Vec::new() };
        let sender = Sender::new(self, reference, form, offers, events);
        let manifest = sender.send(config, &known, &self.annotations(manifest), cancel)?;
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

    /// The manifests of old under which an image may be sent again, the best first.
    fn suitable(&self, id: &ImageId, wanted: &NamedManifest) -> Result<Vec<StoredManifest>, EngineError> {
        let mut known = self.store().images().manifests(id)?;
        if *wanted != NamedManifest::Any {
            let annotations = self.annotations(wanted.clone());
            known.retain(|known| self.annotations_of(&known.digest).as_ref() == Some(&annotations));
        }
        if let NamedManifest::Pulled(digest) = wanted {
            known.sort_by_key(|known| known.digest != *digest);
        }
        Ok(known)
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
