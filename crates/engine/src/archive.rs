//! `save`, `load` and `import`: Docker archives and OCI layouts.
//!
//! What `save` writes is both at once: blobs by digest, `manifest.json` for Docker, `index.json` for OCI, and a
//! directory per layer as Docker wrote them until version 25, whose `layer.tar` is a hard link to the blob.

mod form;
mod import;
mod layout;
mod load;
mod members;
mod save;

pub use form::ArchiveForm;
pub use import::ImportRequest;
pub use layout::LayoutImage;
pub use load::Loaded;

use serde::{Deserialize, Serialize};

/// One image in `manifest.json` of a Docker archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ArchiveImage {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
}

/// containerd's annotation with the full image name, as `docker save` writes it.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
/// OCI's annotation with the tag alone, or the name.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// OCI's annotation with the date.
const CREATED: &str = "org.opencontainers.image.created";
