//! What is asked.
use std::fmt;
use std::io::{self, Read};
use std::time::Duration;
use ureq::http::Method;

/// What to do with an answer that says "elsewhere" (301, 302, 303, 307, 308).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Give it to the caller.
    Return,
    /// Go there, at most so many times, if it is a `GET` or `HEAD` without a body: whatever else was answered so goes to
    /// the caller.
    Follow(u32),
    /// As [`Redirects::Follow`]; and what changes something is sent again as it is where the answer asks for just that (307,
    /// 308). A body that a reader gives is not, and nothing is that would leave TLS: those answers go to the caller. The
    /// body, unlike credentials, goes to any host: it must not be a secret.
    Repeat(u32),
}

impl Redirects {
    /// How many answers of this kind may be followed; `None`: this one is the caller's.
    pub(crate) fn limit(self, method: &Method, has_body: bool, status: u16) -> Option<u32> {
        let reads = !has_body && (method == Method::GET || method == Method::HEAD);
        match (self, status) {
            (Self::Follow(limit) | Self::Repeat(limit), 301 | 302 | 303 | 307 | 308) if reads => Some(limit),
            (Self::Repeat(limit), 307 | 308) => Some(limit),
            _ => None,
        }
    }
}

/// A request. Made by [`Request::get`] and its like, sent by [`Client::send`](crate::Client::send).
pub struct Request<'a> {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Payload<'a>,
    pub(crate) redirects: Redirects,
    pub(crate) idle: Option<Duration>,
}

/// What is sent.
pub(crate) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    Reader(&'a mut dyn Read, Option<u64>),
}

impl<'a> Payload<'a> {
    /// The same once more, if it can be sent once more.
    pub(crate) fn copy(&self) -> Option<Payload<'a>> {
        match self {
            Self::None => Some(Payload::None),
            Self::Bytes(bytes) => Some(Payload::Bytes(bytes)),
            Self::Reader(..) => None,
        }
    }
}

impl fmt::Debug for Request<'_> {
    /// Without header values: they hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, crate::address::redact(&self.url))
    }
}

impl<'a> Request<'a> {
    /// Any method.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            url: url.into(),
            headers: Vec::new(),
            payload: Payload::None,
            redirects: Redirects::Follow(10),
            idle: None,
        }
    }

    /// `GET`
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// `HEAD`
    pub fn head(url: impl Into<String>) -> Self {
        Self::new("HEAD", url)
    }

    /// `POST`, with an empty body unless one is given.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// `PUT`, with an empty body unless one is given.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// `PATCH`, with an empty body unless one is given.
    pub fn patch(url: impl Into<String>) -> Self {
        Self::new("PATCH", url)
    }

    /// `DELETE`
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new("DELETE", url)
    }

    /// Adds a header; one given twice is sent twice. What has characters that a header must not have is an error of
    /// sending. `Authorization` wins over credentials in the URL.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Asks for the bytes from `first` to `last`, both counted from 0 and both included. A server that can gives status 206
    /// and [`Response::content_range`](crate::Response::content_range); one that cannot gives 200 and everything, one that
    /// has no such bytes 416.
    #[must_use]
    pub fn range(self, first: u64, last: Option<u64>) -> Self {
        let last = last.map_or_else(String::new, |last| last.to_string());
        self.header("Range", format!("bytes={first}-{last}"))
    }

    /// Sends these bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &'a [u8]) -> Self {
        self.payload = Payload::Bytes(bytes);
        self
    }

    /// Sends what a reader gives: exactly `length` bytes if that is known (fewer are an error), in chunks if not.
    ///
    /// The reader is read once, as fast as the other side takes it. An answer that comes before the end of the body
    /// (401, 413) may show as a broken connection: get authorized by a request without a body first.
    #[must_use]
    pub fn reader(mut self, reader: &'a mut dyn Read, length: Option<u64>) -> Self {
        self.payload = Payload::Reader(reader, length);
        self
    }

    /// What to do with redirects; [`Redirects::Follow`]`(10)` if not called.
    #[must_use]
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Another limit than [`Options::idle_timeout`](crate::Options::idle_timeout), for answers that take long to prepare.
    #[must_use]
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }
}

/// A request's body as ureq reads it: counts, and keeps the reader's error apart from the connection's.
pub(crate) struct Upload<'a> {
    reader: &'a mut dyn Read,
    left: Option<u64>,
    pub(crate) failed: Option<io::Error>,
}

impl<'a> Upload<'a> {
    pub(crate) fn new(reader: &'a mut dyn Read, length: Option<u64>) -> Self {
        Self { reader, left: length, failed: None }
    }

    fn fail(&mut self, error: io::Error) -> io::Error {
        let copy = io::Error::new(error.kind(), "the body of the request cannot be read");
        self.failed = Some(error);
        copy
    }
}

impl Read for Upload<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.left.map_or(buffer.len(), |left| {
            usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()))
        });
        if most == 0 {
            return Ok(0);
        }
        let count = loop {
            match self.reader.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fail(error)),
                Ok(count) => break count,
            }
        };
        if let Some(left) = &mut self.left {
            *left -= count as u64;
            if count == 0 {
                let missing = *left;
                let short =
                    io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ended {missing} bytes early"));
                return Err(self.fail(short));
            }
        }
        Ok(count)
    }
}
