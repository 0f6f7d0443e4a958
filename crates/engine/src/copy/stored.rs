//! The store of this machine, to read from and to write to.
use super::choose::{choose, index, is_index};
use super::{Copied, Copier, CopyError, Document, Origin, Place, Placed, Step};
use crate::transfer::{
    FoundImage, LayerSource, Progress, PullRequest, Status, TransferEvents, registry_error,
};
use crate::{Engine, EngineError};
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use strata_oci::{Descriptor, DiffId, ImageConfig, Platform, Raw, Reference};
use strata_registry::{Kind, Registries, Repository, Resolved};
use strata_store::Lease;

/// An image of the store, its layers as they are: uncompressed.
pub(super) struct Stored {
    engine: Engine,
    root: Document,
    config: Raw<ImageConfig>,
    /// Keeps the layers.
    _lease: Lease,
}

impl Stored {
    pub(super) fn open(engine: Engine, name: &Reference) -> Result<Self, EngineError> {
        let images = engine.store().images();
        let id = images.lookup(name)?.ok_or_else(|| EngineError::NoSuchImage(name.familiar()))?;
        let config = images.config(&id)?;
        let lease = engine.store().leases().acquire()?;
        lease.hold(&config.value().rootfs.diff_ids)?;
        let annotations = engine.annotations(images.named_manifest(&id, Some(name))?);
        let (descriptor, manifest) = engine.manifest_of(&config, annotations)?;
        let root = Document::new(descriptor.media_type, manifest.bytes().to_vec());
        Ok(Self { engine, root, config, _lease: lease })
    }
}

impl Origin for Stored {
    fn root(&self) -> Result<Document, CopyError> {
        Ok(self.root.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, CopyError> {
        let what = format!("manifest {}", descriptor.digest);
        Err(CopyError::Malformed { what, why: "an image of the store has one only".to_owned() })
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read>> {
        if blob.digest == *self.config.digest() {
            let mut bytes = Cursor::new(self.config.bytes().to_vec());
            bytes.set_position(offset);
            return Ok(Box::new(bytes));
        }
        let mut tar =
            self.engine.store().layers().open_tar(&DiffId::new(blob.digest)).map_err(io::Error::other)?;
        tar.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(tar))
    }
}

/// An origin, as the source of layers.
struct Copying<'a> {
    origin: &'a dyn Origin,
    registries: &'a Registries,
    /// The repository that the whole image is in.
    repository: Option<Repository>,
    name: String,
}

impl LayerSource for Copying<'_> {
    fn open(&self, layer: &Descriptor, offset: u64) -> Result<Box<dyn Read + '_>, EngineError> {
        match (self.origin.blob(layer, offset), &self.repository) {
            (Ok(blob), _) => Ok(blob),
            (Err(error), repository) => {
                let nameless = || Repository::new("localhost", "copy");
                let repository = repository.clone().unwrap_or_else(nameless);
                match self.registries.foreign_layer(&repository, layer, offset) {
                    Some(elsewhere) => Ok(Box::new(elsewhere?)),
                    None => Err(registry_error(error)),
                }
            }
        }
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn repository(&self) -> Option<&Repository> {
        self.repository.as_ref()
    }
}

impl Copier<'_> {
    /// Takes an image into the store as a pull does; of an index, this machine's image.
    pub(super) fn take_in(
        &self,
        origin: &dyn Origin,
        root: &Document,
        from: Option<&Place>,
        name: &Reference,
    ) -> Result<Copied, CopyError> {
        let subject = from.map_or_else(|| name.familiar(), Place::to_string);
        let (index, manifest) = if is_index(&root.media_type) {
            let chosen = choose(index(root)?.manifests, &Platform::host(), &subject)?;
            (Some(resolved(root, Kind::Index)), origin.manifest(&chosen)?)
        } else {
            (None, root.clone())
        };
        let repository = match from {
            Some(Place::Registry(reference)) => Some(Repository::from(reference)),
            _ => None,
        };
        let config = |config: &Descriptor| origin.blob(config, 0).map_err(registry_error);
        let manifest = resolved(&manifest, Kind::Manifest);
        let image = FoundImage::of(&subject, repository.clone(), index, manifest, config)?;
        let source = Copying { origin, registries: self.registries, repository, name: subject };
        let sizes: BTreeMap<String, u64> =
            image.layers().iter().map(|layer| (layer.digest.short(), layer.size)).collect();
        let bytes = AtomicU64::new(0);
        let tell = |progress: Progress<'_>| {
            let Progress::Layer { id, status } = progress else { return };
            let size = sizes.get(id).copied();
            let placed = match status {
                Status::PullComplete => Placed::Copied,
                Status::AlreadyExists => Placed::Exists,
                _ => return,
            };
            if placed == Placed::Copied {
                bytes.fetch_add(size.unwrap_or(0), Ordering::Relaxed);
            }
            (self.observer)(&Step { id: id.to_owned(), size, placed });
        };
        let events: &TransferEvents<'_> = &tell;
        let (names, never) = ([name.clone()], AtomicBool::new(false));
        let engine = (self.engine)()?;
        engine.take_in(&image, source, PullRequest::MAX_INFLATION, &names, events, &never)?;
        let bytes = Some(bytes.load(Ordering::Relaxed));
        Ok(Copied { digest: Some(image.digest), manifests: 1, bytes })
    }
}

fn resolved(document: &Document, kind: Kind) -> Resolved {
    let Document { media_type, digest, bytes } = document.clone();
    Resolved { digest, media_type, kind, bytes }
}
