//! Keeps credentials, and gets others before they run out.
use super::Credentials;
use super::network::Network;
use super::provider::Provider;
use crate::s3::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// So long before they run out others are asked for: what is signed with them holds until then, and a part takes its time.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// After a failure those that still hold are used for so long before anybody is asked again.
const REST: Duration = Duration::from_secs(30);

/// One for all threads that sign.
pub(in crate::s3) struct Keeper {
    provider: Provider,
    network: Network,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    credentials: Option<Arc<Credentials>>,
    /// When somebody was asked in vain.
    failed: Option<SystemTime>,
}

impl Keeper {
    pub(in crate::s3) fn new(provider: Provider, network: Network) -> Self {
        Self { provider, network, held: Mutex::default() }
    }

    /// What to sign with at `now`, the server's time as far as it is known. Whoever comes while others are asked for waits.
    pub(in crate::s3) fn credentials(&self, now: SystemTime) -> Result<Arc<Credentials>, Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.credentials.clone();
        if let Some(known) = known.as_ref().filter(|known| known.hold(now, MARGIN)) {
            return Ok(known.clone());
        }
        let usable = known.filter(|known| known.hold(now, Duration::ZERO));
        let resting = held.failed.is_some_and(|failed| now < failed + REST);
        if let Some(usable) = usable.clone().filter(|_| resting) {
            return Ok(usable);
        }
        match (self.provider.obtain(&self.network), usable) {
            (Ok(fresh), _) => {
                let fresh = Arc::new(fresh);
                *held = Held { credentials: Some(fresh.clone()), failed: None };
                Ok(fresh)
            }
            (Err(_), Some(usable)) => {
                held.failed = Some(now);
                Ok(usable)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The server does not take these any more: whether there may be others.
    pub(in crate::s3) fn spent(&self, spent: &Credentials) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have replaced them meanwhile.
        held.credentials.take_if(|known| **known == *spent);
        self.provider.renews()
    }

    pub(in crate::s3) fn shut_down(&self) {
        self.network.shut_down();
    }
}
