//! A bucket: where it is, and what its requests are made with.
use super::credentials::{Credentials, Keeper, Network};
use super::error::Error;
use super::settings::Settings;
use rusty_s3::UrlStyle;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
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
}
