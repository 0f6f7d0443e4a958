//! An image out of an OCI layout that is a directory (`--build-context NAME=oci-layout://DIRECTORY`): the one that is
//! meant, and nothing else of it, goes the way of `load`.
use super::REF_NAME;
use crate::{Engine, EngineError};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{PipeWriter, Read, Write};
use std::path::Path;
use strata_oci::{Descriptor, Digest, ImageConfig, ImageId, Index, Manifest, Raw};
use strata_store::Lease;

/// A manifest or index is no larger.
const MAX_DOCUMENT: u64 = 4 << 20;
/// How deep indexes may be nested.
const MAX_INDEXES: usize = 4;
/// What is meant without a tag, if it is there.
const DEFAULT_TAG: &str = "latest";

/// An image that is only held, for a build that copies from it or stands on it.
#[derive(Clone)]
pub struct LayoutImage {
    config: Raw<ImageConfig>,
    _lease: Lease,
}

impl LayoutImage {
    /// Digest of its config.
    pub fn id(&self) -> ImageId {
        ImageId::new(*self.config.digest())
    }

    pub(crate) fn config(&self) -> &Raw<ImageConfig> {
        &self.config
    }
}

impl fmt::Debug for LayoutImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LayoutImage").field(&self.id()).finish()
    }
}

impl Engine {
    /// Takes in the image of a layout that has a tag or a digest; without either the one called `latest`, or the only one.
    /// It is there as long as one of its clones, and no image of the store.
    pub fn layout_image(
        &self,
        directory: &Path,
        tag: Option<&str>,
        digest: Option<&Digest>,
    ) -> Result<LayoutImage, EngineError> {
        let lease = self.store().leases().acquire()?;
        let index: Index = parse(&directory.join("index.json"))?;
        let mut chosen = choose(directory, &index, tag, digest)?.clone();
        let mut blobs = BTreeSet::new();
        reachable(directory, &chosen, 0, &mut blobs)?;
        chosen.annotations.clear();
        let index = Index { manifests: vec![chosen], ..index };
        let index = serde_json::to_vec(&index).map_err(EngineError::runtime)?;
        let (reader, writer) = std::io::pipe()?;
        let loaded = std::thread::scope(|threads| {
            let written = threads.spawn(|| send(directory, &index, &blobs, writer));
            let loaded = self.unpack_images(&lease, Box::new(reader));
            // A reader that gave up leaves a broken pipe: its own error says why.
            match (loaded, written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))) {
                (Ok(_), Err(error)) => Err(error.into()),
                (loaded, _) => loaded,
            }
        })?;
        let image = loaded.into_iter().next().ok_or_else(|| {
            EngineError::Archive(format!("{}: the layout holds no image", directory.display()))
        })?;
        Ok(LayoutImage { config: image.config, _lease: lease })
    }
}

fn choose<'i>(
    directory: &Path,
    index: &'i Index,
    tag: Option<&str>,
    digest: Option<&Digest>,
) -> Result<&'i Descriptor, EngineError> {
    let name = |descriptor: &Descriptor| descriptor.annotations.get(REF_NAME).cloned();
    let tagged = |tag: &str| {
        index.manifests.iter().find(|descriptor| {
            // Some writers put a full name where the specification wants a tag.
            name(descriptor).is_some_and(|name| name == tag || name.ends_with(&format!(":{tag}")))
        })
    };
    let found = match (digest, tag, &index.manifests[..]) {
        (Some(digest), ..) => index.manifests.iter().find(|descriptor| descriptor.digest == *digest),
        (None, Some(tag), _) => tagged(tag),
        (None, None, [only]) => Some(only),
        (None, None, _) => tagged(DEFAULT_TAG),
    };
    found.ok_or_else(|| {
        let wanted = digest.map(ToString::to_string).or_else(|| tag.map(str::to_owned));
        let there: Vec<String> = index
            .manifests
            .iter()
            .map(|found| name(found).unwrap_or_else(|| found.digest.to_string()))
            .collect();
        EngineError::Archive(format!(
            "{}: the layout holds no image {}; it holds: {}",
            directory.display(),
            wanted.as_deref().unwrap_or(DEFAULT_TAG),
            there.join(", ")
        ))
    })
}

/// The blobs of a manifest, or of all manifests of an index that are there: a layout may hold one platform only.
fn reachable(
    directory: &Path,
    descriptor: &Descriptor,
    depth: usize,
    blobs: &mut BTreeSet<String>,
) -> Result<(), EngineError> {
    let path = directory.join(blob(&descriptor.digest));
    if depth > 0 && !path.exists() {
        return Ok(());
    }
    if depth > MAX_INDEXES {
        return Err(EngineError::Archive(format!("{}: indexes are nested too deep", path.display())));
    }
    blobs.insert(blob(&descriptor.digest));
    if descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list") {
        let index: Index = parse(&path)?;
        return index.manifests.iter().try_for_each(|inner| reachable(directory, inner, depth + 1, blobs));
    }
    let manifest: Manifest = parse(&path)?;
    let all = manifest.layers.iter().chain([&manifest.config]);
    blobs.extend(all.map(|descriptor| blob(&descriptor.digest)));
    Ok(())
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, EngineError> {
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        let message = format!("{}: more than {MAX_DOCUMENT} bytes", path.display());
        return Err(EngineError::Archive(message));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| EngineError::Archive(format!("{}: {error}", path.display())))
}

/// The layout as the archive that `load` reads.
fn send(directory: &Path, index: &[u8], blobs: &BTreeSet<String>, out: PipeWriter) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(std::io::BufWriter::with_capacity(1 << 20, out));
    let mut header = tar::Header::new_ustar();
    header.set_size(index.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "index.json", index)?;
    for blob in blobs {
        // One that is missing is told where it is needed.
        let Ok(file) = fs_err::File::open(directory.join(blob)) else { continue };
        tar.append_file(blob, &mut file.into_file())?;
    }
    tar.into_inner()?.flush()
}
