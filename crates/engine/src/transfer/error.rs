//! Errors of transfers that are not the registry's, the store's or a layer's own.
use strata_oci::{DiffId, Digest};

/// Why an image cannot be pulled or pushed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// An index without an image for the platform.
    #[error("{reference}: no matching manifest for {platform} in the manifest list entries; it has {}", list(.available))]
    NoPlatform {
        /// The image.
        reference: String,
        /// What was looked for.
        platform: String,
        /// What there is.
        available: Vec<String>,
    },
    /// Something else than an image: a chart, a signature.
    #[error("{reference} is not a container image: {what}")]
    NotAnImage {
        /// What was asked for.
        reference: String,
        /// Why.
        what: String,
    },
    /// Compressed bytes with another digest than the manifest's.
    #[error(
        "{expected} of {repository}: what came has the digest {found}; its sender is damaged or lies: nothing was kept"
    )]
    WrongDigest {
        /// Where it came from.
        repository: String,
        /// By the manifest.
        expected: Digest,
        /// Of what came.
        found: Digest,
    },
    /// A layer that is not the one that the config names.
    #[error(
        "layer {digest} of {repository} unpacks to {found}, but the image's config says {expected}; the image is damaged: nothing was kept"
    )]
    WrongDiffId {
        /// Where it came from.
        repository: String,
        /// The blob.
        digest: Digest,
        /// By the config.
        expected: Box<DiffId>,
        /// Of what came.
        found: Box<DiffId>,
    },
    /// A small blob that would fill the disk.
    #[error(
        "layer {digest} of {repository}: {compressed} bytes unpack to more than {limit}, as only a bomb does; nothing was kept (pull --max-inflation N allows N times the size, 0 anything)"
    )]
    Bomb {
        /// Where it came from.
        repository: String,
        /// The blob.
        digest: Digest,
        /// Its length.
        compressed: u64,
        /// How much was unpacked before it was stopped.
        limit: u64,
    },
    /// A name that no image has.
    #[error("tag does not exist: {0}")]
    NoSuchTag(String),
    /// A repository without a tag.
    #[error("An image does not exist locally with the tag: {0}")]
    NoTags(String),
    /// A name that cannot be pushed.
    #[error("cannot push a digest reference: {0}; push a tag")]
    PushDigest(String),
    /// An image whose layers a remembered manifest does not have.
    #[error("{0}")]
    Unfit(String),
    /// A layer that its maker hands out alone, from an address that nobody remembers.
    #[error(
        "layer {0} is not for distribution, and the image that says where it is to be had is not here any more: pull that again, or send the layer with --allow-nondistributable-artifacts if you may"
    )]
    KeptAway(DiffId),
    /// The command was told to stop.
    #[error("canceled")]
    Cancelled,
}

fn list(available: &[String]) -> String {
    match available {
        [] => "none".to_owned(),
        available => available.join(", "),
    }
}
