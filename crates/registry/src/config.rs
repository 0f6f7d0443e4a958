//! What the client is told when it is made.
use crate::credentials::Credentials;
use crate::hosts::Mirror;
use crate::wait::{Clock, SystemClock};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use strata_http::{Options, Retry};

/// Everything a client of registries is told. The default knows no credentials, no mirrors and no files.
#[derive(Clone)]
pub struct Config {
    /// Who the user is.
    pub credentials: Credentials,
    /// Asked before the registries they mirror, in this order; of one that fails, the next is asked.
    pub mirrors: Vec<Mirror>,
    /// Hosts that may speak plain http or have a certificate nobody vouches for: `host:port` as in a reference, or a
    /// network such as `10.0.0.0/8`. This machine always may.
    pub insecure: Vec<String>,
    /// Directories with a directory per host that holds its certificates: `/etc/docker/certs.d`.
    pub certificates: Vec<PathBuf>,
    /// User agent, proxies, time limits. What it says about certificates is replaced for each host.
    pub http: Options,
    /// How often and with which pauses something is tried that makes no progress.
    pub retry: Retry,
    /// Tells the time and waits.
    pub clock: Arc<dyn Clock>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            credentials: Credentials::none(),
            mirrors: Vec::new(),
            insecure: Vec::new(),
            certificates: Vec::new(),
            http: Options::default(),
            retry: Retry::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("mirrors", &self.mirrors)
            .field("insecure", &self.insecure)
            .field("certificates", &self.certificates)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
