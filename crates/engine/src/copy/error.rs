//! Why an image could not be copied, looked at or put together.
use crate::EngineError;
use std::path::PathBuf;
use strata_oci::Digest;

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The registry, or the way to it.
    #[error(transparent)]
    Registry(#[from] Box<strata_registry::Error>),
    /// The local store.
    #[error(transparent)]
    Engine(#[from] Box<EngineError>),
    /// Reading or writing a file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A place that cannot be understood.
    #[error("{text:?} names no place for images: {why}")]
    Place {
        /// As given.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// The place does not have it.
    #[error("{place} has no image {wanted}{}", has(.there))]
    Missing {
        /// Where it was looked for.
        place: String,
        /// What was looked for.
        wanted: String,
        /// What is there.
        there: Vec<String>,
    },
    /// A place that holds several images, without a word about which.
    #[error("{place} holds several images: say which one{}", has(.there))]
    Ambiguous {
        /// The place.
        place: String,
        /// What is there.
        there: Vec<String>,
    },
    /// No image of an index is for the platform.
    #[error("{place} has no image for {platform}{}", has(.there))]
    Platform {
        /// The place.
        place: String,
        /// The platform.
        platform: String,
        /// The platforms that are there.
        there: Vec<String>,
    },
    /// Content that is not what its digest says.
    #[error("{what}: the content has the digest {found}, not {expected}; nothing was kept of it")]
    Digest {
        /// The content.
        what: String,
        /// By its descriptor.
        expected: Digest,
        /// Of the bytes.
        found: Digest,
    },
    /// Content that is not as long as its descriptor says.
    #[error("{what} has {found} bytes where its descriptor says {expected}")]
    Size {
        /// The content.
        what: String,
        /// By its descriptor.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A document that cannot be read.
    #[error("{what}: {why}")]
    Malformed {
        /// The document.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// An archive or layout that is none.
    #[error("{}: {why}", path.display())]
    Container {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A rebase that would not give what a build on the new base gives.
    #[error("cannot rebase {image}: {why}; build it again instead")]
    Unsafe {
        /// The image.
        image: String,
        /// What is in the way.
        why: String,
    },
    /// A list of manifests that does not allow it.
    #[error("{0}")]
    List(String),
}

impl From<EngineError> for CopyError {
    fn from(error: EngineError) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl From<strata_registry::Error> for CopyError {
    fn from(error: strata_registry::Error) -> Self {
        Self::Registry(Box::new(error))
    }
}

fn has(there: &[String]) -> String {
    match there {
        [] => String::new(),
        [one] => format!(" (there is {one})"),
        several => format!(" (there are {})", several.join(", ")),
    }
}
