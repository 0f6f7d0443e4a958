//! Another registry's content, fetched when it is asked for first.
//!
//! What was fetched is served from the disk. A tag may move, so the upstream is asked for it every time; when it is
//! away, what the tag stood for last is served.

mod download;

pub(crate) use download::Download;

use crate::name::{Reference, Repository, Tag};
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::storage::{Outline, StoredManifest};
use crate::threads::blocking;
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use strata_oci::Digest;
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

type Slot = Arc<OnceCell<Option<Arc<Download>>>>;

/// The upstream, and what is being fetched from it.
pub(crate) struct Mirror {
    upstream: Arc<dyn Upstream>,
    running: Mutex<HashMap<(Repository, Digest), Slot>>,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mirror")
    }
}

impl Mirror {
    pub(crate) fn new(upstream: Arc<dyn Upstream>) -> Self {
        Self { upstream, running: Mutex::default() }
    }

    /// Brings a tag up to date, or a manifest here. When the upstream is away, what is here has to do.
    pub(crate) fn refresh(
        &self,
        registry: &Registry,
        name: &Repository,
        reference: &Reference,
    ) -> Result<(), Refusal> {
        match reference {
            Reference::Digest(digest) => {
                if registry.storage.manifest(name, reference)?.is_none() {
                    self.fetch(registry, name, digest, &[])?;
                }
                Ok(())
            }
            Reference::Tag(tag) => self.refresh_tag(registry, name, tag),
        }
    }

    fn refresh_tag(&self, registry: &Registry, name: &Repository, tag: &Tag) -> Result<(), Refusal> {
        let here = registry.storage.tag(name, tag)?;
        let digest = match self.upstream.resolve(name.as_str(), tag.as_str()) {
            Ok(Some(digest)) => digest,
            Ok(None) => {
                registry.storage.delete_tag(name, tag)?;
                return Ok(());
            }
            Err(_) if here.is_some() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if registry.storage.manifest(name, &Reference::Digest(digest))?.is_none() {
            match self.fetch(registry, name, &digest, std::slice::from_ref(tag)) {
                Err(Refusal::Upstream(_)) if here.is_some() => {}
                other => other?,
            }
        } else if here != Some(digest) {
            let _publishing = registry.storage.publishing()?;
            registry.storage.put_tag(name, tag, &digest)?;
        }
        Ok(())
    }

    fn fetch(
        &self,
        registry: &Registry,
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
        let _publishing = registry.storage.publishing()?;
        registry.storage.put_manifest(name, &outline, &fetched.bytes, tags)?;
        Ok(())
    }

    /// The length of a blob that is not here.
    pub(crate) fn blob_size(&self, name: &Repository, digest: &Digest) -> Result<Option<u64>, Refusal> {
        Ok(self.upstream.blob_size(name.as_str(), digest)?)
    }

    /// A blob that is not here, on its way: everybody who asks meanwhile gets the same download. `None` when the
    /// upstream does not have it.
    pub(crate) async fn download(
        registry: &Arc<Registry>,
        name: &Repository,
        digest: &Digest,
    ) -> Result<Option<Arc<Download>>, Refusal> {
        let Some(mirror) = &registry.mirror else { return Ok(None) };
        let key = (name.clone(), *digest);
        let slot = mirror.running().entry(key.clone()).or_default().clone();
        let begin = || {
            let (registry, upstream, key) = (registry.clone(), mirror.upstream.clone(), key.clone());
            blocking(move || Download::begin(&registry, &upstream, &key.0, &key.1))
        };
        let download = slot.get_or_try_init(begin).await.cloned();
        if !matches!(download, Ok(Some(_))) {
            mirror.forget(name, digest);
        }
        download
    }

    /// What comes next finds the blob on the disk, or has to ask again.
    fn forget(&self, name: &Repository, digest: &Digest) {
        self.running().remove(&(name.clone(), *digest));
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<(Repository, Digest), Slot>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upstream's tags; those that are here when it is away.
    pub(crate) fn tags(
        &self,
        registry: &Registry,
        name: &Repository,
    ) -> Result<Option<Vec<String>>, Refusal> {
        match self.upstream.tags(name.as_str()) {
            Ok(tags) => Ok(tags.map(|mut tags| {
                tags.sort_unstable();
                tags
            })),
            Err(_) if registry.storage.knows(name) => Ok(Some(registry.storage.tags(name)?)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The manifest, from the upstream if there is one.
pub(crate) fn manifest(
    registry: &Registry,
    name: &Repository,
    reference: &Reference,
) -> Result<Option<StoredManifest>, Refusal> {
    if let Some(mirror) = &registry.mirror {
        mirror.refresh(registry, name, reference)?;
    }
    Ok(registry.storage.manifest(name, reference)?)
}
