//! A layer compressed while it is sent, block by block on several cores, and so that the sending can go on anywhere.
use super::crew::Crew;
use super::recipe::Recipe;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use strata_oci::Digest;

/// The compressed form of a file, made when it is read. Nothing of it is kept but the lengths of its blocks and the
/// hash of what has been read so far: a reader that is told to begin in the middle makes those blocks again.
pub struct Blocks {
    recipe: Recipe,
    file: Arc<File>,
    /// Uncompressed bytes.
    length: u64,
    crew: Crew,
    progress: Arc<Mutex<Progress>>,
}

/// What is known of the compressed bytes, from their beginning on.
struct Progress {
    /// Where each block begins, and at the end where the next one will.
    offsets: Vec<u64>,
    hasher: Sha256,
}

impl Blocks {
    /// The first `length` bytes of `file` compressed by `recipe`, by this crew.
    pub fn new(recipe: Recipe, file: File, length: u64, crew: &Crew) -> Self {
        let progress = Progress { offsets: vec![0], hasher: Sha256::new() };
        Self {
            recipe,
            file: Arc::new(file),
            length,
            crew: crew.clone(),
            progress: Arc::new(Mutex::new(progress)),
        }
    }

    /// Compressed bytes from `offset` on, which must be at most what has been read before.
    ///
    /// # Errors
    /// When `offset` lies beyond everything that was ever read, or a compressor cannot be set up.
    pub fn read_from(&self, offset: u64) -> io::Result<BlockReader> {
        let (first, skip) = {
            let progress = lock(&self.progress);
            let known = *progress.offsets.last().expect("never empty");
            if offset > known {
                let what =
                    format!("byte {offset} of a compressed layer was asked for, but only {known} were made");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            let first = progress.offsets.partition_point(|begin| *begin <= offset) - 1;
            (first, offset - progress.offsets[first])
        };
        let blocks = self.count();
        let shared = Arc::new(Shared {
            state: Mutex::new(State { next: first, wanted: first, ready: BTreeMap::new(), stopped: false }),
            changed: Condvar::new(),
        });
        let threads = self.crew.size().min(blocks.saturating_sub(first));
        let mut reader = BlockReader {
            shared,
            progress: Arc::clone(&self.progress),
            blocks,
            at: first,
            current: Vec::new(),
            position: 0,
            skip,
            threads: Vec::new(),
            crew: self.crew.clone(),
        };
        self.crew.readers_changed(true);
        for _ in 0..threads {
            let job = Job {
                shared: Arc::clone(&reader.shared),
                file: Arc::clone(&self.file),
                crew: self.crew.clone(),
                recipe: self.recipe,
                length: self.length,
                blocks,
            };
            let thread = std::thread::Builder::new().name("compress".into()).spawn(move || job.run())?;
            reader.threads.push(thread);
        }
        Ok(reader)
    }

    /// Digest and length of the whole, once a reader has come to its end.
    pub fn finished(&self) -> Option<(Digest, u64)> {
        let progress = lock(&self.progress);
        let digest = Digest::from_bytes(progress.hasher.clone().finalize().into());
        let length = *progress.offsets.last().expect("never empty");
        (progress.offsets.len() > self.count()).then_some((digest, length))
    }

    /// Uncompressed bytes that `read` compressed ones stand for, about: for showing progress.
    pub fn uncompressed(&self, read: u64) -> u64 {
        let blocks = lock(&self.progress).offsets.partition_point(|begin| *begin <= read) - 1;
        (blocks as u64 * self.recipe.block()).min(self.length)
    }

    /// An empty file has one empty block: nothing at all would be no gzip stream.
    fn count(&self) -> usize {
        self.length.div_ceil(self.recipe.block()).max(1) as usize
    }
}

/// Reads compressed bytes, while threads make them.
pub struct BlockReader {
    shared: Arc<Shared>,
    progress: Arc<Mutex<Progress>>,
    blocks: usize,
    /// The block that `current` comes after.
    at: usize,
    current: Vec<u8>,
    position: usize,
    /// Bytes of the next block that were read long ago.
    skip: u64,
    threads: Vec<JoinHandle<()>>,
    crew: Crew,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The next block that nobody compresses yet.
    next: usize,
    /// The next block that the reader takes.
    wanted: usize,
    ready: BTreeMap<usize, io::Result<Vec<u8>>>,
    stopped: bool,
}

struct Job {
    shared: Arc<Shared>,
    file: Arc<File>,
    crew: Crew,
    recipe: Recipe,
    length: u64,
    blocks: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    fn run(self) {
        while let Some(block) = self.take() {
            let made = self.make(block);
            let mut state = lock(&self.shared.state);
            state.stopped |= made.is_err();
            state.ready.insert(block, made);
            self.shared.changed.notify_all();
        }
    }

    /// The next block to compress, when there is room for it.
    fn take(&self) -> Option<usize> {
        let mut state = lock(&self.shared.state);
        loop {
            if state.stopped || state.next == self.blocks {
                return None;
            }
            if state.next < state.wanted + self.crew.window() {
                state.next += 1;
                return Some(state.next - 1);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn make(&self, block: usize) -> io::Result<Vec<u8>> {
        let begin = block as u64 * self.recipe.block();
        let length = self.recipe.block().min(self.length - begin.min(self.length));
        self.crew.compress(self.recipe, |bytes| {
            bytes.resize(length as usize, 0);
            self.file.read_exact_at(bytes, begin)
        })
    }
}

impl BlockReader {
    /// Waits for the next block, and notes where it ends.
    fn advance(&mut self) -> io::Result<()> {
        let block = {
            let mut state = lock(&self.shared.state);
            loop {
                if let Some(made) = state.ready.remove(&self.at) {
                    state.wanted = self.at + 1;
                    self.shared.changed.notify_all();
                    break made?;
                }
                if state.stopped && state.next <= self.at {
                    // Another block failed before anybody took this one.
                    let failed = state.ready.values_mut().find(|made| made.is_err());
                    let stopped = || Err(io::Error::other("compression was stopped"));
                    return failed
                        .map_or_else(stopped, |made| std::mem::replace(made, Ok(Vec::new())).map(drop));
                }
                state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let mut progress = lock(&self.progress);
        if progress.offsets.len() == self.at + 1 {
            let end = progress.offsets[self.at] + block.len() as u64;
            progress.offsets.push(end);
            progress.hasher.update(&block);
        }
        self.at += 1;
        self.current = block;
        self.position = std::mem::take(&mut self.skip) as usize;
        Ok(())
    }
}

impl Read for BlockReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position >= self.current.len() {
            if self.at == self.blocks {
                return Ok(0);
            }
            self.advance()?;
        }
        let left = &self.current[self.position..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.position += count;
        Ok(count)
    }
}

impl Drop for BlockReader {
    fn drop(&mut self) {
        self.crew.readers_changed(false);
        lock(&self.shared.state).stopped = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // It only compresses, and does not panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    /// Several blocks that compress, the last one short.
    fn sample() -> Vec<u8> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 59) as u8 + b'a'
        };
        (0..5_300_000).map(|_| next()).collect()
    }

    fn all(blocks: &Blocks, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        blocks.read_from(offset).expect("begun").read_to_end(&mut bytes).expect("read");
        bytes
    }

    fn recipes() -> [Recipe; 4] {
        [("gzip", None), ("gzip", Some(1)), ("zstd", None), ("uncompressed", None)]
            .map(|(name, level)| Recipe::new(name, level).expect("a recipe"))
    }

    #[test]
    fn the_same_bytes_on_any_number_of_threads() {
        let plain = sample();
        for recipe in recipes() {
            let make = |threads| {
                let blocks = Blocks::new(recipe, file(&plain), plain.len() as u64, &Crew::new(threads));
                assert_eq!(blocks.finished(), None);
                let bytes = all(&blocks, 0);
                let (digest, length) = blocks.finished().expect("read to the end");
                assert_eq!((digest, length), (Digest::of(&bytes), bytes.len() as u64), "{recipe}");
                assert_eq!(blocks.uncompressed(length), plain.len() as u64);
                bytes
            };
            let bytes = make(1);
            assert!(bytes == make(3), "{recipe}");
            let mut inflated = Vec::new();
            crate::compression::decompress(Box::new(&bytes[..]))
                .expect("known")
                .read_to_end(&mut inflated)
                .expect("sound");
            assert!(inflated == plain, "{recipe}");
        }
    }

    #[test]
    fn it_goes_on_anywhere_that_was_read() {
        let plain = sample();
        for recipe in recipes() {
            let whole = all(&Blocks::new(recipe, file(&plain), plain.len() as u64, &Crew::new(2)), 0);
            let blocks = Blocks::new(recipe, file(&plain), plain.len() as u64, &Crew::new(2));
            assert!(blocks.read_from(1).is_err(), "never read");
            let mut first = vec![0; whole.len() / 2];
            blocks.read_from(0).expect("begun").read_exact(&mut first).expect("half of it");
            for offset in [0, 1, first.len() - 1, first.len()] {
                assert!(all(&blocks, offset as u64) == whole[offset..], "{recipe} from {offset}");
            }
            assert!(all(&blocks, whole.len() as u64).is_empty());
            assert_eq!(blocks.finished().expect("read to the end").0, Digest::of(&whole));
        }
    }

    #[test]
    fn nothing_and_less_than_was_promised() {
        for recipe in recipes() {
            let blocks = Blocks::new(recipe, file(b""), 0, &Crew::new(4));
            let bytes = all(&blocks, 0);
            assert_eq!(blocks.finished().expect("read").1, bytes.len() as u64);
            assert_eq!(bytes.is_empty(), recipe.compression() == crate::compression::Compression::None);
            let short = Blocks::new(recipe, file(b"short"), 3_000_000, &Crew::new(2));
            let error = short.read_from(0).expect("begun").read_to_end(&mut Vec::new()).expect_err("cut off");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_crew_of_one_serves_several_layers() {
        let plain = sample();
        let crew = Crew::new(1);
        std::thread::scope(|scope| {
            for recipe in recipes() {
                let blocks = Blocks::new(recipe, file(&plain), plain.len() as u64, &crew);
                scope.spawn(move || {
                    assert_eq!(Digest::of(&all(&blocks, 0)), blocks.finished().expect("read").0)
                });
            }
        });
    }

    #[test]
    fn an_abandoned_reader_leaves_no_thread() {
        let plain = sample();
        let blocks = Blocks::new(Recipe::default(), file(&plain), plain.len() as u64, &Crew::new(4));
        let mut reader = blocks.read_from(0).expect("begun");
        reader.read_exact(&mut [0; 10]).expect("read");
        let shared = Arc::downgrade(&reader.shared);
        drop(reader);
        assert_eq!(shared.strong_count(), 0);
    }

    /// A digest that moves means that layers pushed before have another one now: then `REVISION` needs one more.
    #[test]
    fn recipes_are_what_they_were() {
        let plain = sample();
        let digests = recipes().map(|recipe| {
            let blocks = Blocks::new(recipe, file(&plain), plain.len() as u64, &Crew::new(2));
            let bytes = all(&blocks, 0);
            format!("{recipe} {} {}", bytes.len(), Digest::of(&bytes).short())
        });
        assert_eq!(digests, GOLDEN);
        for recipe in recipes() {
            assert_eq!(recipe.to_string().parse(), Ok(recipe));
        }
        assert!("gzip-5.0".parse::<Recipe>().is_err(), "another revision");
        assert!(Recipe::new("gzip", Some(10)).is_err() && Recipe::new("zstd", Some(0)).is_err());
        assert!(Recipe::new("xz", None).is_err());
    }

    const GOLDEN: [&str; 4] = [
        "gzip-5.1 3331316 58763a6e7d84",
        "gzip-1.1 3362979 eb0174701ab5",
        "zstd-3.1 3313444 1d62cd23cffc",
        "uncompressed 5300000 f6e440998954",
    ];
}
