//! A registry of one's own: what `registry serve` and `registry gc` need, and the registry that one mirrors.

pub use strata_serve::{
    CollectError, CollectOptions, Collected, Exchange, Handle, Options, ServeError, Server, collect,
};

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use strata_oci::{Descriptor, Digest};
use strata_registry::{Error, Registries, Repository, Target};
use strata_serve::{FetchedBlob, FetchedManifest, Upstream, UpstreamError};

/// A registry that could not be reached is left alone for so long: meanwhile what is here is served at once, and nobody
/// waits for connections that are not made.
const REST: Duration = Duration::from_secs(10);

/// A registry reached by the client: with its logins, certificates, proxies and retries.
struct Mirrored {
    registries: Registries,
    host: String,
    /// Until when it is left alone, and why.
    away: Mutex<Option<(SystemTime, String)>>,
}

/// The registry at `host` (`docker.io`, `localhost:5000`), to be mirrored.
pub fn upstream(registries: Registries, host: impl Into<String>) -> Arc<dyn Upstream> {
    Arc::new(Mirrored { registries, host: host.into(), away: Mutex::default() })
}

impl Mirrored {
    fn repository(&self, path: &str) -> Repository {
        Repository::new(self.host.clone(), path)
    }
}

impl Mirrored {
    /// An answer, no such thing, or no answer. A registry does not tell strangers what exists: for them that is nothing.
    fn ask<T>(
        &self,
        question: impl FnOnce(&Registries) -> Result<T, Error>,
    ) -> Result<Option<T>, UpstreamError> {
        let away = || self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let now = || self.registries.config().clock.now();
        if let Some((until, why)) = &*away()
            && now() < *until
        {
            return Err(UpstreamError(why.clone()));
        }
        match question(&self.registries) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => {
                if matches!(error, Error::Unreachable { .. } | Error::Broken { .. }) {
                    *away() = Some((now() + REST, error.to_string()));
                }
                Err(UpstreamError(error.to_string()))
            }
        }
    }
}

impl Upstream for Mirrored {
    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, UpstreamError> {
        let target = Target::Tag(tag.to_owned());
        let head = self.ask(|registries| registries.head(&self.repository(repository), &target))?;
        Ok(head.map(|descriptor| descriptor.digest))
    }

    fn manifest(&self, repository: &str, digest: &Digest) -> Result<Option<FetchedManifest>, UpstreamError> {
        let target = Target::Digest(*digest);
        let manifest = self.ask(|registries| registries.manifest(&self.repository(repository), &target))?;
        Ok(manifest
            .map(|manifest| FetchedManifest { media_type: manifest.media_type, bytes: manifest.bytes }))
    }

    fn blob_size(&self, repository: &str, digest: &Digest) -> Result<Option<u64>, UpstreamError> {
        self.ask(|registries| registries.blob_size(&self.repository(repository), digest))
    }

    fn blob(
        &self,
        repository: &str,
        digest: &Digest,
        offset: u64,
    ) -> Result<Option<FetchedBlob>, UpstreamError> {
        let Some(size) = self.blob_size(repository, digest)? else { return Ok(None) };
        let repository = self.repository(repository);
        let body = self.ask(|registries| registries.blob(&repository, digest, size, offset))?;
        Ok(body.map(|body| FetchedBlob { size, body: Box::new(body) as Box<dyn Read + Send> }))
    }

    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, UpstreamError> {
        self.ask(|registries| registries.tags(&self.repository(repository)))
    }

    fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, UpstreamError> {
        let found =
            self.ask(|registries| registries.referrers(&self.repository(repository), subject, None))?;
        Ok(found.unwrap_or_default())
    }
}
