//! A registry of one's own: what `registry serve` and `registry gc` need, and the registry that one mirrors.

pub use strata_serve::{
    CollectError, CollectOptions, Collected, Exchange, Handle, Options, ServeError, Server, collect,
};

use std::io::Read;
use std::sync::Arc;
use strata_oci::Digest;
use strata_registry::{Error, Registries, Repository, Target};
use strata_serve::{FetchedBlob, FetchedManifest, Upstream, UpstreamError};

/// A registry reached by the client: with its logins, certificates, proxies and retries.
struct Mirrored {
    registries: Registries,
    host: String,
}

/// The registry at `host` (`docker.io`, `localhost:5000`), to be mirrored.
pub fn upstream(registries: Registries, host: impl Into<String>) -> Arc<dyn Upstream> {
    Arc::new(Mirrored { registries, host: host.into() })
}

impl Mirrored {
    fn repository(&self, path: &str) -> Repository {
        Repository::new(self.host.clone(), path)
    }
}

/// An answer, no such thing, or no answer. A registry does not tell strangers what exists: for them that is nothing.
fn found<T>(result: Result<T, Error>) -> Result<Option<T>, UpstreamError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(UpstreamError(error.to_string())),
    }
}

impl Upstream for Mirrored {
    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, UpstreamError> {
        let head = self.registries.head(&self.repository(repository), &Target::Tag(tag.to_owned()));
        Ok(found(head)?.map(|descriptor| descriptor.digest))
    }

    fn manifest(&self, repository: &str, digest: &Digest) -> Result<Option<FetchedManifest>, UpstreamError> {
        let manifest = self.registries.manifest(&self.repository(repository), &Target::Digest(*digest));
        Ok(found(manifest)?
            .map(|manifest| FetchedManifest { media_type: manifest.media_type, bytes: manifest.bytes }))
    }

    fn blob_size(&self, repository: &str, digest: &Digest) -> Result<Option<u64>, UpstreamError> {
        found(self.registries.blob_size(&self.repository(repository), digest))
    }

    fn blob(
        &self,
        repository: &str,
        digest: &Digest,
        offset: u64,
    ) -> Result<Option<FetchedBlob>, UpstreamError> {
        let Some(size) = self.blob_size(repository, digest)? else { return Ok(None) };
        let body = found(self.registries.blob(&self.repository(repository), digest, size, offset))?;
        Ok(body.map(|body| FetchedBlob { size, body: Box::new(body) as Box<dyn Read + Send> }))
    }

    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, UpstreamError> {
        found(self.registries.tags(&self.repository(repository)))
    }
}
