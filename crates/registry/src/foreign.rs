//! Layers that registries need not hold, because their makers hand them out themselves ("foreign", "non-distributable"):
//! their descriptors say where they are.
use crate::{Blob, Error, Registries, Repository};
use strata_http::Url;
use strata_oci::{Descriptor, Digest};

impl Registries {
    /// A layer's bytes from `offset` on: from the repository or, where that has not got it, from the first place that the
    /// descriptor names and that has it.
    ///
    /// # Errors
    /// As [`Registries::blob`]; of several places the first one's.
    pub fn layer(&self, repository: &Repository, layer: &Descriptor, offset: u64) -> Result<Blob, Error> {
        match self.blob(repository, &layer.digest, layer.size, offset) {
            Err(error) if error.is_not_found() => {
                self.foreign_layer(repository, layer, offset).unwrap_or(Err(error))
            }
            found => found,
        }
    }

    /// A layer from the first place that its descriptor names and that has it. `None` for a layer that names no such place.
    pub fn foreign_layer(
        &self,
        repository: &Repository,
        layer: &Descriptor,
        offset: u64,
    ) -> Option<Result<Blob, Error>> {
        let mut first = None;
        for url in &layer.urls {
            match self.foreign_blob(repository, url, &layer.digest, layer.size, offset) {
                Ok(blob) => return Some(Ok(blob)),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        first.map(Err)
    }

    /// A layer that is not on the registry but at a URL in its descriptor ("foreign", "non-distributable"). No
    /// credentials are sent there.
    ///
    /// # Errors
    /// As [`Registries::blob`].
    pub fn foreign_blob(
        &self,
        repository: &Repository,
        url: &str,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<Blob, Error> {
        let bad = |why| Error::Redirect {
            subject: format!("{repository}@{digest}"),
            to: crate::text::printable(url.split(['?', '#']).next().unwrap_or_default(), 200),
            why,
        };
        let parsed = Url::parse(url).map_err(|_| bad("that is no URL"))?;
        let host = parsed.host_str().filter(|_| matches!(parsed.scheme(), "http" | "https"));
        let host = host.ok_or_else(|| bad("that is neither http nor https"))?;
        let host = parsed.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let endpoint = self.stranger(&host)?;
        self.open(&endpoint, repository, digest, size, offset, Some(parsed))
    }
}
