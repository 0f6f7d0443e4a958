//! A blob that comes from the upstream: written to the disk once, read by every client that asked for it, at once.

use super::Upstream;
use crate::name::Repository;
use crate::refusal::Refusal;
use crate::registry::Registry;
use fs_err::File;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;
use strata_oci::Digest;
use tempfile::NamedTempFile;
use tokio::sync::watch;

/// Attempts without a single new byte before the download is given up.
const ATTEMPTS: u32 = 4;
/// Before the second attempt; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(250);
const STEP: usize = 256 * 1024;

/// A blob of which the first part is on the disk.
#[derive(Debug)]
pub(crate) struct Download {
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

/// What the thread that fetches needs.
struct Fetch {
    registry: Arc<Registry>,
    upstream: Arc<dyn Upstream>,
    name: Repository,
    digest: Digest,
    staged: NamedTempFile,
    download: Arc<Download>,
}

impl Download {
    /// Asks for the blob and begins to fetch it on a thread of its own. The thread goes on when the clients leave:
    /// they will come back.
    pub(super) fn begin(
        registry: &Arc<Registry>,
        upstream: &Arc<dyn Upstream>,
        name: &Repository,
        digest: &Digest,
    ) -> Result<Option<Arc<Self>>, Refusal> {
        let Some(first) = upstream.blob(name.as_str(), digest, 0)? else { return Ok(None) };
        let staging = registry.storage.staging();
        let staged = tempfile::Builder::new().prefix("download-").tempfile_in(staging)?;
        let file = Arc::new(File::open(staged.path())?);
        let download =
            Arc::new(Self { file, size: first.size, progress: watch::Sender::new(Progress::At(0)) });
        let fetch = Fetch {
            registry: registry.clone(),
            upstream: upstream.clone(),
            name: name.clone(),
            digest: *digest,
            staged,
            download: download.clone(),
        };
        tokio::task::spawn_blocking(move || fetch.run(first.body));
        Ok(Some(download))
    }

    /// Length of the blob.
    pub(crate) fn size(&self) -> u64 {
        self.size
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

impl Fetch {
    fn run(mut self, body: Box<dyn Read + Send>) {
        let outcome = self.all(body);
        // First on the disk, then out of the table, then finished: nobody finds it in neither.
        if let Some(mirror) = &self.registry.mirror {
            mirror.forget(&self.name, &self.digest);
        }
        self.download.progress.send_replace(match outcome {
            Ok(()) => Progress::Complete,
            Err(error) => Progress::Failed(error.to_string()),
        });
    }

    fn all(&mut self, first: Box<dyn Read + Send>) -> Result<(), Refusal> {
        let (mut hash, mut have, mut body) = (Sha256::new(), 0, Some(first));
        let mut failed = 0;
        while have < self.download.size {
            let before = have;
            let error = match self.body(body.take(), have) {
                Ok(mut body) => self.some(&mut body, &mut hash, &mut have).err(),
                Err(error) => Some(error),
            };
            let Some(error) = error else { break };
            failed = if have > before { 0 } else { failed + 1 };
            if failed == ATTEMPTS || !matches!(error, Refusal::Upstream(_)) {
                return Err(error);
            }
            std::thread::sleep(PAUSE * 2_u32.pow(failed));
        }
        let found = Digest::from_bytes(hash.finalize().into());
        if found != self.digest {
            return Err(Refusal::DigestMismatch { expected: self.digest, found });
        }
        Ok(self.registry.storage.add_blob(&self.name, &self.digest, self.staged.path())?)
    }

    fn body(&self, open: Option<Box<dyn Read + Send>>, have: u64) -> Result<Box<dyn Read + Send>, Refusal> {
        if let Some(open) = open {
            return Ok(open);
        }
        let again = self.upstream.blob(self.name.as_str(), &self.digest, have)?;
        Ok(again.ok_or(Refusal::BlobUnknown(self.digest))?.body)
    }

    /// Reads until the blob is complete.
    fn some(&mut self, body: &mut dyn Read, hash: &mut Sha256, have: &mut u64) -> Result<(), Refusal> {
        let mut buffer = vec![0; STEP];
        while *have < self.download.size {
            let read = body.read(&mut buffer).map_err(|error| Refusal::Upstream(error.to_string()))?;
            if read == 0 {
                return Err(Refusal::Upstream("it stopped sending early".to_owned()));
            }
            let length = *have + read as u64;
            if length > self.download.size {
                return Err(Refusal::Length(length, self.download.size));
            }
            self.staged.write_all(&buffer[..read])?;
            hash.update(&buffer[..read]);
            *have = length;
            self.download.progress.send_replace(Progress::At(length));
        }
        Ok(())
    }
}
