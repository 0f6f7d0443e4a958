//! How those who give out credentials are reached.
use crate::s3::error::ProviderError;
use crate::s3::refusal::Refusal;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use strata_http::{Client, Options, Proxies, Redirects, Request, Response, Retry};
use strata_registry::{Alarm, Clock};

/// Documents with credentials have one or two kilobytes.
const ANSWER: u64 = 64 << 10;

/// A machine that is nobody's instance has no service for it: that must show soon.
const NEAR: Duration = Duration::from_secs(1);

/// Clients, and what they go by.
pub(in crate::s3) struct Network {
    /// Through proxies, like everything else.
    far: Client,
    /// For services on the machine itself: without proxies, and with little patience.
    near: Client,
    retry: Retry,
    clock: Arc<dyn Clock>,
    alarm: Arc<Alarm>,
}

/// Which client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Near,
    Far,
}

impl Network {
    /// `far` is everybody's client, and `options` are what it was made from.
    pub(in crate::s3) fn new(
        far: &Client,
        options: &Options,
        retry: Retry,
        clock: &Arc<dyn Clock>,
        alarm: &Arc<Alarm>,
    ) -> Result<Self, strata_http::Error> {
        let near = Options {
            proxies: Proxies::default(),
            connect_timeout: NEAR,
            idle_timeout: 5 * NEAR,
            ..options.clone()
        };
        let (far, near) = (far.clone(), Client::new(near)?);
        Ok(Self { far, near, retry, clock: clock.clone(), alarm: alarm.clone() })
    }

    pub(in crate::s3) fn shut_down(&self) {
        self.far.shut_down();
        self.near.shut_down();
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// The document that answers a request, which `make` makes for each try. What passes is tried again; but who does not
    /// answer nearby is not there.
    pub(super) fn ask<'r>(
        &self,
        reach: Reach,
        mut make: impl FnMut() -> Request<'r>,
    ) -> Result<Vec<u8>, NoAnswer> {
        let client = if reach == Reach::Near { &self.near } else { &self.far };
        for failures in 1.. {
            let outcome = client.send(make().redirects(Redirects::Return)).and_then(read);
            let pause = match &outcome {
                Ok(Err(refusal)) if refusal.is_transient() || refusal.code == "IDPCommunicationError" => {
                    self.retry.jittered(failures, refusal.retry_after)
                }
                Err(error) if error.is_transient() && reach == Reach::Far => {
                    self.retry.jittered(failures, None)
                }
                _ => None,
            };
            match (pause.filter(|_| !self.alarm.has_rung()), outcome) {
                (Some(pause), _) => self.clock.sleep(pause, &self.alarm),
                (None, Ok(Ok(bytes))) => return Ok(bytes),
                (None, Ok(Err(refusal))) => return Err(NoAnswer::Refused(refusal)),
                (None, Err(error)) => return Err(NoAnswer::Failed(error)),
            }
        }
        unreachable!("the pauses end")
    }
}

fn read(response: Response) -> Result<Result<Vec<u8>, Refusal>, strata_http::Error> {
    if !response.is_success() {
        return Ok(Err(Refusal::read(response)));
    }
    response.into_body().bytes(ANSWER).map(Ok)
}

/// What came instead of a document.
pub(super) enum NoAnswer {
    Refused(Refusal),
    Failed(strata_http::Error),
}

impl NoAnswer {
    /// As an error of whoever asked `server`; `advice` says of a refusal what to do.
    pub(super) fn from(self, server: &str, advice: impl FnOnce(&Refusal) -> &'static str) -> ProviderError {
        match self {
            Self::Failed(error) => error.into(),
            Self::Refused(refusal) => {
                let said = refusal.said() + advice(&refusal);
                ProviderError::Refused { server: server.to_owned(), said }
            }
        }
    }
}
