//! Small objects: read, looked at, written and forgotten.
use super::bucket::Bucket;
use super::error::{Deed, Error};
use super::exchange::{Call, Outcome, Payload};
use super::refusal::Refusal;
use crate::CONFIG_LIMIT;
use rusty_s3::Method;
use std::time::SystemTime;

/// An object, as the server describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// When it was written, to the second.
    pub modified: Option<SystemTime>,
}

impl Bucket {
    /// A small object, whole; `None` if it is not there.
    ///
    /// # Errors
    /// [`Error::Refused`], also when there is no such bucket; [`Error::Transport`].
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut call = Call::new(Deed::Read, Method::Get, key);
        let outcome = self
            .exchange(&mut call, |response| Ok(Outcome::Done(response.into_body().bytes(CONFIG_LIMIT)?)))?;
        self.unless_missing(outcome, &call)
    }

    /// What is known of an object; `None` if it is not there.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn stat(&self, key: &str) -> Result<Option<Stat>, Error> {
        let mut call = Call::new(Deed::Look, Method::Head, key);
        let outcome = self.exchange(&mut call, |response| {
            let (size, modified) = (response.content_length(), response.last_modified());
            Ok(Outcome::Done(size.map(|size| Stat { size, modified })))
        })?;
        match outcome {
            Outcome::Done(Some(stat)) => Ok(Some(stat)),
            Outcome::Done(None) => Err(self.malformed(&call, "it does not tell the object's length")),
            Outcome::Refused(Refusal { status: 404, .. }, _) => Ok(None),
            Outcome::Refused(refusal, tries) => Err(self.reason(&call, refusal, tries)),
        }
    }

    /// Stores a small object, in place of an earlier one.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut call = Call::new(Deed::Write, Method::Put, key);
        call.body = Payload::Bytes(bytes);
        self.expect(&mut call).map(drop)
    }

    /// Forgets an object; one that is not there is no error.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        let mut call = Call::new(Deed::Write, Method::Delete, key);
        let outcome = self.exchange(&mut call, |_| Ok(Outcome::Done(())))?;
        self.unless_missing(outcome, &call).map(drop)
    }

    /// Nothing under a key is no failure; no bucket is.
    fn unless_missing<T>(&self, outcome: Outcome<T>, call: &Call<'_>) -> Result<Option<T>, Error> {
        match outcome {
            Outcome::Done(value) => Ok(Some(value)),
            Outcome::Refused(refusal, _) if refusal.is_missing_key() => Ok(None),
            Outcome::Refused(refusal, tries) => Err(self.refused(call, &refusal, tries)),
        }
    }

    /// The answer to a HEAD has no document, so a GET is sent to learn why.
    fn reason(&self, call: &Call<'_>, refusal: Refusal, tries: u32) -> Error {
        let mut again = Call { deed: call.deed, ..Call::new(Deed::Read, Method::Get, call.key) };
        match self.exchange(&mut again, |_| Ok(Outcome::Done(()))) {
            Ok(Outcome::Refused(spoken, tries)) => self.refused(call, &spoken, tries),
            _ => self.refused(call, &refusal, tries),
        }
    }
}
