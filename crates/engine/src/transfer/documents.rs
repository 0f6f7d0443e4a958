//! The documents of an image that is not here: index, manifest and config, fetched and checked.
use super::choose::{available, choose};
use super::{Progress, TransferError, TransferEvents};
use crate::EngineError;
use serde::Deserialize;
use std::io::Read;
use strata_oci::{Descriptor, Digest, ImageConfig, ImageId, Index, Platform, Raw, media_type};
use strata_registry::{Kind, Registries, Repository, Resolved, Target};
use strata_store::{BlobKind, Lease, Origin, Store};

/// The longest config that is read.
const CONFIG_LIMIT: u64 = 16 << 20;

/// A manifest with what [`strata_oci::Manifest`] leaves out.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ImageManifest {
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

/// An image on a registry, or wherever else it was found. Its layers are known, none is here for that.
#[derive(Clone, Debug)]
pub(crate) struct FoundImage {
    /// Where it is, if that is a registry.
    repository: Option<Repository>,
    /// What the name points at.
    pub(crate) digest: Digest,
    /// The index, if the name points at one.
    index: Option<Resolved>,
    manifest_bytes: Resolved,
    pub(super) manifest: ImageManifest,
    pub(crate) config: Raw<ImageConfig>,
}

impl FoundImage {
    pub(crate) fn id(&self) -> ImageId {
        ImageId::new(*self.config.digest())
    }

    /// Its layers, bottom first.
    pub(crate) fn layers(&self) -> &[Descriptor] {
        &self.manifest.layers
    }

    /// An image whose manifest, or index and manifest, came from somewhere: `config` opens the config.
    pub(crate) fn of(
        subject: &str,
        repository: Option<Repository>,
        index: Option<Resolved>,
        manifest_bytes: Resolved,
        config: impl FnOnce(&Descriptor) -> Result<Box<dyn Read>, EngineError>,
    ) -> Result<Self, EngineError> {
        let manifest = parse_manifest(subject, &manifest_bytes.bytes)?;
        let config = read_config(subject, &manifest, config)?;
        let digest = index.as_ref().unwrap_or(&manifest_bytes).digest;
        Ok(Self { repository, digest, index, manifest_bytes, manifest, config })
    }

    /// Puts index and manifest into the store, kept by the lease.
    pub(super) fn keep_documents(&self, store: &Store, lease: &Lease) -> Result<(), EngineError> {
        for document in self.index.iter().chain([&self.manifest_bytes]) {
            put(store, lease, BlobKind::Manifest, &document.digest, &document.bytes)?;
        }
        Ok(())
    }

    /// The manifest that makes it.
    pub(super) fn manifest_digest(&self) -> Digest {
        self.manifest_bytes.digest
    }

    /// As a repository holds it; `None` of an image that is in none. Its documents have to be kept first.
    pub(super) fn origin(&self) -> Option<Origin> {
        let repository = self.repository.as_ref()?.to_string();
        Some(Origin { repository, digest: self.digest, manifest: self.manifest_bytes.digest })
    }

    /// Puts the config into the store, kept by the lease.
    pub(super) fn keep_config(&self, store: &Store, lease: &Lease) -> Result<(), EngineError> {
        put(store, lease, BlobKind::Config, self.config.digest(), self.config.bytes())
    }

    /// As the store remembers it: no registry is asked.
    pub(super) fn remembered(
        store: &Store,
        repository: Repository,
        resolved: &strata_store::Resolved,
    ) -> Result<Self, EngineError> {
        let bytes = store.blobs().get(&resolved.manifest)?;
        let config = store.blobs().get(resolved.image.digest())?;
        let subject = format!("{repository}@{}", resolved.manifest);
        let manifest = parse_manifest(&subject, &bytes)?;
        let config = parse_config(&subject, config, &manifest)?;
        let manifest_bytes =
            Resolved { digest: resolved.manifest, media_type: String::new(), kind: Kind::Manifest, bytes };
        let (repository, digest) = (Some(repository), resolved.digest);
        Ok(Self { repository, digest, index: None, manifest_bytes, manifest, config })
    }
}

fn put(
    store: &Store,
    lease: &Lease,
    kind: BlobKind,
    digest: &Digest,
    bytes: &[u8],
) -> Result<(), EngineError> {
    store.blobs().put(lease, kind, Some(digest), bytes.len() as u64, &mut &bytes[..])?;
    Ok(())
}

/// Finds an image on a registry. Of an index the platform's part is taken, the host's if none was asked for; an image that
/// is not in an index is taken as it is, with a warning if it is for another platform.
pub(super) fn find(
    registries: &Registries,
    repository: &Repository,
    target: &Target,
    platform: Option<&Platform>,
    events: &TransferEvents<'_>,
) -> Result<FoundImage, EngineError> {
    let found = registries.manifest(repository, target)?;
    let subject = match target {
        Target::Tag(tag) => format!("{repository}:{tag}"),
        Target::Digest(digest) => format!("{repository}@{digest}"),
    };
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    let (index, manifest_bytes) = match found.kind {
        Kind::Manifest => (None, found),
        Kind::Index => {
            let part = part_of(registries, repository, &subject, &found, &wanted)?;
            (Some(found), part)
        }
    };
    let config = |config: &Descriptor| -> Result<Box<dyn Read>, EngineError> {
        Ok(Box::new(registries.blob(repository, &config.digest, config.size, 0)?))
    };
    let image = FoundImage::of(&subject, Some(repository.clone()), index, manifest_bytes, config)?;
    let actual = &image.config.value().platform;
    if image.index.is_none() && wanted.suits(actual).is_none() {
        let warning = format!("image platform ({actual}) does not match the expected platform ({wanted})");
        events(Progress::Warning(&warning));
    }
    Ok(image)
}

fn part_of(
    registries: &Registries,
    repository: &Repository,
    subject: &str,
    index: &Resolved,
    wanted: &Platform,
) -> Result<Resolved, EngineError> {
    let parsed: Index = serde_json::from_slice(&index.bytes)
        .map_err(|error| not_an_image(subject, format!("its index cannot be read: {error}")))?;
    let Some(entry) = choose(&parsed, wanted) else {
        return Err(TransferError::NoPlatform {
            reference: subject.to_owned(),
            platform: wanted.to_string(),
            available: available(&parsed),
        }
        .into());
    };
    let part = registries.manifest(repository, &Target::Digest(entry.digest))?;
    match part.kind {
        Kind::Manifest => Ok(part),
        Kind::Index => Err(not_an_image(subject, format!("{} is an index within an index", part.digest))),
    }
}

fn not_an_image(subject: &str, what: String) -> EngineError {
    TransferError::NotAnImage { reference: subject.to_owned(), what }.into()
}

pub(super) fn parse_manifest(subject: &str, bytes: &[u8]) -> Result<ImageManifest, EngineError> {
    let manifest: ImageManifest = serde_json::from_slice(bytes)
        .map_err(|error| not_an_image(subject, format!("its manifest cannot be read: {error}")))?;
    match manifest.config.media_type.as_str() {
        // Old registries said nothing better of configs.
        media_type::OCI_CONFIG
        | media_type::DOCKER_CONFIG
        | "application/octet-stream"
        | "application/json" => Ok(manifest),
        other => Err(not_an_image(subject, format!("its config is of type {other:?}"))),
    }
}

fn read_config(
    subject: &str,
    manifest: &ImageManifest,
    open: impl FnOnce(&Descriptor) -> Result<Box<dyn Read>, EngineError>,
) -> Result<Raw<ImageConfig>, EngineError> {
    let Descriptor { digest, size, .. } = manifest.config;
    if size > CONFIG_LIMIT {
        return Err(not_an_image(
            subject,
            format!("its config has {size} bytes; at most {CONFIG_LIMIT} are read"),
        ));
    }
    let mut bytes = Vec::new();
    open(&manifest.config)?.take(size + 1).read_to_end(&mut bytes).map_err(registry_error)?;
    let found = Digest::of(&bytes);
    if found != digest {
        let repository = subject.to_owned();
        return Err(TransferError::WrongDigest { repository, expected: digest, found }.into());
    }
    parse_config(subject, bytes, manifest)
}

fn parse_config(
    subject: &str,
    bytes: Vec<u8>,
    manifest: &ImageManifest,
) -> Result<Raw<ImageConfig>, EngineError> {
    let config: Raw<ImageConfig> = Raw::parse(bytes)
        .map_err(|error| not_an_image(subject, format!("its config cannot be read: {error}")))?;
    let (layers, named) = (manifest.layers.len(), config.value().rootfs.diff_ids.len());
    if layers != named {
        return Err(not_an_image(
            subject,
            format!("its manifest has {layers} layers, but its config names {named}"),
        ));
    }
    Ok(config)
}

/// An error of reading a blob, as the registry's own where it is one.
pub(crate) fn registry_error(error: std::io::Error) -> EngineError {
    match strata_registry::Error::from_read(error) {
        Ok(error) => error.into(),
        Err(error) => error.into(),
    }
}
