//! Reading blobs: a stream that survives cuts.
use crate::endpoint::{At, Call, Endpoint};
use crate::error::answer::Subject;
use crate::registries::about;
use crate::scope::Scopes;
use crate::{Access, Error, Registries, Repository};
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use strata_http::{Misfit, Origin, Redirects, Response, Resumed, Url};
use strata_oci::Digest;

/// The bytes of a blob from some offset to its declared size.
///
/// A connection that breaks is made anew from where it broke; a body that is shorter or longer than declared is an
/// error. The digest is the reader's to check. Errors of `read` hold an [`Error`], see [`Error::from_read`].
pub struct Blob(Resumed<Held>);

/// Who has a blob.
struct Held {
    registries: Registries,
    endpoint: Arc<Endpoint>,
    repository: Repository,
    digest: Digest,
    size: u64,
    /// Elsewhere, for layers that registries do not hold.
    url: Option<Url>,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.0.origin();
        write!(f, "blob {}@{} {:?}", held.repository, held.digest, self.0)
    }
}

impl Registries {
    /// A blob's bytes from `offset` on; `size` is what its descriptor says.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], [`Error::SizeMismatch`] where the registry already says that it is longer or shorter.
    pub fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<Blob, Error> {
        self.read(repository, |endpoint| self.open(endpoint, repository, digest, size, offset, None))
    }

    /// Whether the repository has the blob.
    pub fn blob_exists(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        let endpoint = self.endpoint(repository.host())?;
        // A push asks; with one scope for all it does, there is one token for all it does.
        let subject = Subject::Blob(repository, digest, Access::Push);
        let call = about("HEAD", repository, format!("blobs/{digest}"), subject, Access::Push);
        let response = endpoint.send(&call)?;
        match response.status() {
            404 => Ok(false),
            200..=299 => Ok(true),
            _ => Err(endpoint.refusal(response, subject)),
        }
    }

    /// The length of a blob, for whoever has only its digest.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`]; [`Error::Malformed`] when the registry does not tell the length.
    pub fn blob_size(&self, repository: &Repository, digest: &Digest) -> Result<u64, Error> {
        let subject = Subject::Blob(repository, digest, Access::Pull);
        self.read(repository, |endpoint| {
            let call = about("HEAD", repository, format!("blobs/{digest}"), subject, Access::Pull);
            let why = || "the registry does not tell its length".to_owned();
            let length = endpoint.expect(&call)?.content_length();
            length.ok_or_else(|| Error::Malformed { subject: subject.to_string(), why: why() })
        })
    }

    pub(crate) fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        offset: u64,
        url: Option<Url>,
    ) -> Result<Blob, Error> {
        let held = Held {
            registries: self.clone(),
            endpoint: endpoint.clone(),
            repository: repository.clone(),
            digest: *digest,
            size,
            url,
        };
        Resumed::open(held, size, offset).map(Blob)
    }
}

impl Blob {
    /// Bytes from the blob's start that have been read or were skipped by the offset.
    pub fn position(&self) -> u64 {
        self.0.position()
    }
}

impl Held {
    fn subject(&self) -> Subject<'_> {
        Subject::Blob(&self.repository, &self.digest, Access::Pull)
    }
}

impl Origin for Held {
    type Error = Error;

    fn connect(&mut self, position: u64) -> Result<Option<Response>, Error> {
        let subject = self.subject();
        let mut call = match &self.url {
            None => about("GET", &self.repository, format!("blobs/{}", self.digest), subject, Access::Pull),
            Some(url) => Call {
                method: "GET",
                at: At::Url(url.clone()),
                headers: Vec::new(),
                bytes: None,
                redirects: Redirects::Follow(10),
                subject,
                repository: None,
                scopes: Scopes::none(),
            },
        };
        if position > 0 {
            call.headers.push(("Range", format!("bytes={position}-")));
        }
        let response = self.endpoint.send(&call)?;
        match response.status() {
            200 | 206 => Ok(Some(response)),
            416 if position > 0 => Ok(None),
            _ => Err(self.endpoint.refusal(response, subject)),
        }
    }

    fn pause(&self, failures: u32, cause: Option<&strata_http::Error>) -> Option<Duration> {
        let hopeless = cause.is_some_and(|cause| !self.endpoint.may_come_back(cause));
        self.endpoint.pause(failures, None).filter(|_| !hopeless)
    }

    fn wait(&self, pause: Duration) {
        self.endpoint.sleep(pause);
    }

    fn broken(&self, cause: strata_http::Error, tries: u32) -> Error {
        self.endpoint.transport(self.subject(), cause, tries)
    }

    fn misfit(&self, misfit: Misfit) -> Error {
        let subject = self.subject().to_string();
        match misfit {
            Misfit::Size(found) => Error::SizeMismatch { subject, expected: self.size, found },
            Misfit::Answer(why) => Error::Malformed { subject, why },
        }
    }

    /// A mirror that gives up in the middle is followed by the registry itself.
    fn turn_elsewhere(&mut self, error: Error) -> Result<(), Error> {
        let own = self.registries.endpoint(self.repository.host())?;
        if self.url.is_some() || Arc::ptr_eq(&own, &self.endpoint) {
            return Err(error);
        }
        self.endpoint = own;
        Ok(())
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
