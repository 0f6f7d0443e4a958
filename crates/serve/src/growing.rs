//! A blob that is still being written: read by many while it grows.

use fs_err::File;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// A blob of which the first part is on the disk.
#[derive(Debug)]
pub(crate) struct Growing {
    file: Arc<File>,
    size: u64,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Debug)]
enum Progress {
    /// So many bytes are there.
    At(u64),
    /// All, and they are what their digest says.
    Complete,
    /// No more will come.
    Failed(String),
}

impl Growing {
    /// A blob that will have `size` bytes, none of which are in `file` yet.
    pub(crate) fn new(file: File, size: u64) -> Self {
        Self { file: Arc::new(file), size, progress: watch::Sender::new(Progress::At(0)) }
    }

    /// Length of the whole blob in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Notes that the file has so many bytes by now.
    pub(crate) fn reached(&self, length: u64) {
        self.progress.send_replace(Progress::At(length));
    }

    /// Ends it: all bytes are there and verified, or no more will come, and why.
    pub(crate) fn end(&self, outcome: Result<(), String>) {
        self.progress.send_replace(match outcome {
            Ok(()) => Progress::Complete,
            Err(why) => Progress::Failed(why),
        });
    }

    /// Waits until there is something at `offset`: the file, and how much of `most` may be read there. The last byte
    /// is kept back until the whole was verified, so that no client takes a wrong blob for complete.
    pub(crate) async fn wait_for(&self, offset: u64, most: usize) -> io::Result<(Arc<File>, usize)> {
        let mut progress = self.progress.subscribe();
        let settled = progress.wait_for(|progress| match progress {
            Progress::At(have) => (*have).min(self.size.saturating_sub(1)) > offset,
            Progress::Complete | Progress::Failed(_) => true,
        });
        // The sender is in `self`.
        let settled = settled.await.map_err(io::Error::other)?;
        let end = match &*settled {
            Progress::At(have) => (*have).min(self.size.saturating_sub(1)),
            Progress::Complete => self.size,
            Progress::Failed(why) => return Err(io::Error::other(why.clone())),
        };
        let there = usize::try_from(end - offset).unwrap_or(usize::MAX);
        Ok((self.file.clone(), there.min(most)))
    }
}
