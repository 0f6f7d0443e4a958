//! Uploads under way: where each one is, how much of it came, and the hash so far.
//!
//! The bytes are in a file of the repository, so an upload outlives the server. What is in memory can be made again
//! from the file: the hash, and with it the length that counts.

use crate::name::Repository;
use crate::refusal::Refusal;
use crate::storage::{Storage, directory};
use crate::threads::blocking;
use fs_err::File;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use strata_oci::Digest;
use tokio::sync::{OwnedMutexGuard, watch};

/// After so long without a request an upload is forgotten by the memory. Its file stays.
const MEMORY: Duration = Duration::from_secs(10 * 60);

/// All uploads that were asked for of late.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    known: Mutex<HashMap<String, Arc<Session>>>,
}

/// One upload.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its name in URLs.
    pub(crate) id: String,
    /// Whose blob it is to be.
    pub(crate) repository: Repository,
    /// The bytes so far.
    pub(crate) path: PathBuf,
    /// `None` until the first request after a start, and after a request that failed half way.
    progress: Arc<tokio::sync::Mutex<Option<Progress>>>,
    received: AtomicU64,
    /// Counts the requests that wanted to write. Only the newest does.
    writers: watch::Sender<u64>,
    asked: Mutex<Instant>,
}

/// What was hashed and written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Over all bytes so far.
    pub(crate) hash: Sha256,
    /// Their number.
    pub(crate) length: u64,
}

/// The right to write, until a newer request wants it.
pub(crate) struct Claim {
    pub(crate) session: Arc<Session>,
    progress: OwnedMutexGuard<Option<Progress>>,
    number: u64,
    writers: watch::Receiver<u64>,
}

impl Sessions {
    /// Begins an upload.
    pub(crate) fn begin(&self, storage: &Storage, repository: &Repository) -> Result<Arc<Session>, Refusal> {
        let id = random_id()?;
        let directory_of = storage.uploads(repository);
        let path = directory_of.join(&id);
        // The collector, which removes empty directories, waits until the file is there.
        let publishing = storage.publishing()?;
        directory(&directory_of)?;
        File::create_new(&path)?;
        drop(publishing);
        let session = Session::new(id, repository, path, Some(Progress::default()));
        self.remember(session)
    }

    /// Looks for an upload, in memory or left by an earlier run of the server.
    pub(crate) fn find(
        &self,
        storage: &Storage,
        repository: &Repository,
        id: &str,
    ) -> Result<Arc<Session>, Refusal> {
        let unknown = || Refusal::UploadUnknown(id.to_owned());
        if let Some(session) = self.lock().get(id) {
            *session.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            return if session.repository == *repository { Ok(session.clone()) } else { Err(unknown()) };
        }
        let path = storage.uploads(repository).join(id);
        let length = match fs_err::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(unknown()),
            other => other?.len(),
        };
        let session = Session::new(id.to_owned(), repository, path, None);
        session.received.store(length, Ordering::Release);
        self.remember(session)
    }

    fn remember(&self, session: Session) -> Result<Arc<Session>, Refusal> {
        let mut known = self.lock();
        let recent = |session: &Arc<Session>| {
            let asked = session.asked.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever holds a session besides this table works on it.
            Arc::strong_count(session) > 1 || asked.elapsed() < MEMORY
        };
        known.retain(|_, session| recent(session));
        // Two requests may have found the file at once: they share what the first of them remembered.
        Ok(known.entry(session.id.clone()).or_insert_with(|| Arc::new(session)).clone())
    }

    /// Ends an upload: a request for it will find nothing.
    pub(crate) fn end(&self, session: &Session) -> Result<(), Refusal> {
        self.lock().remove(&session.id);
        match fs_err::remove_file(&session.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn new(id: String, repository: &Repository, path: PathBuf, progress: Option<Progress>) -> Self {
        Self {
            id,
            repository: repository.clone(),
            path,
            progress: Arc::new(tokio::sync::Mutex::new(progress)),
            received: AtomicU64::new(0),
            writers: watch::Sender::new(0),
            asked: Mutex::new(Instant::now()),
        }
    }

    /// Bytes that came and count.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Where the client goes on.
    pub(crate) fn location(&self) -> String {
        format!("/v2/{}/blobs/uploads/{}", self.repository, self.id)
    }

    /// Takes the right to write. A request that has it gives up: its client went away and came back.
    pub(crate) async fn claim(self: Arc<Self>) -> Result<Claim, Refusal> {
        let mut number = 0;
        self.writers.send_modify(|count| {
            *count += 1;
            number = *count;
        });
        let writers = self.writers.subscribe();
        let mut progress = self.progress.clone().lock_owned().await;
        if progress.is_none() {
            let path = self.path.clone();
            let again = blocking(move || hash_again(path)).await?;
            self.received.store(again.length, Ordering::Release);
            *progress = Some(again);
        }
        Ok(Claim { session: self, progress, number, writers })
    }
}

impl Claim {
    /// Takes the progress out. If it is not given back, the next request reads the file again.
    pub(crate) fn take(&mut self) -> Progress {
        self.progress.take().expect("a claim has its progress unless it was taken")
    }

    /// Notes how far the upload is.
    pub(crate) fn give_back(&mut self, progress: Progress) {
        self.session.received.store(progress.length, Ordering::Release);
        *self.progress = Some(progress);
    }

    /// The digest of all that came.
    pub(crate) fn digest(&self) -> Digest {
        let hash = self.progress.as_ref().map(|progress| progress.hash.clone()).unwrap_or_default();
        Digest::from_bytes(hash.finalize().into())
    }

    /// Ends when a newer request wants to write.
    pub(crate) async fn superseded(&mut self) {
        let number = self.number;
        // The sender lives as long as the session, which the claim holds.
        let _ = self.writers.wait_for(|newest| *newest > number).await;
    }
}

fn hash_again(path: PathBuf) -> Result<Progress, Refusal> {
    let mut file = File::open(path)?;
    let mut progress = Progress::default();
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(progress);
        }
        progress.hash.update(&buffer[..read]);
        progress.length += read as u64;
    }
}

/// Nobody can guess another client's upload.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
