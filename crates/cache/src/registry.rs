//! A cache in a repository of a registry: a manifest whose config is the cache config and whose layers are the blobs; or,
//! as older BuildKit wrote it, an index that lists them all.
use crate::{CONFIG_LIMIT, CONFIG_TYPE, Config, Content, Found, Place, PlaceError, Sent, inline};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{Cursor, Read};
use strata_oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Raw, Reference, media_type};
use strata_registry::{Kind, Mount, Registries, Repository, Resolved, Target};

/// How the document looks that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// `image-manifest=`: a manifest, or else an index.
    pub manifest: bool,
    /// `oci-mediatypes=`: OCI's names of types, or else Docker's.
    pub oci: bool,
}

impl Default for Form {
    fn default() -> Self {
        Self { manifest: true, oci: true }
    }
}

/// A tag, or for reading a digest, of a repository.
#[derive(Clone)]
pub struct RegistryPlace {
    registries: Registries,
    reference: Reference,
    repository: Repository,
    /// Of an index of images, the one for this platform may have a cache inside.
    platform: Platform,
    form: Form,
}

impl RegistryPlace {
    /// Nothing is asked of the registry yet.
    pub fn new(registries: Registries, reference: Reference, platform: Platform, form: Form) -> Self {
        let repository = Repository::from(&reference);
        Self { registries, reference, repository, platform, form }
    }

    fn not_a_cache(&self, why: impl Into<String>) -> PlaceError {
        PlaceError::NotACache { place: self.to_string(), why: why.into() }
    }

    /// What the document says of the cache, if it has one; of an index of images, the platform's is looked at.
    fn look_into(&self, document: &Resolved) -> Result<Found, PlaceError> {
        let unreadable = |error: serde_json::Error| self.not_a_cache(error.to_string());
        if let Some((config, blobs)) = parts(&document.bytes).map_err(unreadable)? {
            return self.with_config(&config, blobs);
        }
        if document.kind == Kind::Index {
            let index: Index = serde_json::from_slice(&document.bytes).map_err(unreadable)?;
            let suits =
                |entry: &&Descriptor| entry.platform.as_ref().and_then(|own| self.platform.suits(own));
            let entry = index.manifests.iter().filter(|entry| suits(entry).is_some()).min_by_key(suits);
            let entry = entry.ok_or_else(|| {
                self.not_a_cache(format!("it is an index without an image for {}", self.platform))
            })?;
            let image = self.registries.manifest(&self.repository, &Target::Digest(entry.digest))?;
            if image.kind == Kind::Index {
                return Err(self.not_a_cache("it is an index of indexes"));
            }
            return self.look_into(&image);
        }
        let manifest: Manifest = serde_json::from_slice(&document.bytes).map_err(unreadable)?;
        match manifest.config.media_type.as_str() {
            media_type::OCI_CONFIG | media_type::DOCKER_CONFIG => self.inside(&manifest),
            other => Err(self.not_a_cache(format!("its config is of type {other:?}"))),
        }
    }

    fn with_config(&self, config: &Descriptor, blobs: Vec<Descriptor>) -> Result<Found, PlaceError> {
        let bytes = self.document("cache config", config)?;
        let config =
            Config::parse(&bytes).map_err(|source| PlaceError::Config { place: self.to_string(), source })?;
        let blobs = blobs.into_iter().map(|blob| (blob.digest, blob)).collect();
        Ok(Found { config, blobs, in_image: false })
    }

    /// The cache that an image carries in its own config.
    fn inside(&self, manifest: &Manifest) -> Result<Found, PlaceError> {
        let bytes = self.document("image config", &manifest.config)?;
        let image: Raw<ImageConfig> =
            Raw::parse(bytes).map_err(|error| self.not_a_cache(format!("its image config: {error}")))?;
        let own = &image.value().platform;
        if self.platform.suits(own).is_none() {
            return Err(self.not_a_cache(format!("it is an image for {own}, not for {}", self.platform)));
        }
        inline::read(image.value(), &manifest.layers)
            .map_err(|source| PlaceError::Config { place: self.to_string(), source })?
            .ok_or_else(|| PlaceError::PlainImage { place: self.to_string() })
    }

    /// A small blob, whole and checked.
    fn document(&self, what: &'static str, blob: &Descriptor) -> Result<Vec<u8>, PlaceError> {
        if blob.size > CONFIG_LIMIT {
            return Err(self.not_a_cache(format!(
                "its {what} has {} bytes; at most {CONFIG_LIMIT} are read",
                blob.size
            )));
        }
        let mut bytes = Vec::new();
        let mut reader = self.registries.blob(&self.repository, &blob.digest, blob.size, 0)?;
        reader.read_to_end(&mut bytes).map_err(|error| match strata_registry::Error::from_read(error) {
            Ok(error) => PlaceError::from(error),
            Err(error) => error.into(),
        })?;
        let found = Digest::of(&bytes);
        if found != blob.digest {
            let (place, expected) = (self.to_string(), blob.digest);
            return Err(PlaceError::WrongDigest { place, what, expected, found });
        }
        Ok(bytes)
    }

    fn send(&self, digest: &Digest, bytes: &[u8]) -> Result<(), PlaceError> {
        if self.registries.blob_exists(&self.repository, digest)? {
            return Ok(());
        }
        let bytes = bytes.to_vec();
        let mut source = |offset: u64| {
            let mut reader = Cursor::new(bytes.clone());
            reader.set_position(offset);
            Ok(reader)
        };
        Ok(self.registries.upload(&self.repository, digest, bytes.len() as u64, &mut source)?)
    }
}

impl fmt::Display for RegistryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference.to_string())
    }
}

impl Place for RegistryPlace {
    fn config(&self) -> Result<Option<Found>, PlaceError> {
        match self.registries.manifest(&self.repository, &Target::of(&self.reference)) {
            Ok(document) => self.look_into(&document).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send>, PlaceError> {
        Ok(Box::new(self.registries.layer(&self.repository, blob, offset)?))
    }

    fn has(&self, blob: &Digest) -> Result<bool, PlaceError> {
        Ok(self.registries.blob_exists(&self.repository, blob)?)
    }

    fn size(&self, blob: &Digest) -> Result<Option<u64>, PlaceError> {
        match self.registries.blob_size(&self.repository, blob) {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn put(&self, content: &dyn Content) -> Result<Sent, PlaceError> {
        let own = self.repository.to_string();
        let known = content.known();
        for holder in content.holders().iter().filter(|holder| **holder != own) {
            let (Some((digest, _)), Some((host, path))) = (known, holder.split_once('/')) else { continue };
            if host == self.repository.host()
                && let Mount::Mounted = self.registries.mount(&self.repository, &digest, path)?
            {
                return Ok(Sent::Mounted(path.to_owned()));
            }
        }
        let mut source = Opened(content);
        match known {
            Some((digest, size)) => {
                self.registries.upload(&self.repository, &digest, size, &mut source)?;
            }
            None => {
                let mut digest = || content.known().map_or(*content.name(), |(digest, _)| digest);
                let repository = &self.repository;
                self.registries.upload_unsized(repository, content.name(), &mut source, &mut digest)?;
            }
        }
        Ok(Sent::Whole)
    }

    fn publish(&self, config: &Config, layers: &[Descriptor]) -> Result<(), PlaceError> {
        let bytes = config.to_bytes();
        let described = Descriptor::new(CONFIG_TYPE, Digest::of(&bytes), bytes.len() as u64);
        self.send(&described.digest, &bytes)?;
        let (kind, document) = document(self.form, described, layers);
        let target = Target::of(&self.reference);
        self.registries.put_manifest(&self.repository, &target, kind, &document)?;
        Ok(())
    }

    fn repository(&self) -> Option<&Repository> {
        Some(&self.repository)
    }
}

/// The manifest or index that stands for a cache, and its media type.
pub(crate) fn document(form: Form, config: Descriptor, layers: &[Descriptor]) -> (&'static str, Vec<u8>) {
    let (schema_version, annotations) = (2, BTreeMap::new());
    if form.manifest {
        let kind = media_type::OCI_MANIFEST;
        let layers = layers.to_vec();
        let media_type = Some(kind.to_owned());
        let manifest = Raw::new(Manifest { schema_version, media_type, config, layers, annotations });
        return (kind, manifest.bytes().to_vec());
    }
    let kind = if form.oci { media_type::OCI_INDEX } else { media_type::DOCKER_INDEX };
    let manifests = layers.iter().cloned().chain([config]).collect();
    let index = Raw::new(Index { schema_version, media_type: Some(kind.to_owned()), manifests, annotations });
    (kind, index.bytes().to_vec())
}

/// The config's descriptor and those of the blobs, as [`document`] puts them together; `None` for a document of something
/// else.
pub(crate) fn parts(document: &[u8]) -> serde_json::Result<Option<(Descriptor, Vec<Descriptor>)>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Document {
        config: Option<Descriptor>,
        layers: Vec<Descriptor>,
        manifests: Vec<Descriptor>,
    }
    let Document { config, layers, manifests } = serde_json::from_slice(document)?;
    let is_config = |entry: &Descriptor| entry.media_type == CONFIG_TYPE;
    if let Some(config) = config.filter(is_config) {
        return Ok(Some((config, layers)));
    }
    let (mut configs, blobs): (Vec<_>, Vec<_>) = manifests.into_iter().partition(is_config);
    Ok(configs.pop().map(|config| (config, blobs)))
}

/// Content as the client of registries reads it.
struct Opened<'a>(&'a dyn Content);

impl strata_registry::Source for Opened<'_> {
    fn open(&mut self, offset: u64) -> std::io::Result<Box<dyn Read + '_>> {
        self.0.open(offset)
    }
}
