//! `load`.
use super::members::Members;
use super::{ArchiveImage, IMAGE_NAME, REF_NAME};
use crate::{Engine, EngineError};
use std::io::Read;
use strata_oci::{Descriptor, DiffId, ImageConfig, ImageId, Index, Manifest, Platform, Raw, Reference};
use strata_store::{Lease, NamedManifest};

/// One image that came out of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It got this name.
    Tagged(Reference),
    /// It has no name in the archive.
    Untagged(ImageId),
}

/// An image of which the layers are in the store.
pub(super) struct Unpacked {
    pub(super) config: Raw<ImageConfig>,
    pub(super) names: Vec<(Reference, NamedManifest)>,
    /// Of the image without a name.
    manifest: NamedManifest,
}

/// How deep indexes may be nested.
const MAX_INDEXES: usize = 4;

impl Engine {
    /// Reads an archive of either kind, plain, gzip or zstd. Config bytes, and so image IDs, are kept as they are.
    pub fn load(&self, input: Box<dyn Read + Send>) -> Result<Vec<Loaded>, EngineError> {
        let lease = self.store().leases().acquire()?;
        let mut loaded = Vec::new();
        for Unpacked { config, names, manifest } in self.unpack_images(&lease, input)? {
            let id = self.store().images().publish_as(&config, &names, &manifest)?;
            match &names[..] {
                [] => loaded.push(Loaded::Untagged(id)),
                names => loaded.extend(names.iter().map(|(name, _)| Loaded::Tagged(name.clone()))),
            }
        }
        Ok(loaded)
    }

    /// Takes in the layers of an archive's images, kept by the lease; the images themselves are not recorded.
    pub(super) fn unpack_images(
        &self,
        lease: &Lease,
        input: Box<dyn Read + Send>,
    ) -> Result<Vec<Unpacked>, EngineError> {
        let mut members = Members::read(self, lease, input)?;
        let images = if let Some(manifest) = members.optional("manifest.json") {
            let mut images = docker_images(manifest)?;
            annotate(&members, &mut images);
            images
        } else if let Some(index) = members.optional("index.json") {
            oci_images(&members, &parse("index.json", index)?)?
        } else {
            return Err(EngineError::Archive(
                "not an image archive: it has neither manifest.json (docker save) nor index.json (an OCI layout); \
                 the tar of a root file system is for `import`"
                    .to_owned(),
            ));
        };
        if images.is_empty() {
            return Err(EngineError::Archive("the archive holds no image".to_owned()));
        }
        images.into_iter().map(|image| unpack_image(&mut members, image)).collect()
    }
}

fn unpack_image(members: &mut Members, image: Found) -> Result<Unpacked, EngineError> {
    let bytes = members.document(&image.config)?.to_vec();
    let config: Raw<ImageConfig> = Raw::parse(bytes)
        .map_err(|error| EngineError::Archive(format!("{} is not an image config: {error}", image.config)))?;
    let diff_ids: Vec<DiffId> = config.value().rootfs.diff_ids.clone();
    if diff_ids.len() != image.layers.len() {
        return Err(EngineError::Archive(format!(
            "{} lists {} layers, but the manifest {}",
            image.config,
            diff_ids.len(),
            image.layers.len()
        )));
    }
    for (position, (path, diff_id)) in image.layers.iter().zip(&diff_ids).enumerate() {
        members.publish(path, *diff_id, &diff_ids[..position])?;
    }
    Ok(Unpacked { config, names: image.names, manifest: image.manifest })
}

/// An image as an archive describes it: member paths.
struct Found {
    config: String,
    layers: Vec<String>,
    names: Vec<(Reference, NamedManifest)>,
    /// Of the image without a name.
    manifest: NamedManifest,
}

fn parse<T: serde::de::DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(bytes).map_err(|error| EngineError::Archive(format!("{path}: {error}")))
}

fn docker_images(manifest: &[u8]) -> Result<Vec<Found>, EngineError> {
    let images: Vec<ArchiveImage> = parse("manifest.json", manifest)?;
    let mut found = Vec::new();
    for image in images {
        let names = image.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| Ok((reference(name)?, NamedManifest::Any)));
        let names = names.collect::<Result<_, EngineError>>()?;
        let layers = image.layers.unwrap_or_default();
        found.push(Found { config: image.config, layers, names, manifest: NamedManifest::Any });
    }
    Ok(found)
}

/// Docker's list knows no annotations. An archive that is an OCI layout as well has them in the manifests there; one whose
/// layout cannot be read is what the list says all the same.
fn annotate(members: &Members, images: &mut [Found]) {
    let Some(Ok(index)) = members.optional("index.json").map(|index| parse("index.json", index)) else {
        return;
    };
    for told in oci_images(members, &index).unwrap_or_default() {
        let Some(image) = images.iter_mut().find(|image| image.config == told.config) else { continue };
        image.manifest = told.manifest;
        for (name, manifest) in told.names {
            let named = image.names.iter_mut().filter(|(own, _)| *own == name);
            named.for_each(|(_, own)| own.clone_from(&manifest));
        }
    }
}

fn reference(name: &str) -> Result<Reference, EngineError> {
    crate::image::parse_reference("the archive's image name ", name)
}

/// Images of an OCI layout. Of an index of several platforms, this machine's is taken.
fn oci_images(members: &Members, index: &Index) -> Result<Vec<Found>, EngineError> {
    let mut found: Vec<Found> = Vec::new();
    for descriptor in &index.manifests {
        if descriptor.annotations.contains_key("vnd.docker.reference.type") {
            continue;
        }
        let Some(manifest) = image_manifest(members, descriptor, 0)? else { continue };
        let config = members.blob(&manifest.config)?;
        let name = descriptor.annotations.get(IMAGE_NAME).or_else(|| {
            // skopeo and podman put a full name here; the OCI spec only asks for a tag, which names nothing.
            descriptor.annotations.get(REF_NAME).filter(|name| name.contains([':', '/']))
        });
        let annotated = NamedManifest::Annotated(manifest.annotations.clone());
        let name =
            name.map(|name| Ok::<_, EngineError>((reference(name)?, annotated.clone()))).transpose()?;
        let layers: Vec<String> =
            manifest.layers.iter().map(|layer| members.blob(layer)).collect::<Result<_, _>>()?;
        match found.iter_mut().find(|image| image.config == config && image.layers == layers) {
            Some(image) => image.names.extend(name),
            None => {
                let names = name.into_iter().collect();
                found.push(Found { config, layers, names, manifest: annotated });
            }
        }
    }
    Ok(found)
}

fn image_manifest(
    members: &Members,
    descriptor: &Descriptor,
    depth: usize,
) -> Result<Option<Manifest>, EngineError> {
    let path = members.blob(descriptor)?;
    let bytes = members.document(&path)?;
    let is_index = descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list");
    if !is_index {
        return Ok(Some(parse(&path, bytes)?));
    }
    if depth == MAX_INDEXES {
        return Err(EngineError::Archive(format!("{path}: indexes are nested too deep")));
    }
    let index: Index = parse(&path, bytes)?;
    let host = Platform::host();
    let real = |entry: &&Descriptor| !entry.annotations.contains_key("vnd.docker.reference.type");
    let fits = |entry: &&Descriptor| {
        entry.platform.as_ref().is_some_and(|p| p.os == host.os && p.architecture == host.architecture)
    };
    let chosen = index.manifests.iter().filter(real).find(fits).or_else(|| index.manifests.iter().find(real));
    chosen.map_or(Ok(None), |entry| image_manifest(members, entry, depth + 1))
}
