//! How the images of an archive are written: compression of the layers, media types, annotations.
use super::{CREATED, IMAGE_NAME, REF_NAME};
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Seek;
use strata_layer::compression::{Blocks, Compression, Crew, Recipe};
use strata_oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest, Raw, Reference, media_type};

/// More threads than this wait for the disk.
const THREADS: usize = 16;

/// What can be chosen about an archive. The default is what `save` writes: layers as they are, OCI's media types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveForm {
    /// `compression=` and `compression-level=`; `None` writes layers as they are stored, uncompressed.
    pub recipe: Option<Recipe>,
    /// `oci-mediatypes=false`: Docker's media types, which have no annotations.
    pub docker_types: bool,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of its entry in the index.
    pub descriptor_annotations: BTreeMap<String, String>,
    /// Date in the index.
    pub created: Option<Timestamp>,
}

impl ArchiveForm {
    /// The recipe, if it makes anything smaller.
    pub(super) fn compresses(&self) -> Option<Recipe> {
        self.recipe.filter(Recipe::compresses)
    }

    fn layer_type(&self) -> &'static str {
        match (self.docker_types, self.recipe.map(|recipe| recipe.compression())) {
            (false, Some(Compression::Gzip)) => media_type::OCI_LAYER_GZIP,
            (false, Some(Compression::Zstd)) => media_type::OCI_LAYER_ZSTD,
            (false, _) => media_type::OCI_LAYER,
            (true, Some(Compression::Gzip)) => media_type::DOCKER_LAYER_GZIP,
            (true, Some(Compression::Zstd)) => media_type::DOCKER_LAYER_ZSTD,
            (true, _) => media_type::DOCKER_LAYER,
        }
    }

    fn manifest_type(&self) -> &'static str {
        if self.docker_types { media_type::DOCKER_MANIFEST } else { media_type::OCI_MANIFEST }
    }
}

/// An image with the names it is saved under.
pub(super) struct Saved {
    pub(super) config: Raw<ImageConfig>,
    pub(super) names: Vec<Reference>,
    /// Of its manifest, beside those of the form.
    pub(super) annotations: BTreeMap<String, String>,
}

/// A layer as it stands in an archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) length: u64,
}

impl Engine {
    /// A layer as the form wants it, and the file that holds it.
    pub(super) fn layer_blob(&self, layer: &DiffId, form: &ArchiveForm) -> Result<(Blob, File), EngineError> {
        let tar = self.store().layers().open_tar(layer)?;
        let length = tar.metadata()?.len();
        let Some(recipe) = form.compresses() else {
            return Ok((Blob { digest: *layer.digest(), length }, tar.into_file()));
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let blocks = Blocks::new(recipe, tar.into_file(), length, &Crew::new(threads));
        let mut file = crate::build::nameless_file(self.store().root())?;
        std::io::copy(&mut blocks.read_from(0)?, &mut file)?;
        file.rewind()?;
        let (digest, length) = blocks.finished().expect("it was read to its end");
        Ok((Blob { digest, length }, file))
    }
}

pub(super) fn manifest(image: &Saved, blobs: &HashMap<DiffId, Blob>, form: &ArchiveForm) -> Manifest {
    let descriptor = |kind: &str, digest: &Digest, size: u64| Descriptor::new(kind, *digest, size);
    let config = if form.docker_types { media_type::DOCKER_CONFIG } else { media_type::OCI_CONFIG };
    let layers = image.config.value().rootfs.diff_ids.iter().filter_map(|layer| blobs.get(layer));
    Manifest {
        schema_version: 2,
        media_type: Some(form.manifest_type().to_owned()),
        config: descriptor(config, image.config.digest(), image.config.bytes().len() as u64),
        layers: layers.map(|blob| descriptor(form.layer_type(), &blob.digest, blob.length)).collect(),
        annotations: match form.docker_types {
            true => BTreeMap::new(),
            false => image
                .annotations
                .iter()
                .chain(&form.annotations)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        },
    }
}

/// One entry of `index.json` per name, or one without a name.
pub(super) fn descriptors(image: &Saved, manifest: &Raw<Manifest>, form: &ArchiveForm) -> Vec<Descriptor> {
    let mut annotations = form.descriptor_annotations.clone();
    annotations.extend(form.created.map(|created| (CREATED.to_owned(), created.to_string())));
    let plain = Descriptor {
        platform: Some(image.config.value().platform.clone()),
        annotations,
        ..Descriptor::new(form.manifest_type(), *manifest.digest(), manifest.bytes().len() as u64)
    };
    if image.names.is_empty() {
        return vec![plain];
    }
    let named = |name: &Reference| {
        let mut named = plain.clone();
        named.annotations.insert(IMAGE_NAME.to_owned(), name.to_string());
        named.annotations.insert(REF_NAME.to_owned(), name.tag().unwrap_or("latest").to_owned());
        named
    };
    image.names.iter().map(named).collect()
}
