//! Files that are read together: neighbours in the new layer, which lie side by side in an earlier layer's tar, too.
use crate::tree::{Entry, Place, SourceTree};
use crate::{ContentDigest, LayerError};
use rustix::fs::Advice;
use std::fs::File;
use std::io::Read;
use std::iter::Peekable;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Files up to this size are read whole.
const WHOLE: u64 = 1 << 20;
/// Files and bytes of a batch: enough that what a batch costs by itself does not count, few enough that a hundred files
/// keep all readers busy.
const MOST_FILES: usize = 32;
const MOST_BYTES: u64 = 256 << 10;
/// What a file that waits costs besides its bytes: less, but a thousand tiny ones that wait are enough, too.
const OVERHEAD: u64 = 2 << 10;
/// Between the contents of two members that follow each other there are only headers. More is not read in passing.
const GAP: u64 = 4 << 10;
/// As large as the kernel's units of a file's cached content get.
const LARGEST_FOLIO: u64 = 2 << 20;

/// A file to read.
pub(super) struct Job<'a> {
    pub(super) tree: &'a dyn SourceTree,
    pub(super) path: Vec<u8>,
    pub(super) entry: Entry,
    /// What the key was made from.
    pub(super) digest: Option<ContentDigest>,
    /// A copy of it.
    pub(super) place: Option<Place>,
}

/// What the writer gets.
pub(super) enum Content<'b> {
    /// The bytes and their digest.
    Whole(&'b [u8], ContentDigest),
    /// Too large: open the file yourself.
    Stream,
}

/// The same, while it waits.
enum Found {
    /// Where in the batch's bytes.
    Whole(Range<usize>, ContentDigest),
    Stream,
}

/// Consecutive files.
#[derive(Default)]
pub(super) struct Batch<'a> {
    jobs: Vec<Job<'a>>,
    found: Vec<Result<Found, LayerError>>,
    cost: u64,
    /// Of which the first `filled` are contents.
    bytes: Vec<u8>,
    filled: usize,
    /// What was read of an earlier layer's tar.
    copies: Option<(Arc<File>, Range<u64>)>,
}

impl<'a> Batch<'a> {
    /// What a batch that begins with this job may cost, in bytes.
    pub(super) fn most_cost(first: &Job<'_>) -> u64 {
        first.cost().max(MOST_BYTES)
    }

    /// The next jobs: at least one if there is one. They are read into `bytes`, whatever that holds.
    pub(super) fn gather(jobs: &mut Peekable<impl Iterator<Item = Job<'a>>>, bytes: Vec<u8>) -> Self {
        let mut batch = Self { bytes, ..Self::default() };
        while let Some(cost) = jobs.peek().map(Job::cost) {
            let has_room = batch.jobs.len() < MOST_FILES && batch.cost + cost <= MOST_BYTES;
            if !has_room && !batch.jobs.is_empty() {
                break;
            }
            batch.cost += cost;
            batch.jobs.extend(jobs.next());
        }
        batch
    }

    /// Bytes that count against what may wait.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    /// True when everything was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Reads the files; the next to be taken stands last from then on.
    pub(super) fn read(&mut self) {
        let jobs = std::mem::take(&mut self.jobs);
        self.found.reserve_exact(jobs.len());
        let mut rest = &jobs[..];
        while !rest.is_empty() {
            let (run, others) = rest.split_at(side_by_side(rest));
            let copies = self.read_copies(run);
            for job in run {
                let copy = copies.as_ref().and_then(|(tar, begin)| self.copy_of(job, tar, *begin));
                let found = copy.map_or_else(|| self.read_file(job), Ok);
                self.found.push(found);
            }
            rest = others;
        }
        self.jobs = jobs;
        self.jobs.reverse();
        self.found.reverse();
    }

    /// The next job and its content; `None` after the last.
    pub(super) fn take(&mut self) -> Option<(Job<'a>, Result<Content<'_>, LayerError>)> {
        let job = self.jobs.pop()?;
        let found = self.found.pop().expect("a batch is taken from after it was read");
        let content = found.map(|found| match found {
            Found::Whole(range, digest) => Content::Whole(&self.bytes[range], digest),
            Found::Stream => Content::Stream,
        });
        Some((job, content))
    }

    /// To be called when everything before and in this batch was read: the earlier layer's tar, which the new one takes
    /// the place of, makes room for it. The new one then is written into memory that is at hand, of which there is none
    /// cheaper, and a build does not fill the memory with a copy of the context each time.
    ///
    /// Gives back the buffer.
    pub(super) fn release(self) -> Vec<u8> {
        if let Some((tar, range)) = self.copies {
            // The units that begin before the range were needed until now.
            let begin = range.start.saturating_sub(LARGEST_FOLIO);
            // Where the kernel will not, it keeps more than it has to.
            let _ = rustix::fs::fadvise(&tar, begin, NonZeroU64::new(range.end - begin), Advice::DontNeed);
        }
        self.bytes
    }

    /// Room for so many bytes more: where it begins.
    fn reserve(&mut self, length: u64) -> usize {
        let begin = self.filled;
        self.filled += usize::try_from(length).expect("at most a megabyte and headers");
        if self.bytes.len() < self.filled {
            self.bytes.resize(self.filled, 0);
        }
        begin
    }

    /// Reads the copies of files that lie side by side: the range of the tar, and where its bytes begin here. `None` if
    /// there are none any more.
    fn read_copies(&mut self, run: &[Job<'_>]) -> Option<(Range<u64>, usize)> {
        let (first, last) = (run.first()?, run.last()?);
        let range = first.copy()?.1.start..last.copy()?.1.end;
        let tar = first.tree.tar_of(first.place?)?;
        let begin = self.reserve(range.end - range.start);
        tar.read_exact_at(&mut self.bytes[begin..self.filled], range.start).ok()?;
        self.copies = match self.copies.take() {
            Some((same, before)) if Arc::ptr_eq(&same, &tar) && before.start <= range.start => {
                Some((same, before.start..range.end.max(before.end)))
            }
            _ => Some((tar, range.clone())),
        };
        Some((range, begin))
    }

    /// The copy of a file that looks as it did when it was copied. `None` if it does not have this content: then the
    /// file itself is read.
    fn copy_of(&self, job: &Job<'_>, tar: &Range<u64>, begin: usize) -> Option<Found> {
        let (digest, (_, copy)) = (job.digest?, job.copy()?);
        let at = |offset: u64| begin + usize::try_from(offset - tar.start).expect("read into memory");
        let range = at(copy.start)..at(copy.end);
        (blake3::hash(&self.bytes[range.clone()]).as_bytes() == &digest.0)
            .then_some(Found::Whole(range, digest))
    }

    fn read_file(&mut self, job: &Job<'_>) -> Result<Found, LayerError> {
        let size = job.entry.metadata.size;
        if size > WHOLE {
            return Ok(Found::Stream);
        }
        let range = self.reserve(size)..self.filled;
        let bytes = &mut self.bytes[range.clone()];
        job.tree.open(&job.path, &job.entry)?.read_exact(bytes)?;
        let digest = ContentDigest(*blake3::hash(bytes).as_bytes());
        Ok(Found::Whole(range, digest))
    }
}

impl Job<'_> {
    fn cost(&self) -> u64 {
        let size = self.entry.metadata.size;
        OVERHEAD + if size <= WHOLE { size } else { 0 }
    }

    /// Number of the layer that has a copy, and where in its tar; nothing for what is not read whole.
    fn copy(&self) -> Option<(u16, Range<u64>)> {
        let size = self.entry.metadata.size;
        let place = self.place.filter(|_| self.digest.is_some() && size <= WHOLE)?;
        Some((place.layer(), place.offset()..place.offset() + size))
    }

    /// Whether a copy of `next` follows that of this one.
    fn is_before(&self, next: &Job<'_>) -> bool {
        let (Some((layer, copy)), Some((other, after))) = (self.copy(), next.copy()) else { return false };
        let same = std::ptr::addr_eq(self.tree, next.tree) && layer == other;
        same && (copy.end..=copy.end + GAP).contains(&after.start)
    }
}

/// How many of the jobs, of which there is one, have their copies side by side.
fn side_by_side(jobs: &[Job<'_>]) -> usize {
    1 + jobs.windows(2).take_while(|pair| pair[0].is_before(&pair[1])).count()
}
