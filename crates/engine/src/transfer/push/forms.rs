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

/// OCI's name of the type of a layer's bytes, whether they are for distribution or not; gzip's if nobody has a name for it.
pub(crate) fn bytes_type(name: &str) -> &'static str {
    let plain = name.replace("nondistributable.", "").replace("foreign.", "");
    oci_type(&plain).unwrap_or(media_type::OCI_LAYER_GZIP)
}

/// Whether a layer was never seen but as one that its maker hands out himself, of all the forms in which it was seen.
pub(crate) fn is_foreign(seen: &[RemoteBlob]) -> bool {
    seen.iter().any(|remote| media_type::is_nondistributable(&remote.media_type))
        && !seen.iter().any(|remote| oci_type(&remote.media_type).is_some())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_bytes() {
        for (name, bytes) in [
            ("application/vnd.oci.image.layer.nondistributable.v1.tar", media_type::OCI_LAYER),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", media_type::OCI_LAYER_GZIP),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", media_type::OCI_LAYER_ZSTD),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", media_type::OCI_LAYER_GZIP),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar", media_type::OCI_LAYER),
            (media_type::OCI_LAYER_ZSTD, media_type::OCI_LAYER_ZSTD),
            ("application/x-unheard-of", media_type::OCI_LAYER_GZIP),
        ] {
            assert_eq!(bytes_type(name), bytes, "{name}");
        }
    }
}
