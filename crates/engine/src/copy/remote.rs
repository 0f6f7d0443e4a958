//! Looking at images that are not here.
use super::choose::{self, is_index};
use super::{Copier, CopyError, Document, Place, PlatformImage};
use strata_oci::{ImageConfig, Manifest, Platform, Raw};

/// An image somewhere, as far as its documents tell.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the place names: a manifest or an index.
    pub root: Document,
    /// The images of an index; empty for a manifest.
    pub platforms: Vec<PlatformImage>,
    /// The manifest that was chosen.
    pub document: Document,
    /// What it says.
    pub manifest: Manifest,
    /// The image's config, as its bytes and as what they say. `None` for an artifact that is no image.
    pub config: Option<Raw<ImageConfig>>,
}

impl Copier<'_> {
    /// Reads an image's documents, for a platform where there are several [this machine's].
    pub fn look(&self, place: &Place, platform: Option<&Platform>) -> Result<Seen, CopyError> {
        let origin = self.origin(place)?;
        let root = origin.root()?;
        let platforms = choose::platforms(&root)?;
        let document = if is_index(&root.media_type) {
            let entries = choose::index(&root)?.manifests;
            let wanted = platform.cloned().unwrap_or_else(Platform::host);
            let chosen = match (choose::choose(entries.clone(), &wanted, &place.to_string()), platform) {
                // Nobody asked for this machine's: any tells what the image is.
                (Err(error), None) => entries.into_iter().next().ok_or(error)?,
                (chosen, _) => chosen?,
            };
            origin.manifest(&chosen)?
        } else {
            root.clone()
        };
        let manifest = choose::manifest(&document)?;
        let config = origin.read(&manifest.config)?;
        Ok(Seen { root, platforms, document, config: Raw::parse(config).ok(), manifest })
    }

    /// The bytes of a manifest or index, and what they are.
    pub fn document(&self, place: &Place) -> Result<Document, CopyError> {
        self.origin(place)?.root()
    }
}
