//! Where a cache is kept.
use crate::{Config, ConfigError};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use strata_oci::{Descriptor, Digest};
use strata_registry::Repository;

/// A named config and its blobs, somewhere. Its [`Display`](fmt::Display) is how messages call it.
///
/// All methods may be called from several threads at once.
pub trait Place: fmt::Display + Send + Sync {
    /// Reads the config; `None` if nothing has been written under this name yet.
    ///
    /// # Errors
    /// [`PlaceError::NotACache`] for something else of this name, and whatever keeps an answer away.
    fn config(&self) -> Result<Option<Found>, PlaceError>;

    /// The bytes of a blob from `offset` on. Whoever reads them checks the digest, and that there are not more than the
    /// descriptor says.
    ///
    /// # Errors
    /// That it is not there, and whatever keeps an answer away.
    fn blob(&self, blob: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send>, PlaceError>;

    /// Whether a blob is here, for whoever would put it here.
    ///
    /// # Errors
    /// Whatever keeps an answer away.
    fn has(&self, blob: &Digest) -> Result<bool, PlaceError>;

    /// The length of a blob, for whoever is about to fetch it; `None` if it is not here.
    ///
    /// # Errors
    /// Whatever keeps an answer away.
    fn size(&self, blob: &Digest) -> Result<Option<u64>, PlaceError>;

    /// Takes a blob. Nobody sees it before it is whole; that it is not here yet is for the caller to ask first.
    ///
    /// # Errors
    /// What reading or writing gives.
    fn put(&self, content: &dyn Content) -> Result<Sent, PlaceError>;

    /// Makes a config visible under the name, in place of an earlier one. `layers` are the blobs it speaks of, all of
    /// which are here.
    ///
    /// # Errors
    /// What writing gives.
    fn publish(&self, config: &Config, layers: &[Descriptor]) -> Result<(), PlaceError>;

    /// The repository that the blobs are in: its registry can mount them from there.
    fn repository(&self) -> Option<&Repository> {
        None
    }
}

/// A config that was read.
#[derive(Clone, Debug)]
pub struct Found {
    /// Checked by [`Config::parse`].
    pub config: Config,
    /// The blobs that the place has, as its manifest describes them. A layer whose blob is not among them cannot be had,
    /// whatever the config says.
    pub blobs: BTreeMap<Digest, Descriptor>,
    /// It stands in the config of an image.
    pub in_image: bool,
}

/// A blob on its way to a place: compressed while it is read, or passed on from elsewhere.
pub trait Content: Sync {
    /// What messages call it: the name of the uncompressed layer.
    fn name(&self) -> &Digest;

    /// Digest and length; `None` as long as that is not known. When what [`Self::open`] gave for 0 has been read to its
    /// end, it is. A place that must know it before can read it once into nothing.
    fn known(&self) -> Option<(Digest, u64)>;

    /// The bytes from `offset` on: the same each time.
    ///
    /// # Errors
    /// Whatever keeps the bytes from being read.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>>;

    /// Repositories, by their full names, that were seen to hold these bytes: a registry may take them from there.
    fn holders(&self) -> &[String] {
        &[]
    }
}

/// How a blob came to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it was sent.
    Whole,
    /// The place took it from here itself.
    Mounted(String),
}

/// Why a place does not do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// What a registry answers, or that it does not.
    #[error(transparent)]
    Registry(#[from] Box<strata_registry::Error>),
    /// Reading or writing files.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What stands under the name is something else.
    #[error("{place} is not a build cache: {why}")]
    NotACache {
        /// The place.
        place: String,
        /// What it is.
        why: String,
    },
    /// An image that nobody put a cache into.
    #[error("{place}: the image carries no cache records")]
    PlainImage {
        /// The place.
        place: String,
    },
    /// The config cannot be used.
    #[error("{place}: {source}")]
    Config {
        /// The place.
        place: String,
        /// Why.
        source: ConfigError,
    },
    /// Content that is not what it is called.
    #[error("{place}: {what} has the digest {found}, not {expected}")]
    WrongDigest {
        /// The place.
        place: String,
        /// The content.
        what: &'static str,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// What other kinds of places say.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl From<strata_registry::Error> for PlaceError {
    fn from(error: strata_registry::Error) -> Self {
        Self::Registry(Box::new(error))
    }
}
