//! One request until it is answered for good: signed, sent, and tried again.
use super::bucket::Bucket;
use super::credentials::Credentials;
use super::error::{Deed, Error};
use super::refusal::Refusal;
use jiff::Timestamp;
use rusty_s3::{Method, signing};
use std::io::{self, Read};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use strata_http::{Redirects, Request, Response, Url};

/// How long a signature holds: a request is sent at once, but the clocks may differ.
const VALID: Duration = Duration::from_secs(60 * 60);

/// Answers about parts and copies have a few hundred bytes.
const ANSWER: u64 = 64 << 10;

/// A request before it is signed.
pub(super) struct Call<'c> {
    pub(super) deed: Deed,
    pub(super) method: Method,
    pub(super) key: &'c str,
    /// Sorted by name.
    pub(super) query: &'c [(&'c str, &'c str)],
    /// Headers that take part in the signature, sorted by name.
    pub(super) signed: &'c [(&'c str, &'c str)],
    /// The first byte that is wanted.
    pub(super) from: u64,
    pub(super) body: Payload<'c>,
}

/// A body that can be read again from its beginning.
pub(super) trait Part {
    /// Bytes.
    fn length(&self) -> u64;
    /// A reader that gives exactly so many, or fails.
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>>;
}

/// What is sent.
pub(super) enum Payload<'c> {
    None,
    Bytes(&'c [u8]),
    Part(&'c mut dyn Part),
}

impl<'c> Call<'c> {
    pub(super) fn new(deed: Deed, method: Method, key: &'c str) -> Self {
        Self { deed, method, key, query: &[], signed: &[], from: 0, body: Payload::None }
    }
}

/// What became of a request that was answered.
pub(super) enum Outcome<T> {
    Done(T),
    Refused(Refusal, u32),
}

/// A short answer.
pub(super) struct Answer {
    pub(super) etag: Option<String>,
    pub(super) text: String,
}

impl Bucket {
    /// `finish` takes the answer to a request that succeeded; what breaks in it is tried again.
    pub(super) fn exchange<T>(
        &self,
        call: &mut Call<'_>,
        finish: impl Fn(Response) -> Result<Outcome<T>, strata_http::Error>,
    ) -> Result<Outcome<T>, Error> {
        let (mut corrected, mut renewed) = (false, false);
        let mut tries = 0;
        loop {
            tries += 1;
            let credentials = self.credentials()?;
            let answer = match self.once(call, &credentials) {
                Ok(response) if response.is_success() => finish(response),
                Ok(response) => Ok(Outcome::Refused(Refusal::read(response), tries)),
                Err(error) => Err(error),
            };
            match answer {
                Ok(Outcome::Done(value)) => return Ok(Outcome::Done(value)),
                Ok(Outcome::Refused(refusal, _)) => {
                    if let Some(seconds) = refusal.skew(self.now()).filter(|_| !corrected) {
                        corrected = true;
                        self.0.skew.fetch_add(seconds, Ordering::Relaxed);
                    } else if !renewed && refusal.is_about_time() && self.0.keeper.spent(&credentials) {
                        renewed = true;
                    } else if !refusal.is_transient() || !self.paused(tries, refusal.retry_after) {
                        return Ok(Outcome::Refused(refusal, tries));
                    }
                }
                Err(error) if error.is_transient() && self.paused(tries, None) => {}
                Err(strata_http::Error::Upload { source, .. }) => {
                    let (bucket, key) = self.named(call.key);
                    return Err(Error::Source { bucket, key, source });
                }
                Err(error) => return Err(self.transport(call.deed, call.key, error, tries)),
            }
        }
    }

    /// For requests whose answer is a document, or nothing.
    pub(super) fn expect(&self, call: &mut Call<'_>) -> Result<Answer, Error> {
        let outcome = self.exchange(call, |response| {
            let etag = response.header("etag").map(str::to_owned);
            let refusal = Refusal::head(&response);
            let text = String::from_utf8_lossy(&response.into_body().bytes(ANSWER)?).into_owned();
            Ok(match refusal.in_success(&text) {
                Some(refusal) => Outcome::Refused(refusal, 1),
                None => Outcome::Done(Answer { etag, text }),
            })
        })?;
        match outcome {
            Outcome::Done(answer) => Ok(answer),
            Outcome::Refused(refusal, tries) => Err(self.refused(call, &refusal, tries)),
        }
    }

    fn once(&self, call: &mut Call<'_>, credentials: &Credentials) -> Result<Response, strata_http::Error> {
        let url = self.signed(call, credentials);
        let mut request = Request::new(call.method.to_str(), url).redirects(Redirects::Return);
        for (name, value) in call.signed {
            request = request.header(name, *value);
        }
        if call.from > 0 {
            request = request.range(call.from, None);
        }
        match &mut call.body {
            Payload::None => self.0.client.send(request),
            Payload::Bytes(bytes) => self.0.client.send(request.bytes(bytes)),
            Payload::Part(part) => {
                let length = Some(part.length());
                let unread = |source| strata_http::Error::Upload { url: String::new(), source };
                let mut reader = part.open().map_err(unread)?;
                self.0.client.send(request.reader(&mut reader, length))
            }
        }
    }

    /// The signature goes into the query: nobody shows that ([`strata_http::redact`]).
    fn signed(&self, call: &Call<'_>, credentials: &Credentials) -> Url {
        let now = Timestamp::try_from(self.now()).unwrap_or(Timestamp::UNIX_EPOCH);
        signing::sign(
            &now,
            call.method,
            self.0.address.object_url(call.key),
            &credentials.access_key_id,
            credentials.secret_access_key.reveal(),
            credentials.session_token.as_ref().map(strata_registry::Secret::reveal),
            self.0.address.region(),
            VALID.as_secs(),
            call.query.iter().copied(),
            call.signed.iter().copied(),
        )
    }

    /// The server's time, as far as it is known.
    pub(super) fn now(&self) -> SystemTime {
        let (now, skew) = (self.0.clock.now(), self.0.skew.load(Ordering::Relaxed));
        let by = Duration::from_secs(skew.unsigned_abs());
        let corrected = if skew < 0 { now.checked_sub(by) } else { now.checked_add(by) };
        corrected.unwrap_or(now)
    }

    /// How long to wait after so many failures; `None`: it is time to give up.
    pub(super) fn pause(&self, failures: u32, asked: Option<Duration>) -> Option<Duration> {
        self.0.retry.jittered(failures, asked).filter(|_| !self.0.alarm.has_rung())
    }

    /// Waits, unless everything is being ended.
    pub(super) fn wait(&self, pause: Duration) {
        self.0.clock.sleep(pause, &self.0.alarm);
    }

    /// Pauses after so many failures; `false`: it is time to give up.
    fn paused(&self, failures: u32, asked: Option<Duration>) -> bool {
        let Some(pause) = self.pause(failures, asked) else { return false };
        self.wait(pause);
        !self.0.alarm.has_rung()
    }

    /// Scheme, host and port.
    pub(super) fn endpoint(&self) -> String {
        self.0.settings.endpoint.origin().ascii_serialization()
    }

    pub(super) fn named(&self, key: &str) -> (String, String) {
        (self.0.settings.bucket.clone(), key.to_owned())
    }

    pub(super) fn refused(&self, call: &Call<'_>, refusal: &Refusal, tries: u32) -> Error {
        let ((bucket, key), deed) = (self.named(call.key), call.deed);
        let said = refusal.said() + &refusal.advice(deed, &self.0.settings, tries);
        Error::Refused { deed, bucket, key, endpoint: self.endpoint(), said }
    }

    pub(super) fn malformed(&self, call: &Call<'_>, why: impl Into<String>) -> Error {
        let ((bucket, key), deed) = (self.named(call.key), call.deed);
        Error::Malformed { deed, bucket, key, endpoint: self.endpoint(), why: why.into() }
    }

    pub(super) fn transport(&self, deed: Deed, key: &str, source: strata_http::Error, tries: u32) -> Error {
        let ((bucket, key), source) = (self.named(key), Box::new(source));
        Error::Transport { deed, bucket, key, tries, source }
    }
}
