//! Reading objects: a stream that survives cuts.
use super::bucket::Bucket;
use super::error::{Deed, Error};
use super::exchange::{Call, Outcome};
use rusty_s3::Method;
use std::fmt;
use std::io::{self, Read};
use std::time::Duration;
use strata_http::{Misfit, Origin, Response, Resumed};

/// The bytes of an object from some offset to its declared size.
///
/// A connection that breaks is made anew from where it broke; a body that is shorter or longer than declared is an
/// error. Errors of `read` hold an [`Error`], see [`Error::of_read`].
pub struct Object(Resumed<Kept>);

/// Which object, and where.
struct Kept {
    bucket: Bucket,
    key: String,
    size: u64,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0.origin().key, self.0)
    }
}

impl Bucket {
    /// An object's bytes from `offset` on; `size` is what is known of the whole.
    ///
    /// # Errors
    /// [`Error::Gone`]; [`Error::Size`] where the server already says that it is longer or shorter.
    pub fn open(&self, key: &str, size: u64, offset: u64) -> Result<Object, Error> {
        let kept = Kept { bucket: self.clone(), key: key.to_owned(), size };
        Resumed::open(kept, size, offset).map(Object)
    }
}

impl Object {
    /// Bytes from the object's start that have been read or were skipped by the offset.
    pub fn position(&self) -> u64 {
        self.0.position()
    }
}

impl Kept {
    fn call(&self) -> Call<'_> {
        Call::new(Deed::Read, Method::Get, &self.key)
    }
}

impl Origin for Kept {
    type Error = Error;

    fn connect(&mut self, position: u64) -> Result<Option<Response>, Error> {
        let mut call = self.call();
        call.from = position;
        match self.bucket.exchange(&mut call, |response| Ok(Outcome::Done(response)))? {
            Outcome::Done(response) => Ok(Some(response)),
            Outcome::Refused(refusal, _) if refusal.is_missing_key() => {
                let (bucket, key) = self.bucket.named(&self.key);
                Err(Error::Gone { bucket, key })
            }
            Outcome::Refused(refusal, _) if refusal.status == 416 && position > 0 => Ok(None),
            Outcome::Refused(refusal, tries) => Err(self.bucket.refused(&call, &refusal, tries)),
        }
    }

    fn pause(&self, failures: u32, cause: Option<&strata_http::Error>) -> Option<Duration> {
        let transient = cause.is_none_or(strata_http::Error::is_transient);
        self.bucket.pause(failures, None).filter(|_| transient)
    }

    fn wait(&self, pause: Duration) {
        self.bucket.wait(pause);
    }

    fn broken(&self, cause: strata_http::Error, tries: u32) -> Error {
        self.bucket.transport(Deed::Read, &self.key, cause, tries)
    }

    fn misfit(&self, misfit: Misfit) -> Error {
        let (bucket, key) = self.bucket.named(&self.key);
        match misfit {
            Misfit::Size(found) => Error::Size { bucket, key, expected: self.size, found },
            Misfit::Answer(why) => self.bucket.malformed(&self.call(), why),
        }
    }
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
