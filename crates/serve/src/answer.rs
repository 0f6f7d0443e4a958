//! Answers: their bodies, and what several endpoints say in the same way.

use crate::growing::Growing;
use crate::threads::blocking;
use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What an endpoint gives back.
pub(crate) type Answer = Response<Outgoing>;

/// Docker's own header beside `ETag`.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Bytes read from a blob at a time: large enough that a switch of threads costs nothing, small in memory.
const STEP: usize = 256 * 1024;

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    bytes(status, Bytes::new())
}

/// An answer with a small body.
pub(crate) fn bytes(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    let mut answer = Response::new(Outgoing::Whole(Some(body).filter(|body| !body.is_empty())));
    *answer.status_mut() = status;
    answer
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    let text = serde_json::to_vec(body).expect("values are serialisable");
    let mut answer = bytes(status, text);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Sets a header. The values are names that were checked and numbers; what is no header value is left out.
pub(crate) fn set(answer: &mut Answer, name: HeaderName, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        answer.headers_mut().insert(name, value);
    }
}

/// The same answer as for GET, without its body but with its length.
pub(crate) fn without_body(mut answer: Answer) -> Answer {
    // An endpoint that knew the length without opening the blob has set it.
    if let Some(length) = answer.body().size_hint().exact().filter(|length| *length > 0) {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *answer.body_mut() = Outgoing::Whole(None);
    answer
}

/// How far an upload is, as `Range`. Nothing and one byte look alike: so does every registry's answer, since the
/// specification has no word for nothing.
pub(crate) fn received(bytes: u64) -> String {
    format!("0-{}", bytes.saturating_sub(1))
}

/// Where the bytes of a body come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// A stored blob.
    File(Arc<File>),
    /// A blob that is still on its way from the upstream.
    Growing(Arc<Growing>),
}

impl Source {
    /// At least one byte from `offset`, at most `most`.
    async fn read(self, offset: u64, most: usize) -> io::Result<Bytes> {
        match self {
            Self::File(file) => blocking(move || read_at(&file, offset, most)).await,
            Self::Growing(blob) => {
                let (file, most) = blob.wait_for(offset, most).await?;
                blocking(move || read_at(&file, offset, most)).await
            }
        }
    }
}

fn read_at(file: &File, offset: u64, most: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; most];
    let read = file.read_at(&mut buffer, offset)?;
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob is shorter than its record says"));
    }
    buffer.truncate(read);
    Ok(buffer.into())
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// The body of an answer.
pub(crate) enum Outgoing {
    /// In memory.
    Whole(Option<Bytes>),
    /// A part of a blob, read as the client takes it.
    Part {
        /// Where from.
        source: Source,
        /// The next byte.
        offset: u64,
        /// The byte after the last.
        end: u64,
        /// The read under way.
        reading: Option<Reading>,
    },
}

impl Outgoing {
    /// Bytes `offset` to `end` of a blob.
    pub(crate) fn part(source: Source, offset: u64, end: u64) -> Self {
        Self::Part { source, offset, end, reading: None }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Part { offset, end, .. } if offset == end => Poll::Ready(None),
            Self::Part { source, offset, end, reading } => {
                let most = STEP.min(usize::try_from(*end - *offset).unwrap_or(STEP));
                let pending = reading.get_or_insert_with(|| Box::pin(source.clone().read(*offset, most)));
                let result = ready!(pending.as_mut().poll(context));
                *reading = None;
                Poll::Ready(Some(result.map(|bytes| {
                    *offset += bytes.len() as u64;
                    Frame::data(bytes)
                })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Part { offset, end, .. } => offset == end,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Part { offset, end, .. } => end - offset,
        })
    }
}
