//! Reading blobs: a stream that survives cuts.
use crate::endpoint::{At, Call, Endpoint};
use crate::error::answer::Subject;
use crate::registries::about;
use crate::scope::Scopes;
use crate::{Access, Error, Registries, Repository};
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use strata_http::{Body, Redirects, Response, Url};
use strata_oci::Digest;

/// After this many bytes since the last cut a lost connection is simply made anew, without a pause.
const GOOD_RUN: u64 = 1 << 20;

/// The bytes of a blob from some offset to its declared size.
///
/// A connection that breaks is made anew from where it broke; a body that is shorter or longer than declared is an
/// error. The digest is the reader's to check. Errors of `read` hold an [`Error`], see [`Error::from_read`].
pub struct Blob {
    registries: Registries,
    endpoint: Arc<Endpoint>,
    repository: Repository,
    digest: Digest,
    size: u64,
    position: u64,
    /// Elsewhere, for layers that registries do not hold.
    url: Option<Url>,
    body: Option<Body>,
    /// Cuts since the last byte that came.
    failures: u32,
    /// Where the connection in use began.
    began: u64,
    finished: bool,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blob {}@{} at {} of {}", self.repository, self.digest, self.position, self.size)
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

    fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        offset: u64,
        url: Option<Url>,
    ) -> Result<Blob, Error> {
        let mut blob = Blob {
            registries: self.clone(),
            endpoint: endpoint.clone(),
            repository: repository.clone(),
            digest: *digest,
            size,
            position: offset.min(size),
            url,
            body: None,
            failures: 0,
            began: offset,
            finished: false,
        };
        if blob.position < size {
            blob.connect()?;
        }
        Ok(blob)
    }
}

impl Blob {
    /// Bytes from the blob's start that have been read or were skipped by the offset.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn subject(&self) -> Subject<'_> {
        Subject::Blob(&self.repository, &self.digest, Access::Pull)
    }

    /// Asks for what is missing.
    fn connect(&mut self) -> Result<(), Error> {
        let response = self.request(self.position)?;
        let first = match response.status() {
            206 => self.first_of_range(&response)?,
            200 => {
                self.check_length(response.content_length())?;
                0
            }
            // Not a machine that knows ranges after all: take everything.
            416 if self.position > 0 => {
                let whole = self.request(0)?;
                if whole.status() != 200 {
                    return Err(self.endpoint.refusal(whole, self.subject()));
                }
                self.check_length(whole.content_length())?;
                self.body = Some(whole.into_body());
                return self.skip(self.position);
            }
            _ => return Err(self.endpoint.refusal(response, self.subject())),
        };
        self.began = self.position;
        self.body = Some(response.into_body());
        self.skip(self.position - first)
    }

    fn request(&self, from: u64) -> Result<Response, Error> {
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
        if from > 0 {
            call.headers.push(("Range", format!("bytes={from}-")));
        }
        let response = self.endpoint.send(&call)?;
        match response.status() {
            200 | 206 | 416 => Ok(response),
            _ => Err(self.endpoint.refusal(response, subject)),
        }
    }

    /// Where a partial answer starts: where it was asked to, or before that.
    fn first_of_range(&self, response: &Response) -> Result<u64, Error> {
        let malformed = |why: String| Error::Malformed { subject: self.subject().to_string(), why };
        let Some((first, _, total)) = response.content_range() else {
            return Err(malformed("status 206 without a Content-Range that can be read".to_owned()));
        };
        if first > self.position {
            return Err(malformed(format!("asked for byte {}, got those from {first} on", self.position)));
        }
        self.check_length(total)?;
        Ok(first)
    }

    fn check_length(&self, length: Option<u64>) -> Result<(), Error> {
        match length {
            Some(length) if length != self.size => Err(self.wrong_size(length.to_string())),
            _ => Ok(()),
        }
    }

    fn wrong_size(&self, found: String) -> Error {
        Error::SizeMismatch { subject: self.subject().to_string(), expected: self.size, found }
    }

    /// Reads over bytes that are here already. A cut meanwhile is found by the next read.
    fn skip(&mut self, bytes: u64) -> Result<(), Error> {
        let Some(body) = self.body.as_mut().filter(|_| bytes > 0) else { return Ok(()) };
        if !io::copy(&mut body.take(bytes), &mut io::sink()).is_ok_and(|skipped| skipped == bytes) {
            self.body = None;
        }
        Ok(())
    }

    /// After a cut: pauses and connects again, or gives up.
    fn resume(&mut self, cause: Option<strata_http::Error>) -> Result<(), Error> {
        self.body = None;
        self.failures += 1;
        let tries = self.failures;
        let pause = self.endpoint.pause(tries, None);
        let hopeless = cause.as_ref().is_some_and(|cause| !self.endpoint.may_come_back(cause));
        let Some(pause) = pause.filter(|_| !hopeless) else {
            return Err(match cause {
                Some(cause) => self.endpoint.transport(self.subject(), cause, tries),
                None => self.wrong_size(self.position.to_string()),
            });
        };
        if self.position - self.began < GOOD_RUN {
            self.endpoint.sleep(pause);
        }
        self.connect()
    }

    /// A mirror that gives up in the middle is followed by the registry itself.
    fn resume_or_move(&mut self, cause: Option<strata_http::Error>) -> Result<(), Error> {
        let Err(error) = self.resume(cause) else { return Ok(()) };
        let own = self.registries.endpoint(self.repository.host())?;
        if self.url.is_some() || Arc::ptr_eq(&own, &self.endpoint) {
            return Err(error);
        }
        self.endpoint = own;
        self.failures = 0;
        self.connect()
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.position == self.size {
            return self.finish().map(|()| 0);
        }
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        loop {
            let outcome = match &mut self.body {
                Some(body) => body.read(&mut buffer[..most]),
                None => Ok(0),
            };
            match outcome {
                Ok(0) => self.resume_or_move(None)?,
                Ok(count) => {
                    self.position += count as u64;
                    self.failures = 0;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let cause = error.downcast::<strata_http::Error>().ok();
                    self.resume_or_move(cause)?;
                }
            }
        }
    }

    /// There must be nothing behind the last byte. What breaks there breaks nothing.
    fn finish(&mut self) -> Result<(), Error> {
        if self.finished {
            return Ok(());
        }
        self.finished = true;
        match self.body.take().map(|mut body| body.read(&mut [0])) {
            Some(Ok(1..)) => Err(self.wrong_size("more".to_owned())),
            _ => Ok(()),
        }
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.fill(buffer).map_err(Error::into_io)
    }
}
