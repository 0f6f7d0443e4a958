//! SHA-256 of a stream beside its writing.
use sha2::{Digest, Sha256};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Buffers that may wait for the hashing thread.
const QUEUE: usize = 4;

/// Hashes whole buffers in a thread of its own, because SHA-256 (1.9 GB/s) is the slowest part of making a layer.
/// The thread starts with the first buffer: layers shorter than one never pay for it.
pub(crate) enum StreamHasher {
    /// Nothing pushed yet.
    Idle,
    /// No thread was to be had: slower, not wrong.
    Inline(Sha256),
    /// At work.
    Threaded(Worker),
}

pub(crate) struct Worker {
    full: SyncSender<(Vec<u8>, usize)>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<Sha256>,
}

impl StreamHasher {
    pub(crate) fn new() -> Self {
        Self::Idle
    }

    /// Hashes the first `length` bytes of `buffer` and gives a buffer of the same size back, with any content.
    pub(crate) fn push(&mut self, buffer: Vec<u8>, length: usize) -> Vec<u8> {
        if matches!(self, Self::Idle) {
            *self = Worker::start().map_or_else(|| Self::Inline(Sha256::new()), Self::Threaded);
        }
        match self {
            Self::Threaded(worker) => {
                let size = buffer.len();
                worker.full.send((buffer, length)).expect("the hashing thread ends only after its channel");
                worker.empty.try_recv().unwrap_or_else(|_| vec![0; size])
            }
            Self::Inline(hash) => {
                hash.update(&buffer[..length]);
                buffer
            }
            Self::Idle => unreachable!("left above"),
        }
    }

    /// The digest of everything pushed and then `rest`.
    pub(crate) fn finish(self, rest: &[u8]) -> [u8; 32] {
        let mut hash = match self {
            Self::Idle => Sha256::new(),
            Self::Inline(hash) => hash,
            Self::Threaded(worker) => {
                drop(worker.full);
                worker.thread.join().expect("hashing does not panic")
            }
        };
        hash.update(rest);
        hash.finalize().into()
    }
}

impl Worker {
    fn start() -> Option<Self> {
        let (full, queue) = sync_channel(QUEUE);
        let (back, empty) = channel();
        let thread =
            std::thread::Builder::new().name("sha256".into()).spawn(move || hash_all(&queue, &back)).ok()?;
        Some(Self { full, empty, thread })
    }
}

fn hash_all(queue: &Receiver<(Vec<u8>, usize)>, back: &Sender<Vec<u8>>) -> Sha256 {
    let mut hash = Sha256::new();
    for (buffer, length) in queue {
        hash.update(&buffer[..length]);
        // The other end is gone once it has pushed its last buffer.
        let _ = back.send(buffer);
    }
    hash
}
