//! Which image of an index.
use super::{CopyError, Document, Origin, Place};
use strata_oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};

/// One image behind a name.
#[derive(Clone, Debug)]
pub struct PlatformImage {
    /// What it runs on; `None` where nobody says.
    pub platform: Option<Platform>,
    /// Of its manifest.
    pub digest: Digest,
    /// Length of its manifest in bytes.
    pub size: u64,
    /// Media type of its manifest.
    pub media_type: String,
}

/// The images that an index lists; none for a manifest.
pub fn platforms(document: &Document) -> Result<Vec<PlatformImage>, CopyError> {
    if !is_index(&document.media_type) {
        return Ok(Vec::new());
    }
    Ok(index(document)?.manifests.into_iter().map(Into::into).collect())
}

impl From<Descriptor> for PlatformImage {
    fn from(descriptor: Descriptor) -> Self {
        let Descriptor { platform, digest, size, media_type, .. } = descriptor;
        Self { platform, digest, size, media_type }
    }
}

pub(super) fn is_index(kind: &str) -> bool {
    matches!(kind, media_type::OCI_INDEX | media_type::DOCKER_INDEX)
}

pub(super) fn is_manifest(kind: &str) -> bool {
    matches!(kind, media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST)
}

pub(super) fn index(document: &Document) -> Result<Index, CopyError> {
    serde_json::from_slice(&document.bytes).map_err(|error| malformed(document, &error))
}

pub(super) fn manifest(document: &Document) -> Result<Manifest, CopyError> {
    serde_json::from_slice(&document.bytes).map_err(|error| malformed(document, &error))
}

fn malformed(document: &Document, error: &serde_json::Error) -> CopyError {
    CopyError::Malformed { what: format!("manifest {}", document.digest), why: error.to_string() }
}

/// What a place names; with a platform, the one image of an index for it.
pub(super) fn root(
    origin: &dyn Origin,
    platform: Option<&Platform>,
    place: &Place,
) -> Result<Document, CopyError> {
    within(origin, origin.root()?, platform, place)
}

/// Like [`root`]; an image that stands alone, in no index, has to say in its config that it is for the platform. What is
/// no image runs nowhere and anywhere.
pub(super) fn fitting_root(
    origin: &dyn Origin,
    platform: Option<&Platform>,
    place: &Place,
) -> Result<Document, CopyError> {
    let root = origin.root()?;
    if let Some(wanted) = platform.filter(|_| is_manifest(&root.media_type)) {
        let config = origin.read(&manifest(&root)?.config)?;
        let own = serde_json::from_slice::<Platform>(&config).ok().filter(|own| !own.os.is_empty());
        if let Some(own) = own.filter(|own| wanted.suits(own).is_none()) {
            let (place, platform) = (place.to_string(), wanted.to_string());
            return Err(CopyError::Platform { place, platform, there: vec![own.to_string()] });
        }
    }
    within(origin, root, platform, place)
}

fn within(
    origin: &dyn Origin,
    root: Document,
    platform: Option<&Platform>,
    place: &Place,
) -> Result<Document, CopyError> {
    match platform {
        Some(platform) if is_index(&root.media_type) => {
            let chosen = choose(index(&root)?.manifests, platform, &place.to_string())?;
            origin.manifest(&chosen)
        }
        _ => Ok(root),
    }
}

/// The entry that suits a platform best.
pub(super) fn choose(
    entries: Vec<Descriptor>,
    wanted: &Platform,
    place: &str,
) -> Result<Descriptor, CopyError> {
    let worth = |entry: &Descriptor| entry.platform.as_ref().and_then(|offered| wanted.suits(offered));
    let best =
        entries.iter().filter_map(|entry| Some((worth(entry)?, entry))).min_by_key(|(worth, _)| *worth);
    if let Some((_, found)) = best {
        return Ok(found.clone());
    }
    let there =
        entries.iter().filter_map(|entry| entry.platform.as_ref()).filter(|platform| is_known(platform));
    Err(CopyError::Platform {
        place: place.to_owned(),
        platform: wanted.to_string(),
        there: there.map(ToString::to_string).collect(),
    })
}

/// Attestations stand in an index under the platform `unknown/unknown`.
pub(super) fn is_known(platform: &Platform) -> bool {
    platform.os != "unknown"
}
