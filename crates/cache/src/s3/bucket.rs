//! The client: requests that are signed, sent, and tried again.
use super::credentials::{Credentials, Keeper, Network};
use super::error::{Deed, Error};
use super::exchange::{Call, Outcome, Payload};
use super::refusal::Refusal;
use super::settings::Settings;
use crate::CONFIG_LIMIT;
use rusty_s3::{Method, UrlStyle};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::SystemTime;
use strata_http::{Client, Retry};
use strata_registry::{Alarm, Clock, SystemClock};

/// How a bucket is talked to.
#[derive(Clone)]
pub struct Options {
    /// Proxies, certificates, time limits.
    pub http: strata_http::Options,
    /// How often and with which pauses something is tried that makes no progress.
    pub retry: Retry,
    /// Tells the time and waits.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        let http = strata_http::Options::default();
        Self { http, retry: Retry::default(), clock: Arc::new(SystemClock) }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("retry", &self.retry).finish_non_exhaustive()
    }
}

/// An object, as the server describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// When it was written, to the second.
    pub modified: Option<SystemTime>,
}

/// A bucket of an object store. Clones share connections; any number of threads may use it.
#[derive(Clone)]
pub struct Bucket(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) address: rusty_s3::Bucket,
    pub(super) client: Client,
    pub(super) retry: Retry,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) alarm: Arc<Alarm>,
    pub(super) keeper: Keeper,
    /// Seconds to add to our clock to get the server's.
    pub(super) skew: AtomicI64,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{} at {}", self.0.settings.bucket, self.endpoint())
    }
}

impl Bucket {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] where bucket and endpoint make no address, [`Error::Client`].
    pub fn new(settings: Settings, options: Options) -> Result<Self, Error> {
        let style = if settings.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let (name, region) = (settings.bucket.clone(), settings.region.clone());
        let address =
            rusty_s3::Bucket::new(settings.endpoint.clone(), style, name, region).map_err(|error| {
                Error::Invalid { key: "bucket", value: settings.bucket.clone(), why: error.to_string() }
            })?;
        let unusable = |error| Error::Client(Box::new(error));
        let client = Client::new(options.http.clone()).map_err(unusable)?;
        let retry = Retry { tries: settings.tries.unwrap_or(options.retry.tries), ..options.retry };
        let (clock, alarm, skew) = (options.clock, Arc::new(Alarm::default()), AtomicI64::new(0));
        let network = Network::new(&client, &options.http, retry, &clock, &alarm).map_err(unusable)?;
        let keeper = Keeper::new(settings.provider.clone(), network);
        Ok(Self(Arc::new(Shared { settings, address, client, retry, clock, alarm, skew, keeper })))
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What requests are signed with now. The first to ask gets them from where they come from; so does who asks when they
    /// are about to run out.
    ///
    /// # Errors
    /// [`Error::NoCredentials`], [`Error::Provider`].
    pub fn credentials(&self) -> Result<Arc<Credentials>, Error> {
        self.0.keeper.credentials(self.now())
    }

    /// Ends everything under way, in whatever thread.
    pub fn shut_down(&self) {
        self.0.alarm.ring();
        self.0.client.shut_down();
        self.0.keeper.shut_down();
    }

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
