//! The forms in which a layer may be on a registry already.
use strata_layer::compression::{Compression, Recipe};
use strata_oci::{Descriptor, DiffId, Digest, media_type};
use strata_store::{Blobs, RemoteBlob, StoreError};

/// So many forms of one layer are asked for before it is sent: each costs a request.
const ASKED: usize = 4;

/// A compressed form of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: &'static str,
    /// Repositories, by their full names, that were seen to hold it.
    pub(super) repositories: Vec<String>,
}

impl Form {
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type, self.digest, self.size)
    }
}

/// OCI's name of what a recipe makes.
pub(crate) fn media_type_of(recipe: Recipe) -> &'static str {
    match recipe.compression() {
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    }
}

/// OCI's name of a layer's type, whoever named it; `None` for layers that are not for distribution.
pub(crate) fn oci_type(name: &str) -> Option<&'static str> {
    match name {
        media_type::OCI_LAYER | "application/vnd.docker.image.rootfs.diff.tar" => Some(media_type::OCI_LAYER),
        media_type::OCI_LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => Some(media_type::OCI_LAYER_GZIP),
        media_type::OCI_LAYER_ZSTD | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            Some(media_type::OCI_LAYER_ZSTD)
        }
        _ => None,
    }
}

/// Whether a layer of this type may be put on any registry.
pub(super) fn is_for_all(media_type: &str) -> bool {
    oci_type(media_type).is_some()
}

/// The forms of a layer worth asking `host` for: what the recipe makes of it, then (unless the recipe is demanded) every
/// other that some repository there holds. Those of `repository` itself come first.
pub(super) fn forms(
    blobs: &Blobs,
    layer: &DiffId,
    recipe: Recipe,
    demanded: bool,
    repository: &str,
) -> Result<Vec<Form>, StoreError> {
    let host = self::host(repository);
    let mut forms: Vec<Form> = Vec::new();
    if let Some((digest, size)) = blobs.compressed(layer, &recipe.to_string())? {
        forms.push(Form { digest, size, media_type: media_type_of(recipe), repositories: Vec::new() });
    }
    let mut remotes = blobs.remotes(layer)?;
    remotes.retain(|remote| self::host(&remote.repository) == host);
    remotes.sort_by_key(|remote| remote.repository != repository);
    for RemoteBlob { digest, length, media_type, repository } in remotes {
        if let Some(form) = forms.iter_mut().find(|form| form.digest == digest) {
            form.repositories.push(repository);
        } else if let Some(media_type) = oci_type(&media_type).filter(|_| !demanded) {
            forms.push(Form { digest, size: length, media_type, repositories: vec![repository] });
        }
    }
    forms.truncate(ASKED);
    Ok(forms)
}

/// The registry of a full repository name.
pub(super) fn host(repository: &str) -> &str {
    repository.split_once('/').map_or("", |(host, _)| host)
}

/// Repositories that were seen to hold these very bytes, wherever they are.
pub(super) fn holders(blobs: &Blobs, layer: &DiffId, digest: &Digest) -> Result<Vec<String>, StoreError> {
    let remotes = blobs.remotes(layer)?.into_iter().filter(|remote| remote.digest == *digest);
    Ok(remotes.map(|remote| remote.repository).filter(|name| !name.is_empty()).collect())
}
