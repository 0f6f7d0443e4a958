//! Why an image stays.
use strata_oci::ImageId;

/// Why an image cannot be removed (`spec/engine.md`, section 2, "image rm"). The display is Docker's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveConflict {
    /// Its last name, and a container was made from it.
    #[error(
        "conflict: unable to remove repository reference \"{reference}\" (must force) - container {} is using its referenced image {}",
        short(.container), .image.short()
    )]
    ReferenceInUse {
        /// As it was typed.
        reference: String,
        /// The image.
        image: ImageId,
        /// Full ID of the container.
        container: String,
    },
    /// By ID; `used` says by what.
    #[error(
        "conflict: unable to delete {} ({} be forced) - {used}", .image.short(),
        if .used.is_hard() { "cannot" } else { "must" }
    )]
    Image {
        /// The image.
        image: ImageId,
        /// What is in the way.
        used: Used,
    },
}

/// What uses an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Used {
    /// Images built on it.
    #[error("image has dependent child images")]
    Children,
    /// A container that runs.
    #[error("image is being used by running container {}", short(.0))]
    Running(
        /// Full ID.
        String,
    ),
    /// A container that does not run.
    #[error("image is being used by stopped container {}", short(.0))]
    Stopped(
        /// Full ID.
        String,
    ),
    /// Several names.
    #[error("image is referenced in multiple repositories")]
    Names,
}

impl Used {
    /// True when not even `--force` helps.
    pub fn is_hard(&self) -> bool {
        matches!(self, Self::Children | Self::Running(_))
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
