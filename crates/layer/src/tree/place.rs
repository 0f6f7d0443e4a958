//! What is known of a file's content: its digest, and where a layer has a copy.
use crate::ContentDigest;
use crate::tar::BLOCK;

/// What is known of a file's content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    /// [`UNKNOWN`] if nobody knows it.
    pub(super) digest: ContentDigest,
    /// A copy of it.
    pub(super) place: Place,
}

/// No BLAKE3 of anything.
pub(super) const UNKNOWN: ContentDigest = ContentDigest([0; 32]);

/// Where the tar of a layer has a file's content, by what is remembered: whoever reads there must check the digest.
/// Layers are numbered by the tree; a member's content begins on a block, and never on the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    const BLOCK_BITS: u32 = 48;
    /// Of the layer that is being made.
    pub(super) const NEW: u16 = u16::MAX;

    /// `None` for what the numbers cannot say.
    pub(super) fn new(layer: u16, offset: u64) -> Option<Self> {
        let block = offset / BLOCK;
        let fits = offset.is_multiple_of(BLOCK) && block > 0 && block < 1 << Self::BLOCK_BITS;
        fits.then_some(Self(u64::from(layer) << Self::BLOCK_BITS | block))
    }

    /// Number of the layer.
    pub(crate) fn layer(self) -> u16 {
        (self.0 >> Self::BLOCK_BITS) as u16
    }

    /// Offset in its tar in bytes.
    pub(crate) fn offset(self) -> u64 {
        (self.0 & ((1 << Self::BLOCK_BITS) - 1)) * BLOCK
    }

    /// The same offset in the layer with another number.
    pub(crate) fn in_layer(self, layer: u16) -> Self {
        Self(u64::from(layer) << Self::BLOCK_BITS | (self.0 & ((1 << Self::BLOCK_BITS) - 1)))
    }

    /// As it stands in a file; 0 for none.
    pub(crate) fn to_bits(place: Option<Self>) -> u64 {
        place.unwrap_or_default().0
    }

    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        Some(Self(bits)).filter(|place| place.offset() > 0)
    }
}

impl Content {
    pub(crate) fn new(digest: ContentDigest, place: Option<Place>) -> Self {
        Self { digest, place: place.unwrap_or_default() }
    }
}
