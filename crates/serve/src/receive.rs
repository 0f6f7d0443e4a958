//! Bodies on their way in: bounded in memory, hashed and written while more of them comes.

use crate::refusal::Refusal;
use crate::sessions::{Claim, Progress};
use fs_err::File;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use sha2::Digest as _;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A client that sends nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(60);

/// Bytes gathered before a thread hashes and writes them. Two such batches per upload are in memory at most: one being
/// written, one being received.
const BATCH: usize = 512 * 1024;

/// Unwanted bytes that are read all the same, so that the client is done sending and reads the answer.
const POLITE: usize = 4 * 1024 * 1024;

/// Appends a body to an upload. What came before a cut stays and counts: the client asks how much it was, and goes on.
///
/// `room` is the number of bytes that may come, where the client announced it.
pub(crate) async fn append(claim: &mut Claim, mut body: Incoming, room: Option<u64>) -> Result<(), Refusal> {
    let mut writing = Writing::new(claim)?;
    let begin = writing.length;
    let outcome = loop {
        let frame = tokio::select! {
            biased;
            () = claim.superseded() => break Err(Refusal::Superseded),
            frame = tokio::time::timeout(IDLE, body.frame()) => frame,
        };
        let data = match frame {
            Err(_) => break Err(Refusal::Idle(IDLE.as_secs())),
            Ok(None) => break Ok(()),
            Ok(Some(Err(error))) => break Err(cut(&error)),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        let length = writing.length + data.len() as u64 - begin;
        if let Some(room) = room.filter(|room| length > *room) {
            break Err(Refusal::Length(length, room));
        }
        writing.push(data).await?;
    };
    let progress = writing.finish().await?;
    let length = progress.length - begin;
    claim.give_back(progress);
    outcome?;
    match room {
        Some(room) if length < room => Err(Refusal::Length(length, room)),
        _ => Ok(()),
    }
}

/// A batch being filled, and the one before it being written.
struct Writing {
    filling: Vec<Bytes>,
    filled: usize,
    length: u64,
    pending: JoinHandle<Result<(File, Progress), Refusal>>,
}

impl Writing {
    fn new(claim: &mut Claim) -> Result<Self, Refusal> {
        let progress = claim.take();
        let length = progress.length;
        let path = claim.session.path.clone();
        let pending = tokio::task::spawn_blocking(move || {
            let mut file = fs_err::OpenOptions::new().write(true).open(path)?;
            // A failed write may have left bytes that were never counted.
            file.set_len(progress.length)?;
            file.seek(SeekFrom::Start(progress.length))?;
            Ok((file, progress))
        });
        Ok(Self { filling: Vec::new(), filled: 0, length, pending })
    }

    async fn push(&mut self, data: Bytes) -> Result<(), Refusal> {
        self.length += data.len() as u64;
        self.filled += data.len();
        self.filling.push(data);
        if self.filled >= BATCH { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Refusal> {
        let (mut file, mut progress) = joined(&mut self.pending).await?;
        let batch = std::mem::take(&mut self.filling);
        self.filled = 0;
        self.pending = tokio::task::spawn_blocking(move || {
            for data in batch {
                file.write_all(&data)?;
                progress.hash.update(&data);
                progress.length += data.len() as u64;
            }
            Ok((file, progress))
        });
        Ok(())
    }

    async fn finish(mut self) -> Result<Progress, Refusal> {
        self.flush().await?;
        Ok(joined(&mut self.pending).await?.1)
    }
}

async fn joined(
    handle: &mut JoinHandle<Result<(File, Progress), Refusal>>,
) -> Result<(File, Progress), Refusal> {
    handle.await.map_err(std::io::Error::other)?
}

/// A small body as a whole, at most `limit` bytes.
pub(crate) async fn whole(body: Incoming, limit: u64) -> Result<Bytes, Refusal> {
    let bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    if body.size_hint().lower() > limit {
        discard(body).await;
        return Err(Refusal::ManifestTooLarge(limit));
    }
    match tokio::time::timeout(IDLE, Limited::new(body, bytes).collect()).await {
        Err(_) => Err(Refusal::Idle(IDLE.as_secs())),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::ManifestTooLarge(limit)),
        Ok(Err(error)) => Err(Refusal::Cut(error.to_string())),
    }
}

/// Reads on for a while: a client that is cut off while it sends may never see why.
pub(crate) async fn discard(mut body: Incoming) {
    let mut read = 0;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > POLITE {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), all).await;
}

fn cut(error: &hyper::Error) -> Refusal {
    Refusal::Cut(error.to_string())
}
