//! What came back.
use crate::Error;
use crate::address::redact;
use crate::error::Limits;
use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, SystemTime};
use ureq::http::HeaderMap;
use url::Url;

/// An answer: status and headers are here, the body is still to be read.
pub struct Response {
    status: u16,
    headers: HeaderMap,
    url: Url,
    body: Body,
}

/// The body of an answer. What is not read is not fetched: dropping it closes the connection.
///
/// Errors of `read` hold an [`Error`], see [`Error::of_read`]: `TimedOut` when the other side is silent, `UnexpectedEof` when
/// the connection ends before the body does.
pub struct Body {
    url: String,
    limits: Limits,
    reader: ureq::BodyReader<'static>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, redact(self.url.as_str()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "body of {}", redact(&self.url))
    }
}

impl Response {
    pub(crate) fn new(response: ureq::http::Response<ureq::Body>, url: Url, limits: Limits) -> Self {
        let (parts, body) = response.into_parts();
        let body = Body { url: url.to_string(), limits, reader: body.into_reader() };
        Self { status: parts.status.as_u16(), headers: parts.headers, url, body }
    }

    /// `200`
    pub fn status(&self) -> u16 {
        self.status
    }

    /// 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the same request may well succeed a little later: 408, 429, 500, 502, 503, 504.
    pub fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }

    /// Where the answer came from, after all redirects. Has no credentials, but perhaps a query that holds some.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The first header of this name (in any case); `None` also for one that is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers of this name.
    pub fn headers<'r>(&'r self, name: &str) -> impl Iterator<Item = &'r str> {
        self.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }

    /// `Content-Length`. The body of a `HEAD` or 304 is empty whatever this says.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// `Content-Range: bytes first-last/total` of a 206, as first, last, and total if it is known.
    pub fn content_range(&self) -> Option<(u64, u64, Option<u64>)> {
        let text = self.header("content-range")?.trim().strip_prefix("bytes")?.trim_start();
        let (range, total) = text.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then(|| (first, last, total.trim().parse().ok()))
    }

    /// `Last-Modified`, to the second.
    pub fn last_modified(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header("last-modified")?.trim()).ok()
    }

    /// `Date`: the server's clock, to the second.
    pub fn date(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header("date")?.trim()).ok()
    }

    /// How long `Retry-After` asks to wait, given in seconds or as a date.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// The body, to be read.
    pub fn into_body(self) -> Body {
        self.body
    }
}

impl Body {
    /// All of it, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`], or what reading gives.
    pub fn bytes(self, limit: u64) -> Result<Vec<u8>, Error> {
        let url = redact(&self.url);
        let mut bytes = Vec::new();
        if let Err(error) = self.take(limit.saturating_add(1)).read_to_end(&mut bytes) {
            return Err(match error.downcast::<Error>() {
                Ok(error) => error,
                Err(error) => Error::Broken { url, source: Box::new(error) },
            });
        }
        if bytes.len() as u64 > limit { Err(Error::TooLarge { url, limit }) } else { Ok(bytes) }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => Error::of(error.into(), &self.url, None, self.limits).into_io(),
        })
    }
}
