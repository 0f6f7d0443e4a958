//! Another registry's content, fetched when it is asked for first.
//!
//! What was fetched is served from the disk. A tag may move, so the upstream is asked for it every time; when it is
//! away, what the tag stood for last is served.

mod download;

use crate::growing::Growing;
use crate::name::{Reference, Repository, Tag};
use crate::refusal::Refusal;
use crate::storage::{Outline, Storage};
use crate::threads::blocking;
use download::Download;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use strata_oci::{Descriptor, Digest};
use tokio::sync::OnceCell;

/// The registry that is mirrored. Its methods wait for the network and are called on threads that may.
///
/// `Ok(None)` means that the upstream answered and does not have it.
pub trait Upstream: Send + Sync {
    /// What a tag stands for now.
    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, UpstreamError>;
    /// A manifest by its digest.
    fn manifest(&self, repository: &str, digest: &Digest) -> Result<Option<FetchedManifest>, UpstreamError>;
    /// The length of a blob in bytes.
    fn blob_size(&self, repository: &str, digest: &Digest) -> Result<Option<u64>, UpstreamError>;
    /// A blob's bytes from `offset` on. One attempt: the mirror asks again for what is missing after a cut.
    fn blob(
        &self,
        repository: &str,
        digest: &Digest,
        offset: u64,
    ) -> Result<Option<FetchedBlob>, UpstreamError>;
    /// All tags of a repository.
    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, UpstreamError>;
    /// Descriptors of the manifests whose subject is this one.
    fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, UpstreamError>;
}

/// A manifest as the upstream sent it.
#[derive(Debug)]
pub struct FetchedManifest {
    /// Its content type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A blob on its way.
pub struct FetchedBlob {
    /// Length of the whole blob in bytes.
    pub size: u64,
    /// The bytes from the offset on that was asked for.
    pub body: Box<dyn Read + Send>,
}

/// The upstream did not answer, or refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UpstreamError(pub String);

impl From<UpstreamError> for Refusal {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error.0)
    }
}

type Slot = Arc<OnceCell<Option<Arc<Growing>>>>;

/// What is being fetched: one download for all who want the same blob.
#[derive(Default)]
struct Running(Mutex<HashMap<(Repository, Digest), Slot>>);

impl Running {
    fn slot(&self, name: &Repository, digest: &Digest) -> Slot {
        self.lock().entry((name.clone(), *digest)).or_default().clone()
    }

    /// What comes next finds the blob on the disk, or has to ask again.
    fn forget(&self, name: &Repository, digest: &Digest) {
        self.lock().remove(&(name.clone(), *digest));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Repository, Digest), Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much is kept of what was fetched.
struct Room {
    /// Bytes; `None`: any number.
    limit: Option<u64>,
    /// What is kept, once it was counted.
    kept: Mutex<Option<u64>>,
}

impl Room {
    /// A blob was added: others give way to it if all of them are too much.
    fn make(&self, storage: &Storage, added: u64) -> std::io::Result<()> {
        let Some(limit) = self.limit else { return Ok(()) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = kept.map(|kept| kept + added);
        let fits = counted.is_some_and(|counted| counted <= limit);
        *kept = if fits { counted } else { Some(storage.evict(limit)?) };
        Ok(())
    }
}

/// The upstream, and what is being fetched from it.
pub(crate) struct Mirror {
    upstream: Arc<dyn Upstream>,
    running: Arc<Running>,
    room: Arc<Room>,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mirror")
    }
}

impl Mirror {
    pub(crate) fn new(upstream: Arc<dyn Upstream>, limit: Option<u64>) -> Self {
        let room = Room { limit, kept: Mutex::new(None) };
        Self { upstream, running: Arc::default(), room: Arc::new(room) }
    }

    /// Brings a tag up to date, or a manifest here. When the upstream is away, what is here has to do.
    pub(crate) fn refresh(
        &self,
        storage: &Storage,
        name: &Repository,
        reference: &Reference,
    ) -> Result<(), Refusal> {
        match reference {
            Reference::Digest(digest) => {
                if storage.manifest(name, reference)?.is_none() {
                    self.fetch(storage, name, digest, &[])?;
                }
                Ok(())
            }
            Reference::Tag(tag) => self.refresh_tag(storage, name, tag),
        }
    }

    fn refresh_tag(&self, storage: &Storage, name: &Repository, tag: &Tag) -> Result<(), Refusal> {
        let here = storage.tag(name, tag)?;
        let digest = match self.upstream.resolve(name.as_str(), tag.as_str()) {
            Ok(Some(digest)) => digest,
            Ok(None) => {
                storage.delete_tag(name, tag)?;
                return Ok(());
            }
            Err(_) if here.is_some() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if storage.manifest(name, &Reference::Digest(digest))?.is_none() {
            match self.fetch(storage, name, &digest, std::slice::from_ref(tag)) {
                Err(Refusal::Upstream(_)) if here.is_some() => {}
                other => other?,
            }
        } else if here != Some(digest) {
            let _publishing = storage.publishing()?;
            storage.put_tag(name, tag, &digest)?;
        }
        Ok(())
    }

    fn fetch(
        &self,
        storage: &Storage,
        name: &Repository,
        digest: &Digest,
        tags: &[Tag],
    ) -> Result<(), Refusal> {
        let Some(fetched) = self.upstream.manifest(name.as_str(), digest)? else { return Ok(()) };
        let found = Digest::of(&fetched.bytes);
        if found != *digest {
            return Err(Refusal::Upstream(format!("its manifest {digest} has the digest {found}")));
        }
        let outline = Outline::parse(&fetched.bytes, Some(&fetched.media_type))
            .map_err(|what| Refusal::Upstream(format!("its manifest {digest} is none: {what}")))?;
        let _publishing = storage.publishing()?;
        storage.put_manifest(name, &outline, &fetched.bytes, tags)?;
        Ok(())
    }

    /// The length of a blob that is not here.
    pub(crate) fn blob_size(&self, name: &Repository, digest: &Digest) -> Result<Option<u64>, Refusal> {
        Ok(self.upstream.blob_size(name.as_str(), digest)?)
    }

    /// A blob that is not here, on its way: everybody who asks meanwhile gets the same download. `None` when the
    /// upstream does not have it.
    pub(crate) async fn download(
        &self,
        storage: &Storage,
        name: &Repository,
        digest: &Digest,
    ) -> Result<Option<Arc<Growing>>, Refusal> {
        let begin = || {
            let download = Download {
                storage: storage.clone(),
                upstream: self.upstream.clone(),
                running: self.running.clone(),
                room: self.room.clone(),
                name: name.clone(),
                digest: *digest,
            };
            blocking(move || download.begin())
        };
        let slot = self.running.slot(name, digest);
        let blob = slot.get_or_try_init(begin).await.cloned();
        if !matches!(blob, Ok(Some(_))) {
            self.running.forget(name, digest);
        }
        blob
    }

    /// What the upstream says refers to a manifest; what is here when it is away.
    pub(crate) fn referrers(
        &self,
        storage: &Storage,
        name: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Value>, Refusal> {
        match self.upstream.referrers(name.as_str(), subject) {
            Ok(referrers) => {
                let mut listed: Vec<Value> = referrers.iter().map(|referrer| json!(referrer)).collect();
                // Pages go on behind a digest.
                listed.sort_by_key(|referrer| referrer["digest"].as_str().unwrap_or_default().to_owned());
                Ok(listed)
            }
            Err(_) if storage.knows(name) => Ok(storage.referrers(name, subject)?),
            Err(error) => Err(error.into()),
        }
    }

    /// The upstream's tags; those that are here when it is away.
    pub(crate) fn tags(&self, storage: &Storage, name: &Repository) -> Result<Option<Vec<String>>, Refusal> {
        match self.upstream.tags(name.as_str()) {
            Ok(tags) => Ok(tags.map(|mut tags| {
                tags.sort_unstable();
                tags
            })),
            Err(_) if storage.knows(name) => Ok(Some(storage.tags(name)?)),
            Err(error) => Err(error.into()),
        }
    }
}
