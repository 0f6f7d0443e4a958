//! Reading objects: a stream that survives cuts.
use super::bucket::Bucket;
use super::error::{Deed, Error};
use super::exchange::{Call, Outcome};
use rusty_s3::Method;
use std::fmt;
use std::io::{self, Read};
use strata_http::{Body, Response};

/// After this many bytes since the last cut a lost connection is simply made anew, without a pause.
const GOOD_RUN: u64 = 1 << 20;

/// The bytes of an object from some offset to its declared size.
///
/// A connection that breaks is made anew from where it broke; a body that is shorter or longer than declared is an
/// error. Errors of `read` hold an [`Error`], see [`Error::of_read`].
pub struct Object {
    bucket: Bucket,
    key: String,
    size: u64,
    position: u64,
    body: Option<Body>,
    /// Cuts since the last byte that came.
    failures: u32,
    /// Where the connection in use began.
    began: u64,
    finished: bool,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} of {}", self.key, self.position, self.size)
    }
}

/// What a server sends that was asked for bytes from some position on.
struct Stream {
    first: u64,
    total: Option<u64>,
    body: Body,
}

impl Bucket {
    /// An object's bytes from `offset` on; `size` is what is known of the whole.
    ///
    /// # Errors
    /// [`Error::Gone`]; [`Error::Size`] where the server already says that it is longer or shorter.
    pub fn open(&self, key: &str, size: u64, offset: u64) -> Result<Object, Error> {
        let position = offset.min(size);
        let (bucket, key) = (self.clone(), key.to_owned());
        let mut object =
            Object { bucket, key, size, position, body: None, failures: 0, began: position, finished: false };
        if position < size {
            object.connect()?;
        }
        Ok(object)
    }
}

impl Stream {
    fn of(response: Response) -> Self {
        let (first, total) = match (response.status(), response.content_range()) {
            (206, Some((first, _, total))) => (first, total),
            _ => (0, response.content_length()),
        };
        Self { first, total, body: response.into_body() }
    }
}

impl Object {
    /// Bytes from the object's start that have been read or were skipped by the offset.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Asks for what is missing.
    fn connect(&mut self) -> Result<(), Error> {
        let mut call = Call::new(Deed::Read, Method::Get, &self.key);
        call.from = self.position;
        let outcome = self.bucket.exchange(&mut call, |response| Ok(Outcome::Done(Stream::of(response))))?;
        let stream = match outcome {
            Outcome::Done(stream) => stream,
            Outcome::Refused(refusal, _) if refusal.is_missing_key() => {
                let (bucket, key) = self.bucket.named(&self.key);
                return Err(Error::Gone { bucket, key });
            }
            // Nothing stands at that position: the object is shorter than it should be.
            Outcome::Refused(refusal, _) if refusal.status == 416 => {
                return Err(self.wrong_size(format!("at most {}", self.position)));
            }
            Outcome::Refused(refusal, tries) => return Err(self.bucket.refused(&call, &refusal, tries)),
        };
        if stream.first > self.position {
            let why = format!("asked for byte {}, got those from {} on", self.position, stream.first);
            return Err(self.bucket.malformed(&call, why));
        }
        if let Some(total) = stream.total.filter(|total| *total != self.size) {
            return Err(self.wrong_size(total.to_string()));
        }
        self.began = self.position;
        let mut body = stream.body;
        // A server that does not know ranges begins at the beginning. A cut meanwhile is found by the next read.
        let over = self.position - stream.first;
        let skipped = io::copy(&mut (&mut body).take(over), &mut io::sink());
        self.body = skipped.is_ok_and(|skipped| skipped == over).then_some(body);
        Ok(())
    }

    fn wrong_size(&self, found: String) -> Error {
        let (bucket, key) = self.bucket.named(&self.key);
        Error::Size { bucket, key, expected: self.size, found }
    }

    /// After a cut: pauses and connects again, or gives up.
    fn resume(&mut self, cause: Option<strata_http::Error>) -> Result<(), Error> {
        self.body = None;
        self.failures += 1;
        let transient = cause.as_ref().is_none_or(strata_http::Error::is_transient);
        let good = self.failures == 1 && self.position - self.began >= GOOD_RUN;
        if transient && (good || self.bucket.pause(self.failures, None)) {
            return self.connect();
        }
        Err(match cause {
            Some(cause) => self.bucket.transport(Deed::Read, &self.key, cause, self.failures),
            None => self.wrong_size(self.position.to_string()),
        })
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
                Ok(0) => self.resume(None)?,
                Ok(count) => {
                    self.position += count as u64;
                    self.failures = 0;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.resume(error.downcast::<strata_http::Error>().ok())?,
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

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.fill(buffer).map_err(Error::into_io)
    }
}
