//! The documents of an image on a registry: index, manifest and config, fetched and checked.
use super::choose::{available, choose};
use super::{Progress, TransferError, TransferEvents};
use crate::EngineError;
use serde::Deserialize;
use std::io::Read as _;
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

/// An image on a registry. Its layers are known, none is here for that.
#[derive(Clone, Debug)]
pub(crate) struct RemoteImage {
    pub(super) repository: Repository,
    /// What the name points at.
    pub(super) digest: Digest,
    /// The index, if the name points at one.
    index: Option<Resolved>,
    manifest_bytes: Resolved,
    pub(super) manifest: ImageManifest,
    pub(crate) config: Raw<ImageConfig>,
}

impl RemoteImage {
    pub(crate) fn id(&self) -> ImageId {
        ImageId::new(*self.config.digest())
    }

    /// Puts index and manifest into the store, kept by the lease.
    pub(super) fn keep_documents(&self, store: &Store, lease: &Lease) -> Result<Origin, EngineError> {
        for document in self.index.iter().chain([&self.manifest_bytes]) {
            put(store, lease, BlobKind::Manifest, &document.digest, &document.bytes)?;
        }
        Ok(Origin {
            repository: self.repository.to_string(),
            digest: self.digest,
            manifest: self.manifest_bytes.digest,
        })
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
        Ok(Self { repository, digest: resolved.digest, index: None, manifest_bytes, manifest, config })
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
) -> Result<RemoteImage, EngineError> {
    let found = registries.manifest(repository, target)?;
    let subject = match target {
        Target::Tag(tag) => format!("{repository}:{tag}"),
        Target::Digest(digest) => format!("{repository}@{digest}"),
    };
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    let digest = found.digest;
    let (index, manifest_bytes) = match found.kind {
        Kind::Manifest => (None, found),
        Kind::Index => {
            let part = part_of(registries, repository, &subject, &found, &wanted)?;
            (Some(found), part)
        }
    };
    let manifest = parse_manifest(&subject, &manifest_bytes.bytes)?;
    let config = fetch_config(registries, repository, &subject, &manifest)?;
    let actual = &config.value().platform;
    if index.is_none() && wanted.suits(actual).is_none() {
        let warning = format!("image platform ({actual}) does not match the expected platform ({wanted})");
        events(Progress::Warning(&warning));
    }
    Ok(RemoteImage { repository: repository.clone(), digest, index, manifest_bytes, manifest, config })
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

fn fetch_config(
    registries: &Registries,
    repository: &Repository,
    subject: &str,
    manifest: &ImageManifest,
) -> Result<Raw<ImageConfig>, EngineError> {
    let Descriptor { digest, size, .. } = manifest.config;
    if size > CONFIG_LIMIT {
        return Err(not_an_image(
            subject,
            format!("its config has {size} bytes; at most {CONFIG_LIMIT} are read"),
        ));
    }
    let mut bytes = Vec::new();
    let mut blob = registries.blob(repository, &digest, size, 0)?;
    blob.read_to_end(&mut bytes).map_err(registry_error)?;
    let found = Digest::of(&bytes);
    if found != digest {
        let repository = repository.to_string();
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
pub(super) fn registry_error(error: std::io::Error) -> EngineError {
    match strata_registry::Error::from_read(error) {
        Ok(error) => error.into(),
        Err(error) => error.into(),
    }
}
