//! One image to one repository.
use super::forms::{self, Form, media_type_of, oci_type};
use crate::transfer::documents::{ImageManifest, parse_manifest};
use crate::transfer::fetch::side_by_side;
use crate::transfer::{Offered, Progress, PushForm, Status, TransferError, TransferEvents};
use crate::{Engine, EngineError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use strata_layer::compression::{Blocks, Compression, Crew, Recipe};
use strata_oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest, Raw, Reference, media_type};
use strata_registry::{Registries, Repository};
use strata_store::{RemoteBlob, Store, StoredManifest};

/// Blocks that are compressed at once, of all layers together: more take more memory than a push is worth. Zstandard takes
/// three times as much for each, and with four is faster than any network.
const CREW: usize = 8;
const ZSTD_CREW: usize = 4;

/// Who compresses what is sent.
pub(crate) fn crew(recipe: Recipe) -> Crew {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let is_zstd = recipe.compression() == Compression::Zstd;
    Crew::new(cores.min(if is_zstd { ZSTD_CREW } else { CREW }))
}

/// A manifest as it is sent.
pub(super) struct Document {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Sender<'a> {
    pub(super) store: &'a Store,
    pub(super) registries: &'a Registries,
    pub(super) repository: Repository,
    recipe: Option<Recipe>,
    /// Layers that are not for distribution are sent all the same.
    pub(super) foreign: bool,
    crew: Crew,
    /// Where layers can be had that are not here.
    pub(super) offers: &'a Offers<'a>,
    events: &'a TransferEvents<'a>,
}

/// Says where a layer can be had.
pub(crate) type Offers<'a> = dyn Fn(&DiffId) -> Option<Offered> + Sync + 'a;

/// A layer with the blob that a manifest of old has for it.
type Original<'a> = (DiffId, &'a Descriptor);

impl<'a> Sender<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        reference: &Reference,
        form: PushForm,
        offers: &'a Offers<'a>,
        events: &'a TransferEvents<'a>,
    ) -> Self {
        let PushForm { recipe, foreign } = form;
        let repository = Repository::from(reference);
        let crew = crew(recipe.unwrap_or_default());
        Self {
            store: engine.store(),
            registries: engine.registries(),
            repository,
            recipe,
            foreign,
            crew,
            offers,
            events,
        }
    }

    pub(super) fn tell(&self, layer: &DiffId, status: Status<'_>) {
        (self.events)(Progress::Layer { id: &layer.short(), status });
    }

    /// Sends everything but the manifest, and says which manifest that makes: one that the image was known by, if its
    /// blobs can still be had, else a new one.
    pub(super) fn send(
        &self,
        config: &Raw<ImageConfig>,
        known: &[StoredManifest],
        annotations: &BTreeMap<String, String>,
        cancel: &AtomicBool,
    ) -> Result<Document, EngineError> {
        let mut announced = BTreeSet::new();
        for layer in config.value().rootfs.diff_ids.iter().rev() {
            if announced.insert(*layer) {
                self.tell(layer, Status::Preparing);
            }
        }
        let mut tried = BTreeSet::new();
        for stored in known.iter().filter(|stored| tried.insert(stored.digest)) {
            let same = known.iter().filter(|other| other.digest == stored.digest);
            let holders: Vec<String> = same.map(|other| other.repository.clone()).collect();
            match self.original(config, &stored.digest, &holders, cancel) {
                Err(EngineError::Transfer(TransferError::Unfit(why))) => {
                    let warning = format!("{why}; the image gets another digest");
                    (self.events)(Progress::Warning(&warning));
                }
                sent => return sent,
            }
        }
        self.anew(config, annotations, cancel)
    }

    /// The image as a repository had it: same manifest, same blobs, same digest.
    fn original(
        &self,
        config: &Raw<ImageConfig>,
        digest: &Digest,
        holders: &[String],
        cancel: &AtomicBool,
    ) -> Result<Document, EngineError> {
        let unfit = |why: String| EngineError::from(TransferError::Unfit(why));
        let bytes = self.store.blobs().get(digest)?;
        let manifest: ImageManifest = parse_manifest(&digest.to_string(), &bytes)?;
        let diff_ids = &config.value().rootfs.diff_ids;
        if manifest.config.digest != *config.digest() || manifest.layers.len() != diff_ids.len() {
            return Err(unfit(format!("manifest {digest} is not of this image")));
        }
        let mut seen = BTreeSet::new();
        let layers: Vec<Original<'_>> = diff_ids
            .iter()
            .copied()
            .zip(&manifest.layers)
            .rev()
            .filter(|(_, layer)| seen.insert(layer.digest))
            .collect();
        side_by_side(&layers, cancel, |layer, cancel| self.place_original(layer, holders, cancel))?;
        self.place_config(config)?;
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed {
            media_type: Option<String>,
        }
        let typed: Option<Typed> = serde_json::from_slice(&bytes).ok();
        let media_type =
            typed.and_then(|typed| typed.media_type).unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
        Ok(Document { digest: *digest, media_type, bytes })
    }

    /// Gets a blob of an old manifest into the repository: found, mounted, made again, or fetched from where it is.
    fn place_original(
        &self,
        (diff_id, layer): &Original<'_>,
        origins: &[String],
        cancel: &AtomicBool,
    ) -> Result<(), EngineError> {
        let digest = &layer.digest;
        let mut holders = forms::holders(self.store.blobs(), diff_id, digest)?;
        holders.extend(origins.iter().cloned());
        let mut seen = BTreeSet::new();
        holders.retain(|holder| seen.insert(holder.clone()));
        if self.has(digest)? {
            self.tell(diff_id, Status::LayerAlreadyExists);
        } else if media_type::is_nondistributable(&layer.media_type)
            && !layer.urls.is_empty()
            && !self.foreign
        {
            self.tell(diff_id, Status::SkippedForeign);
            return Ok(());
        } else if !self.mount(diff_id, digest, &holders)? {
            let recipe = match self.store.blobs().recipe(diff_id, digest)? {
                Some(recipe) => recipe.parse::<Recipe>().ok(),
                None if digest == diff_id.digest() => Recipe::new("uncompressed", None).ok(),
                None => None,
            };
            match recipe {
                Some(recipe) => drop(self.compress(diff_id, recipe, cancel)?),
                None => self.forward(diff_id, layer, &holders, cancel)?,
            }
        }
        self.remember(diff_id, layer)
    }

    /// The image under a manifest of our own.
    fn anew(
        &self,
        config: &Raw<ImageConfig>,
        annotations: &BTreeMap<String, String>,
        cancel: &AtomicBool,
    ) -> Result<Document, EngineError> {
        let diff_ids = &config.value().rootfs.diff_ids;
        let mut layers: Vec<DiffId> = diff_ids.iter().rev().copied().collect();
        let mut seen = BTreeSet::new();
        layers.retain(|layer| seen.insert(*layer));
        let placed: Mutex<BTreeMap<DiffId, Descriptor>> = Mutex::default();
        side_by_side(&layers, cancel, |layer, cancel| {
            let kept_away = if self.foreign { None } else { self.kept_away(layer)? };
            let descriptor = match kept_away {
                Some(descriptor) => {
                    self.tell(layer, Status::SkippedForeign);
                    descriptor
                }
                None => {
                    let descriptor = self.place(layer, cancel)?;
                    self.remember(layer, &descriptor)?;
                    descriptor
                }
            };
            placed.lock().unwrap_or_else(PoisonError::into_inner).insert(*layer, descriptor);
            Ok(())
        })?;
        self.place_config(config)?;
        let placed = placed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let manifest = Raw::new(Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            config: Descriptor::new(media_type::OCI_CONFIG, *config.digest(), config.bytes().len() as u64),
            layers: diff_ids.iter().map(|layer| placed[layer].clone()).collect(),
            annotations: annotations.clone(),
        });
        Ok(Document {
            digest: *manifest.digest(),
            media_type: media_type::OCI_MANIFEST.to_owned(),
            bytes: manifest.bytes().to_vec(),
        })
    }

    /// Gets a layer into the repository in any form: one that it has, one that can be mounted, or the recipe's.
    fn place(&self, layer: &DiffId, cancel: &AtomicBool) -> Result<Descriptor, EngineError> {
        let recipe = self.recipe.unwrap_or_default();
        let repository = self.repository.to_string();
        let demanded = self.recipe.is_some();
        let forms = forms::forms(self.store.blobs(), layer, recipe, demanded, &repository)?;
        for form in &forms {
            if self.has(&form.digest)? {
                self.tell(layer, Status::LayerAlreadyExists);
                return Ok(form.descriptor());
            }
        }
        for Form { digest, repositories, .. } in &forms {
            if self.mount(layer, digest, repositories)? {
                let form = forms.iter().find(|form| form.digest == *digest);
                return Ok(form.expect("it is one of them").descriptor());
            }
        }
        if self.store.layers().layer(layer)?.is_none()
            && let Some(offered) = (self.offers)(layer)
        {
            return self.pass_on(layer, &offered, cancel);
        }
        let (digest, size) = self.compress(layer, recipe, cancel)?;
        Ok(Descriptor::new(media_type_of(recipe), digest, size))
    }

    /// A layer that need not be here, from the place that has it: no byte of it touches the disk.
    fn pass_on(
        &self,
        layer: &DiffId,
        offered: &Offered,
        cancel: &AtomicBool,
    ) -> Result<Descriptor, EngineError> {
        let Descriptor { digest, size, .. } = *offered.blob();
        let media_type = oci_type(&offered.blob().media_type).unwrap_or(media_type::OCI_LAYER_GZIP);
        let holder: Vec<String> = offered.place().repository().map(ToString::to_string).into_iter().collect();
        if self.has(&digest)? {
            self.tell(layer, Status::LayerAlreadyExists);
        } else if !self.mount(layer, &digest, &holder)? {
            self.upload_offered(layer, offered, cancel)?;
        }
        Ok(Descriptor::new(media_type, digest, size))
    }

    fn has(&self, digest: &Digest) -> Result<bool, EngineError> {
        Ok(self.registries.blob_exists(&self.repository, digest)?)
    }

    /// Compresses and sends a layer, and remembers what came out.
    fn compress(
        &self,
        layer: &DiffId,
        recipe: Recipe,
        cancel: &AtomicBool,
    ) -> Result<(Digest, u64), EngineError> {
        let file = self.store.layers().open_tar(layer)?;
        let total = file.metadata()?.len();
        let blocks = Blocks::new(recipe, file.into_file(), total, &self.crew);
        let sent = self.send_blocks(layer, &blocks, total, cancel)?;
        self.store.blobs().remember_compressed(layer, &recipe.to_string(), &sent.0, sent.1)?;
        self.tell(layer, Status::Pushed);
        Ok(sent)
    }

    fn remember(&self, layer: &DiffId, blob: &Descriptor) -> Result<(), EngineError> {
        // What passes by is forgotten: only layers of the store are remembered.
        if self.store.layers().layer(layer)?.is_none() {
            return Ok(());
        }
        let seen = RemoteBlob {
            digest: blob.digest,
            length: blob.size,
            media_type: blob.media_type.clone(),
            repository: self.repository.to_string(),
        };
        Ok(self.store.blobs().remember_remote(layer, &seen)?)
    }
}
