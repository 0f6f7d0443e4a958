//! Uploads: mounted from another repository, sent in one piece, and taken up again where a cut left them (OCI
//! distribution specification, "Pushing blobs").

mod source;
mod unsized_blob;

use crate::endpoint::{At, Call, Endpoint, Streamed};
use crate::error::answer::Subject;
use crate::registries::about;
use crate::scope::Scopes;
use crate::{Access, Error, Registries, Repository};
use source::Counted;
pub use source::Source;
use std::sync::Arc;
use strata_http::{Redirects, Response, Url};
use strata_oci::Digest;

/// Pieces of this size are sent to whoever refuses a blob in one; unless the registry wants larger ones.
const PIECE: u64 = 16 << 20;

/// A request with a body is sent after so many redirects and no more.
const REDIRECTS: usize = 10;

/// What became of a request to mount a blob.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one lives for a moment, and is taken apart")]
pub enum Mount {
    /// The repository has it now, and no byte was sent.
    Mounted,
    /// The registry did not find it there, or does not mount. The upload it began instead can be used.
    Refused(Box<Upload>),
}

/// An upload that a registry has begun for us. Nothing of it is visible before it is complete; one that is dropped is
/// forgotten by the registry sooner or later.
#[derive(Debug)]
pub struct Upload {
    endpoint: Arc<Endpoint>,
    repository: Repository,
    /// What messages call the blob.
    named: Digest,
    /// Where the next request of this upload goes.
    location: Url,
    /// Bytes the registry has.
    received: u64,
    /// The smallest piece it takes, if it says so.
    piece: Option<u64>,
    /// Bytes from the blob's start that were ever read to be sent: no registry can have more.
    sent: u64,
    /// What the registry still had, at most, when it was asked after a failure.
    kept: u64,
    /// Failures since that was last more than before.
    failures: u32,
}

impl Registries {
    /// Asks the registry to take the blob from another of its repositories, named by its path.
    ///
    /// # Errors
    /// What keeps an answer away; that the blob is not there, or may not be read there, is [`Mount::Refused`].
    pub fn mount(&self, repository: &Repository, digest: &Digest, from: &str) -> Result<Mount, Error> {
        let endpoint = self.endpoint(repository.host())?;
        let query = format!("?mount={digest}&from={}", crate::list::encoded(from));
        let mut call = start(repository, digest, &query);
        call.scopes = call.scopes.and(Scopes::repository(from, Access::Pull));
        let response = match endpoint.send(&call) {
            Ok(response) => response,
            // Whoever may not read there can still send the bytes.
            Err(Error::Unauthorized { .. } | Error::Token { .. }) => {
                return Ok(Mount::Refused(Box::new(self.begin(repository, digest)?)));
            }
            Err(error) => return Err(error),
        };
        match response.status() {
            201 => Ok(Mount::Mounted),
            202 => {
                let begun = Upload::begun(&endpoint, repository, digest, &response, call.subject)?;
                Ok(Mount::Refused(Box::new(begun)))
            }
            400 | 401 | 403 | 404 | 405 => Ok(Mount::Refused(Box::new(self.begin(repository, digest)?))),
            _ => Err(endpoint.refusal(response, call.subject)),
        }
    }

    /// Sends a blob whose digest and size are known, unless a cut makes it impossible; what the registry has received
    /// is not sent again if it says so. Existence is the caller's to ask for first ([`Registries::blob_exists`]).
    ///
    /// # Errors
    /// [`Error::Source`] when the source cannot be read or is not `size` bytes long.
    pub fn upload(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        source: &mut dyn Source,
    ) -> Result<(), Error> {
        self.begin(repository, digest)?.send(digest, size, source)
    }

    /// Begins an upload; [`Upload::send`] or [`Upload::send_unsized`] does it. The digest is what messages call the blob:
    /// its own, or, where that is not known yet, that of what it is made of.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Unauthorized`], and what keeps an answer away.
    pub fn begin(&self, repository: &Repository, digest: &Digest) -> Result<Upload, Error> {
        begin(&self.endpoint(repository.host())?, repository, digest)
    }
}

fn begin(endpoint: &Arc<Endpoint>, repository: &Repository, digest: &Digest) -> Result<Upload, Error> {
    let call = start(repository, digest, "");
    let response = endpoint.expect(&call)?;
    Upload::begun(endpoint, repository, digest, &response, call.subject)
}

fn start<'a>(repository: &'a Repository, digest: &'a Digest, query: &str) -> Call<'a> {
    let subject = Subject::Blob(repository, digest, Access::Push);
    about("POST", repository, format!("blobs/uploads/{query}"), subject, Access::Push)
}

impl Upload {
    fn begun(
        endpoint: &Arc<Endpoint>,
        repository: &Repository,
        named: &Digest,
        response: &Response,
        subject: Subject<'_>,
    ) -> Result<Self, Error> {
        let piece = response.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok());
        let location = located(endpoint, response, response.url(), subject)?;
        let (endpoint, repository) = (endpoint.clone(), repository.clone());
        Ok(Self {
            endpoint,
            repository,
            named: *named,
            location,
            received: 0,
            piece,
            sent: 0,
            kept: 0,
            failures: 0,
        })
    }

    /// Sends the blob.
    ///
    /// # Errors
    /// As [`Registries::upload`].
    pub fn send(mut self, digest: &Digest, size: u64, source: &mut dyn Source) -> Result<(), Error> {
        let mut in_pieces = false;
        loop {
            let outcome = match in_pieces || self.received > 0 {
                true => self.piecewise(digest, size, source, in_pieces)?,
                false => self.whole(digest, size, source)?,
            };
            match outcome {
                Streamed::Answer(response) if response.is_success() => {
                    return self.check_digest(&response, digest);
                }
                Streamed::Answer(response) if response.status() == 413 && !in_pieces => {
                    in_pieces = true;
                    self = begin(&self.endpoint, &self.repository, digest)?;
                }
                other => self.recover(digest, other)?,
            }
        }
    }

    /// Everything in one `PUT`, which completes it.
    fn whole(&mut self, digest: &Digest, size: u64, source: &mut dyn Source) -> Result<Streamed, Error> {
        let mut call = self.call("PUT", Some(digest));
        call.headers.push(("Content-Type", "application/octet-stream".to_owned()));
        call.subject = Subject::Blob(&self.repository, digest, Access::Push);
        let (outcome, count) = self.stream(call, digest, source, 0, Some(size))?;
        self.sent = self.sent.max(count);
        Ok(outcome)
    }

    /// The rest with `PATCH`, in pieces if need be, and an empty `PUT` that completes it.
    fn piecewise(
        &mut self,
        digest: &Digest,
        size: u64,
        source: &mut dyn Source,
        small: bool,
    ) -> Result<Streamed, Error> {
        while self.received < size {
            let most = if small { PIECE.max(self.piece.unwrap_or(0)) } else { u64::MAX };
            let length = most.min(size - self.received);
            match self.patch(digest, source, Some(length))? {
                Streamed::Answer(response) if response.is_success() => {}
                other => return Ok(other),
            }
        }
        self.complete(digest)
    }

    /// One `PATCH` with what follows: so many bytes, or, without a length, all that the source still has.
    fn patch(
        &mut self,
        digest: &Digest,
        source: &mut dyn Source,
        length: Option<u64>,
    ) -> Result<Streamed, Error> {
        let first = self.received;
        let mut call = self.call("PATCH", None);
        call.headers.push(("Content-Type", "application/octet-stream".to_owned()));
        if let Some(length) = length {
            call.headers.push(("Content-Range", format!("{first}-{}", first + length - 1)));
        }
        let (outcome, count) = self.stream(call, digest, source, first, length)?;
        self.sent = self.sent.max(first + count);
        if let Streamed::Answer(response) = &outcome
            && response.is_success()
        {
            self.advance(digest, response, first + count)?;
            if count > 0 {
                self.expect_progress(first)?;
            }
        }
        Ok(outcome)
    }

    /// Sends a request whose body the source gives from `offset` on, once more wherever the registry says that it should
    /// have gone. What counts is the last request: its answer, and how many bytes it read.
    fn stream(
        &self,
        mut call: Call<'_>,
        digest: &Digest,
        source: &mut dyn Source,
        offset: u64,
        length: Option<u64>,
    ) -> Result<(Streamed, u64), Error> {
        if self.failures >= 2 {
            // A server that answers before it has read the body (with a redirect, a 413) and hangs up shows as a broken
            // connection; now it gets the chance to say what it wants. The others lose a second.
            call.headers.push(("Expect", "100-continue".to_owned()));
        }
        let mut url = self.location.clone();
        for _ in 0..=REDIRECTS {
            let mut reader = Counted::new(self.open(digest, source, offset)?);
            let outcome = self.endpoint.stream(&call, &mut reader, length)?;
            let elsewhere = match &outcome {
                Streamed::Answer(response) if matches!(response.status(), 307 | 308) => {
                    response.header("location")
                }
                _ => None,
            };
            let Some(location) = elsewhere else { return Ok((outcome, reader.count())) };
            url = self.endpoint.follow(&url, location, call.subject)?;
            call.at = At::Url(url.clone());
        }
        let to = format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
        Err(Error::Redirect { subject: call.subject.to_string(), to, why: "there is no end of redirects" })
    }

    fn complete(&mut self, digest: &Digest) -> Result<Streamed, Error> {
        let mut call = self.call("PUT", Some(digest));
        call.subject = Subject::Blob(&self.repository, digest, Access::Push);
        Ok(match self.endpoint.send(&call) {
            Ok(response) => Streamed::Answer(Box::new(response)),
            Err(error) => return Err(error),
        })
    }

    /// After a failure: waits, asks how much the registry has, and begins anew if it has forgotten the upload. Gives up
    /// after as many failures in a row as there may be, if nothing more is kept between them.
    fn recover(&mut self, digest: &Digest, outcome: Streamed) -> Result<(), Error> {
        let subject = Subject::Blob(&self.repository, digest, Access::Push);
        self.failures += 1;
        let failures = self.failures;
        let (pause, lost) = match &outcome {
            Streamed::Answer(response) => match response.status() {
                // The token ran out meanwhile; the upload is unknown; the registry's idea of the offset is another.
                401 | 404 | 416 => (self.endpoint.pause(failures, None), response.status() == 404),
                _ if response.is_transient() => {
                    (self.endpoint.pause(failures, response.retry_after()), false)
                }
                _ => (None, false),
            },
            // A source that cannot be read does not get better.
            Streamed::Failed(error) if self.endpoint.may_come_back(error) => {
                (self.endpoint.pause(failures, None), false)
            }
            Streamed::Failed(_) => (None, false),
        };
        let Some(pause) = pause else {
            return Err(match outcome {
                Streamed::Answer(response) => self.endpoint.refusal(*response, subject),
                Streamed::Failed(error) => self.endpoint.transport(subject, error, failures),
            });
        };
        self.endpoint.sleep(pause);
        let known = !lost && self.ask_for_progress(digest)?;
        if !known {
            let (kept, failures) = (self.kept, self.failures);
            *self = Self { kept, failures, ..begin(&self.endpoint, &self.repository, digest)? };
        }
        if self.received > self.kept {
            (self.kept, self.failures) = (self.received, 0);
        }
        Ok(())
    }

    /// `GET` of the upload: how many bytes arrived. `false` when the registry does not know it any more.
    fn ask_for_progress(&mut self, digest: &Digest) -> Result<bool, Error> {
        let call = self.call("GET", None);
        let response = self.endpoint.send(&call)?;
        if !response.is_success() {
            return Ok(false);
        }
        drop(call);
        // Where so little arrived, starting anew costs nothing and leaves no doubt. What was never sent is somebody else's.
        let Some(received) = received(&response).filter(|received| *received <= self.sent) else {
            return Ok(false);
        };
        self.advance(digest, &response, received)?;
        Ok(true)
    }

    /// Takes the next address and the registry's count of bytes from an answer.
    fn advance(&mut self, digest: &Digest, response: &Response, expected: u64) -> Result<(), Error> {
        let subject = Subject::Blob(&self.repository, digest, Access::Push);
        if response.header("location").is_some() {
            self.location = located(&self.endpoint, response, response.url(), subject)?;
        }
        // One that counts fewer bytes than were sent gets the rest once more.
        self.received = received(response).filter(|received| *received <= expected).unwrap_or(expected);
        Ok(())
    }

    /// A registry that takes bytes and counts none of them would be sent them for ever.
    fn expect_progress(&self, before: u64) -> Result<(), Error> {
        if self.received > before {
            return Ok(());
        }
        let message = "the registry takes the bytes and says that it has none of them".to_owned();
        Err(Error::Refused { subject: self.repository.to_string(), message })
    }

    fn call<'a>(&'a self, method: &'static str, digest: Option<&Digest>) -> Call<'a> {
        let mut url = self.location.clone();
        if let Some(digest) = digest {
            url.query_pairs_mut().append_pair("digest", &digest.to_string());
        }
        Call {
            method,
            at: At::Url(url),
            headers: Vec::new(),
            bytes: None,
            redirects: Redirects::Repeat(10),
            subject: Subject::Repository(&self.repository, Access::Push),
            repository: Some(&self.repository),
            scopes: Scopes::repository(self.repository.path(), Access::Push),
        }
    }

    fn open<'s>(
        &self,
        digest: &Digest,
        source: &'s mut dyn Source,
        offset: u64,
    ) -> Result<Box<dyn std::io::Read + 's>, Error> {
        source.open(offset).map_err(|cause| Error::Source {
            subject: Subject::Blob(&self.repository, digest, Access::Push).to_string(),
            source: cause,
        })
    }

    /// A registry that stored something else than it was sent says so here.
    fn check_digest(&self, response: &Response, digest: &Digest) -> Result<(), Error> {
        let stored =
            response.header("docker-content-digest").and_then(|text| text.trim().parse::<Digest>().ok());
        match stored {
            Some(found) if found != *digest => Err(Error::DigestMismatch {
                subject: Subject::Blob(&self.repository, digest, Access::Push).to_string(),
                expected: *digest,
                found,
            }),
            _ => Ok(()),
        }
    }
}

fn located(endpoint: &Endpoint, response: &Response, from: &Url, subject: Subject<'_>) -> Result<Url, Error> {
    let location = response.header("location").ok_or_else(|| Error::Refused {
        subject: subject.to_string(),
        message: "the registry began an upload without saying where (no Location)".to_owned(),
    })?;
    endpoint.follow(from, location, subject)
}

/// `Range: 0-99`: a hundred bytes. `0-0` says nothing: it is what registries send for none and for one.
fn received(response: &Response) -> Option<u64> {
    let range = response.header("range")?.trim().trim_start_matches("bytes=");
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    if first == 0 && last > 0 { last.checked_add(1) } else { None }
}
