//! Reading what is long: a stream that goes on where a connection broke.
use crate::{Body, Error, Response};
use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

/// After this many bytes since the last cut a lost connection is simply made anew, without a pause.
const GOOD_RUN: u64 = 1 << 20;

/// Where the bytes of a [`Resumed`] come from, and the rules of that place: how it is asked, how patiently, what its errors
/// are called, and whether another place may take over.
pub trait Origin {
    /// What goes wrong there, in its words.
    type Error: Into<io::Error>;

    /// Asks for the bytes from `position` on; for everything where that is 0. An answer has status 200 or 206; `None`: the
    /// server says that it has nothing there (416).
    ///
    /// # Errors
    /// Every other answer, and that there is none.
    fn connect(&mut self, position: u64) -> Result<Option<Response>, Self::Error>;

    /// How long to wait before the next try; `None`: there is no sense in one. `failures` counts from 1, and begins anew
    /// with every byte that comes; no `cause`: the answer just ended too early.
    fn pause(&self, failures: u32, cause: Option<&Error>) -> Option<Duration>;

    /// Waits.
    fn wait(&self, pause: Duration);

    /// What it is called that a connection breaks again and again.
    fn broken(&self, cause: Error, tries: u32) -> Self::Error;

    /// What it is called that something else came than was declared.
    fn misfit(&self, misfit: Misfit) -> Self::Error;

    /// When there is no sense in asking again: turns to another place, which has the same bytes, and is asked for what is
    /// still missing. By default there is none.
    ///
    /// # Errors
    /// The same error, where there is no other place.
    fn turn_elsewhere(&mut self, error: Self::Error) -> Result<(), Self::Error> {
        Err(error)
    }
}

/// What came is not what was declared or asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// So much there is instead of the size: a number, or `more`.
    Size(String),
    /// An answer that contradicts its question.
    Answer(String),
}

/// The bytes of something whose size is known, from some offset on.
///
/// A connection that breaks is made anew, and asked for what is still missing; a server that knows no ranges may send everything
/// again, which is read over. A body that is shorter or longer than declared is an error. What the bytes say is for the reader
/// to check.
pub struct Resumed<O> {
    origin: O,
    size: u64,
    position: u64,
    body: Option<Body>,
    /// Cuts since the last byte that came.
    failures: u32,
    /// Where the connection in use began.
    began: u64,
    finished: bool,
}

impl<O> fmt::Debug for Resumed<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} of {}", self.position, self.size)
    }
}

impl<O: Origin> Resumed<O> {
    /// Asks for the bytes from `offset` on, unless there are none.
    ///
    /// # Errors
    /// Those of [`Origin::connect`], and a [`Misfit`] that the server tells at once.
    pub fn open(origin: O, size: u64, offset: u64) -> Result<Self, O::Error> {
        let position = offset.min(size);
        let mut resumed =
            Self { origin, size, position, body: None, failures: 0, began: position, finished: false };
        if position < size {
            resumed.connect()?;
        }
        Ok(resumed)
    }

    /// Where they come from.
    pub fn origin(&self) -> &O {
        &self.origin
    }

    /// Bytes from the start that have been read or were skipped by the offset.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Asks for what is missing.
    fn connect(&mut self) -> Result<(), O::Error> {
        let response = match self.origin.connect(self.position)? {
            Some(response) => response,
            // Not a machine that knows ranges after all, or the thing is shorter: everything tells which.
            None if self.position > 0 => {
                let whole = self.origin.connect(0)?;
                whole.ok_or_else(|| self.wrong_size("none"))?
            }
            None => return Err(self.wrong_size("none")),
        };
        let first = self.first_of(&response)?;
        self.began = self.position;
        let mut body = response.into_body();
        // A cut meanwhile is found by the next read.
        let over = self.position - first;
        let skipped = io::copy(&mut (&mut body).take(over), &mut io::sink());
        self.body = skipped.is_ok_and(|skipped| skipped == over).then_some(body);
        Ok(())
    }

    /// Where an answer starts: where it was asked to, or before that.
    fn first_of(&self, response: &Response) -> Result<u64, O::Error> {
        let contradiction = |why: String| self.origin.misfit(Misfit::Answer(why));
        let (first, total) = match (response.status(), response.content_range()) {
            (206, Some((first, _, total))) => (first, total),
            (206, None) => {
                return Err(contradiction("status 206 without a Content-Range that can be read".to_owned()));
            }
            _ => (0, response.content_length()),
        };
        if first > self.position {
            return Err(contradiction(format!(
                "asked for byte {}, got those from {first} on",
                self.position
            )));
        }
        match total.filter(|total| *total != self.size) {
            Some(total) => Err(self.wrong_size(total)),
            None => Ok(first),
        }
    }

    fn wrong_size(&self, found: impl ToString) -> O::Error {
        self.origin.misfit(Misfit::Size(found.to_string()))
    }

    /// After a cut: pauses and connects again, here or elsewhere, or gives up.
    fn resume(&mut self, cause: Option<Error>) -> Result<(), O::Error> {
        let Err(error) = self.try_again(cause) else { return Ok(()) };
        self.origin.turn_elsewhere(error)?;
        self.failures = 0;
        self.connect()
    }

    fn try_again(&mut self, cause: Option<Error>) -> Result<(), O::Error> {
        self.body = None;
        self.failures += 1;
        let Some(pause) = self.origin.pause(self.failures, cause.as_ref()) else {
            return Err(match cause {
                Some(cause) => self.origin.broken(cause, self.failures),
                None => self.wrong_size(self.position),
            });
        };
        if self.position - self.began < GOOD_RUN {
            self.origin.wait(pause);
        }
        self.connect()
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, O::Error> {
        if self.position == self.size {
            return self.finish().map(|()| 0);
        }
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        loop {
            let outcome = match &mut self.body {
                Some(body) => body.read(&mut buffer[..most]),
                None => Ok(0),
            };
            match outcome {
                Ok(0) => self.resume(None)?,
                Ok(count) => {
                    self.position += count as u64;
                    self.failures = 0;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.resume(error.downcast::<Error>().ok())?,
            }
        }
    }

    /// There must be nothing behind the last byte. What breaks there breaks nothing.
    fn finish(&mut self) -> Result<(), O::Error> {
        if self.finished {
            return Ok(());
        }
        self.finished = true;
        match self.body.take().map(|mut body| body.read(&mut [0])) {
            Some(Ok(1..)) => Err(self.wrong_size("more")),
            _ => Ok(()),
        }
    }
}

impl<O: Origin> Read for Resumed<O> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.fill(buffer).map_err(Into::into)
    }
}
