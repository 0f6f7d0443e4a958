//! A blob that comes from the upstream: written to the disk once, read by every client that asked for it, at once.

use super::{Room, Running, Upstream};
use crate::growing::Growing;
use crate::name::Repository;
use crate::refusal::Refusal;
use crate::storage::Storage;
use fs_err::File;
use sha2::{Digest as _, Sha256};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;
use strata_oci::Digest;
use tempfile::NamedTempFile;

/// Attempts without a single new byte before the download is given up.
const ATTEMPTS: u32 = 4;
/// Before the second attempt; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(250);
const STEP: usize = 256 * 1024;

/// What the thread that fetches needs.
pub(super) struct Download {
    pub(super) storage: Storage,
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) running: Arc<Running>,
    pub(super) room: Arc<Room>,
    pub(super) name: Repository,
    pub(super) digest: Digest,
}

/// A download that has begun.
struct Begun {
    download: Download,
    staged: NamedTempFile,
    blob: Arc<Growing>,
}

impl Download {
    /// Asks for the blob and begins to fetch it on a thread of its own. The thread goes on when the clients leave:
    /// they will come back. `None`: the upstream does not have it.
    pub(super) fn begin(self) -> Result<Option<Arc<Growing>>, Refusal> {
        let Some(first) = self.upstream.blob(self.name.as_str(), &self.digest, 0)? else { return Ok(None) };
        let staged = tempfile::Builder::new().prefix("download-").tempfile_in(self.storage.staging())?;
        let blob = Arc::new(Growing::new(File::open(staged.path())?, first.size));
        let begun = Begun { download: self, staged, blob: blob.clone() };
        tokio::task::spawn_blocking(move || begun.run(first.body));
        Ok(Some(blob))
    }
}

impl Begun {
    fn run(mut self, body: Box<dyn Read + Send>) {
        let outcome = self.all(body);
        // First on the disk, then out of the table, then finished: nobody finds it in neither.
        self.download.running.forget(&self.download.name, &self.download.digest);
        let complete = outcome.is_ok();
        self.blob.end(outcome.map_err(|error| error.to_string()));
        if complete {
            // Nobody waits for this. What fails now is tried again with the next blob.
            let _ = self.download.room.make(&self.download.storage, self.blob.size());
        }
    }

    fn all(&mut self, first: Box<dyn Read + Send>) -> Result<(), Refusal> {
        let (mut hash, mut have, mut body) = (Sha256::new(), 0, Some(first));
        let mut failed = 0;
        while have < self.blob.size() {
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
        let Download { storage, name, digest, .. } = &self.download;
        let found = Digest::from_bytes(hash.finalize().into());
        if found != *digest {
            return Err(Refusal::DigestMismatch { expected: *digest, found });
        }
        Ok(storage.add_blob(name, digest, self.staged.path())?)
    }

    fn body(&self, open: Option<Box<dyn Read + Send>>, have: u64) -> Result<Box<dyn Read + Send>, Refusal> {
        if let Some(open) = open {
            return Ok(open);
        }
        let Download { upstream, name, digest, .. } = &self.download;
        let again = upstream.blob(name.as_str(), digest, have)?;
        Ok(again.ok_or(Refusal::BlobUnknown(*digest))?.body)
    }

    /// Reads until the blob is complete.
    fn some(&mut self, body: &mut dyn Read, hash: &mut Sha256, have: &mut u64) -> Result<(), Refusal> {
        let size = self.blob.size();
        let mut buffer = vec![0; STEP];
        while *have < size {
            let read = body.read(&mut buffer).map_err(|error| Refusal::Upstream(error.to_string()))?;
            if read == 0 {
                return Err(Refusal::Upstream("it stopped sending early".to_owned()));
            }
            let length = *have + read as u64;
            if length > size {
                return Err(Refusal::Length(length, size));
            }
            self.staged.write_all(&buffer[..read])?;
            hash.update(&buffer[..read]);
            *have = length;
            self.blob.reached(length);
        }
        Ok(())
    }
}
