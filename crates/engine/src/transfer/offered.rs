//! Layers that a shared cache, or the registry of a base image, has: they come when somebody needs them.
use super::fetch::side_by_side;
use super::layer::{Fetcher, Wanted, inflation_limit};
use super::source::LayerSource;
use super::{PullRequest, TransferEvents};
use crate::{Engine, EngineError};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use strata_cache::{Place, PlaceError};
use strata_layer::compression::decompress;
use strata_oci::{Descriptor, DiffId, Digest};
use strata_registry::Repository;
use strata_store::{Lease, RemoteBlob, Store, StoreError};

/// A layer's blob, and where it is.
#[derive(Clone)]
pub(crate) struct Offered {
    place: Arc<dyn Place>,
    blob: Descriptor,
}

impl Offered {
    pub(crate) fn new(place: Arc<dyn Place>, blob: Descriptor) -> Self {
        Self { place, blob }
    }

    /// The blob.
    pub(crate) fn blob(&self) -> &Descriptor {
        &self.blob
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Arc<dyn Place> {
        &self.place
    }

    /// Whether the store knows that the blob is a form of this layer.
    pub(crate) fn is_known(&self, store: &Store, layer: &DiffId) -> Result<bool, StoreError> {
        let digest = &self.blob.digest;
        if digest == layer.digest() || store.blobs().recipe(layer, digest)?.is_some() {
            return Ok(true);
        }
        Ok(store.blobs().remotes(layer)?.iter().any(|remote| remote.digest == *digest))
    }

    /// Why the blob cannot be had, as far as that shows before it is fetched.
    pub(crate) fn missing(&self) -> Option<String> {
        let Descriptor { digest, size, .. } = &self.blob;
        let why = match self.place.size(digest) {
            Ok(Some(found)) if found == *size => return None,
            Ok(Some(found)) => format!("has {found} bytes, not {size}"),
            Ok(None) => "is not there any more".to_owned(),
            Err(error) => format!("cannot be asked for: {error}"),
        };
        Some(format!("{digest} of {} {why}", self.place))
    }

    /// Why the blob cannot be had, or is no form of this layer: all of it is read for that.
    pub(crate) fn lost(&self, layer: &DiffId) -> Option<String> {
        let changed = || {
            let is_it = self.is(layer).unwrap_or(false);
            (!is_it).then(|| {
                format!("{} of {} is another layer than it was said to be", self.blob.digest, self.place)
            })
        };
        self.missing().or_else(changed)
    }

    /// Whether the blob is a form of this layer: all of it is read, and nothing kept.
    pub(crate) fn is(&self, layer: &DiffId) -> io::Result<bool> {
        let limit = inflation_limit(self.blob.size, PullRequest::MAX_INFLATION);
        let mut inflated = decompress(Box::new(self.open(0)?))?.take(limit);
        let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
        loop {
            match inflated.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        Ok(Digest::from_bytes(hasher.finalize().into()) == *layer.digest())
    }

    /// Remembers that the blob is a form of this layer, which was seen.
    pub(crate) fn remember(&self, store: &Store, layer: &DiffId) -> Result<(), StoreError> {
        let seen = RemoteBlob {
            digest: self.blob.digest,
            length: self.blob.size,
            media_type: self.blob.media_type.clone(),
            repository: self.place.repository().map(ToString::to_string).unwrap_or_default(),
        };
        store.blobs().remember_remote(layer, &seen)
    }

    /// Its bytes from `offset` on.
    pub(crate) fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let reader = self.place.blob(&self.blob, offset).map_err(|error| match error {
            PlaceError::Io(error) => error,
            other => io::Error::other(other),
        })?;
        // One byte more than there should be shows in the digest.
        Ok(Box::new(reader.take(self.blob.size.saturating_sub(offset).saturating_add(1))))
    }
}

/// The place of one layer, as whoever fetches knows it.
struct Shared<'a>(&'a Offered);

impl LayerSource for Shared<'_> {
    fn open(&self, layer: &Descriptor, offset: u64) -> Result<Box<dyn Read + '_>, EngineError> {
        let reader =
            self.0.place.blob(layer, offset).map_err(|error| EngineError::Shared(Box::new(error)))?;
        Ok(Box::new(reader.take(layer.size.saturating_sub(offset))))
    }

    fn name(&self) -> String {
        self.0.place.to_string()
    }

    fn repository(&self) -> Option<&Repository> {
        self.0.place.repository()
    }
}

impl Engine {
    /// Fetches the layers of a stack that are offered and not here, several at once. The lease keeps them. `offers` has
    /// an entry for each of `names`, bottom first.
    ///
    /// # Errors
    /// [`EngineError::Lost`] of a layer that is not where it was said to be, or is another one.
    pub(crate) fn fetch_offered(
        &self,
        lease: &Lease,
        names: &[DiffId],
        offers: &[Option<&Offered>],
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), EngineError> {
        let missing = lease.hold(names)?;
        let mut seen = BTreeSet::new();
        let wanted: Vec<(usize, &Offered)> = (offers.iter().copied().enumerate())
            .filter_map(|(position, offered)| Some((position, offered?)))
            .filter(|(position, _)| missing.contains(&names[*position]) && seen.insert(names[*position]))
            .collect();
        side_by_side(&wanted, cancel, |(position, offered), cancel| {
            let source = Shared(offered);
            let fetcher = Fetcher::new(self.store(), lease.clone(), source, PullRequest::MAX_INFLATION);
            let wanted =
                Wanted { layer: &offered.blob, diff_id: names[*position], below: &names[..*position] };
            fetcher.fetch(&wanted, events, cancel).map_err(|error| match error.is_elsewhere() {
                true => EngineError::Lost { layer: names[*position], source: Box::new(error) },
                false => error,
            })?;
            // A registry's was remembered by the fetcher.
            if offered.place.repository().is_none() {
                offered.remember(self.store(), &names[*position])?;
            }
            Ok(())
        })
    }
}
