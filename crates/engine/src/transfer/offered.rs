//! Layers that a shared cache, or the registry of a base image, has: they come when somebody needs them.
use super::fetch::side_by_side;
use super::layer::{Fetcher, Wanted};
use super::source::LayerSource;
use super::{PullRequest, TransferEvents};
use crate::{Engine, EngineError};
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use strata_cache::{Place, PlaceError};
use strata_oci::{Descriptor, DiffId};
use strata_registry::Repository;
use strata_store::Lease;

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
            fetcher.fetch(&wanted, events, cancel)
        })
    }
}
