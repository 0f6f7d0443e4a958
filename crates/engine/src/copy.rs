//! Images moved and looked at without unpacking them: between registries, OCI layouts, archives and the local store.
//!
//! Everything here works on content by digest: manifests go as the bytes they came as, blobs as streams that are
//! hashed on the way. An [`Origin`] gives content out, a [`Destination`] takes it, and [`transfer`] walks from one to
//! the other. What is put together anew (a rebased image, a list of manifests) is an origin as well: its own documents
//! come from memory, everything else from where it was.

mod archive;
mod choose;
mod error;
mod files;
mod layout;
pub mod list;
mod place;
pub mod rebase;
mod registry;
pub mod remote;
mod stored;
mod walk;

pub use choose::{PlatformImage, platforms};
pub use error::CopyError;
pub use place::Place;

use crate::transfer::{Outgoing, Progress, PushForm, Status};
use crate::{Engine, EngineError};
use std::io::{self, Read};
use std::sync::atomic::AtomicBool;
use strata_oci::{Descriptor, Digest, Platform, Reference};
use strata_registry::{Registries, Repository};

/// The largest manifest, config or index that is read.
const DOCUMENT_MAX: u64 = 4 << 20;

/// A manifest or index, byte for byte.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is.
    pub media_type: String,
    /// Of the bytes.
    pub digest: Digest,
    /// As they came.
    pub bytes: Vec<u8>,
}

impl Document {
    fn new(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { media_type: media_type.into(), digest: Digest::of(&bytes), bytes }
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.bytes.len() as u64)
    }
}

/// Where content comes from. Whoever reads a blob checks its digest.
pub(crate) trait Origin: Sync {
    /// What the place names.
    fn root(&self) -> Result<Document, CopyError>;
    /// A manifest that the root leads to.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, CopyError>;
    /// The bytes of a blob from `offset` on.
    fn blob(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read>>;
    /// A small blob, whole and checked.
    fn read(&self, blob: &Descriptor) -> Result<Vec<u8>, CopyError> {
        if blob.size > DOCUMENT_MAX {
            let what = format!("config {}", blob.digest);
            return Err(CopyError::Malformed { what, why: format!("it has {} bytes", blob.size) });
        }
        let mut bytes = Vec::new();
        files::copy_verified(blob, &mut *self.blob(blob, 0)?, &mut bytes)?;
        Ok(bytes)
    }
    /// The repository that has a blob: another one of its registry can mount it.
    fn repository(&self, _blob: &Digest) -> Option<Repository> {
        None
    }
    /// The manifests that tell something about another.
    fn referrers(&self, _of: &Digest) -> Result<Vec<Descriptor>, CopyError> {
        Ok(Vec::new())
    }
}

/// Where content goes to. Nothing is visible under its name before everything it needs is there.
pub(crate) trait Destination: Sync {
    /// Takes a blob unless it is there.
    fn blob(&self, blob: &Descriptor, origin: &dyn Origin) -> Result<Placed, CopyError>;
    /// Takes a manifest whose blobs are there; with the place's name if it is the root.
    fn manifest(&self, document: &Document, is_root: bool) -> Result<(), CopyError>;
    /// Makes the copy visible where that is a step of its own.
    fn finish(self: Box<Self>) -> Result<(), CopyError>;
}

/// What became of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It was sent.
    Copied,
    /// It was there.
    Exists,
    /// The registry took it from another of its repositories.
    Mounted(String),
    /// It stays where its URLs point.
    Elsewhere,
}

/// A blob that was dealt with.
#[derive(Clone, Debug)]
pub struct Step {
    /// The first digits of its digest.
    pub id: String,
    /// Its length in bytes, where it is known.
    pub size: Option<u64>,
    /// What became of it.
    pub placed: Placed,
}

/// What to copy.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// From where.
    pub source: Place,
    /// To where.
    pub destination: Place,
    /// One image of an index instead of all.
    pub platform: Option<Platform>,
    /// Signatures, attestations and the like, too.
    pub referrers: bool,
}

/// What was copied.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// The root's digest: the same in both places.
    pub digest: Option<Digest>,
    /// Manifests and indexes.
    pub manifests: usize,
    /// Bytes of blobs that were sent, where they were counted.
    pub bytes: Option<u64>,
}

/// Who does it: the client of registries, and the store when a place needs it.
pub struct Copier<'a> {
    /// The client.
    pub registries: &'a Registries,
    /// Opens the local store; called only for places in it.
    pub engine: &'a (dyn Fn() -> Result<Engine, Box<EngineError>> + Sync),
    /// Hears of every blob.
    pub observer: &'a (dyn Fn(&Step) + Sync),
}

impl Copier<'_> {
    /// Copies an image with everything it needs.
    pub fn copy(&self, request: &CopyRequest) -> Result<Copied, CopyError> {
        if let (Place::Local(name), Place::Registry(to), None) =
            (&request.source, &request.destination, &request.platform)
        {
            return Ok(self.push(name, to)?);
        }
        let origin = self.origin(&request.source)?;
        let root = choose::fitting_root(&*origin, request.platform.as_ref(), &request.source)?;
        if let Place::Local(name) = &request.destination {
            return self.take_in(&*origin, &root, Some(&request.source), name);
        }
        self.deliver(&*origin, &root, &request.destination, request.referrers)
    }

    /// The store knows in which form each layer was pulled or pushed before, and sends it like that.
    fn push(&self, name: &Reference, to: &Reference) -> Result<Copied, EngineError> {
        let engine = (self.engine)().map_err(|error| *error)?;
        let images = engine.store().images();
        let id = images.lookup(name)?.ok_or_else(|| EngineError::NoSuchImage(name.familiar()))?;
        let config = images.config(&id)?;
        let lease = engine.store().leases().acquire()?;
        lease.hold(&config.value().rootfs.diff_ids)?;
        let events = |progress: Progress<'_>| {
            let Progress::Layer { id, status } = progress else { return };
            let placed = match status {
                Status::Pushed => Placed::Copied,
                Status::LayerAlreadyExists => Placed::Exists,
                Status::MountedFrom(from) => Placed::Mounted(from.to_owned()),
                Status::SkippedForeign => Placed::Elsewhere,
                _ => return,
            };
            (self.observer)(&Step { id: id.to_owned(), size: None, placed });
        };
        let image = Outgoing::stored(&config, images.named_manifest(&id, Some(name))?);
        let never = AtomicBool::new(false);
        let pushed = engine.push_config(image, to, PushForm::default(), &events, &never)?;
        Ok(Copied { digest: Some(pushed.digest), manifests: 1, bytes: None })
    }

    /// Takes what an origin has to a place.
    fn deliver(
        &self,
        origin: &dyn Origin,
        root: &Document,
        destination: &Place,
        referrers: bool,
    ) -> Result<Copied, CopyError> {
        let target: Box<dyn Destination> = match destination {
            Place::Registry(reference) => Box::new(registry::Remote::new(self.registries, reference)),
            Place::Layout { directory, tag } => {
                Box::new(layout::Directory::create(directory, tag.as_deref())?)
            }
            Place::Archive { file, name } => Box::new(archive::Archive::create(file, name.as_ref())?),
            Place::Local(name) => return self.take_in(origin, root, None, name),
        };
        let copied = walk::transfer(origin, root, &*target, referrers, self.observer)?;
        target.finish()?;
        Ok(copied)
    }

    fn origin(&self, place: &Place) -> Result<Box<dyn Origin>, CopyError> {
        Ok(match place {
            Place::Registry(reference) => Box::new(registry::Remote::new(self.registries, reference)),
            Place::Layout { directory, tag } => {
                Box::new(layout::Layout::open(files::Files::directory(directory), tag.as_deref(), place)?)
            }
            Place::Archive { file, name } => Box::new(layout::open_archive(file, name.as_ref(), place)?),
            Place::Local(name) => Box::new(stored::Stored::open((self.engine)()?, name)?),
        })
    }
}
