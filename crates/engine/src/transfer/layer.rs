//! One layer: network, file, inflating, tar, index.
use super::documents::registry_error;
use super::growing::{Growing, Growth};
use super::source::LayerSource;
use super::{Progress, Status, TransferError, TransferEvents};
use crate::EngineError;
use sha2::{Digest as _, Sha256};
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use strata_layer::compression::decompress;
use strata_layer::{Contents, LayerError, LayerInfo, Limits, ingest};
use strata_oci::{Descriptor, DiffId, Digest};
use strata_store::{Blobs, Download, Downloads, Ingest, Layers, Lease, RemoteBlob, Store, StoreError};

/// Bytes taken from the network at once.
const BUFFER: usize = 256 << 10;
/// How often somebody who waits for another command's download looks.
const LOOK: Duration = Duration::from_millis(20);
/// What may be unpacked of any blob, however small: an image's worth of zeros is no bomb yet.
const HARMLESS: u64 = 512 << 20;

/// Fetches layers from one place into the store.
#[derive(Clone)]
pub(crate) struct Fetcher<'a> {
    layers: Layers,
    blobs: Blobs,
    downloads: Downloads,
    pub(super) lease: Lease,
    source: Arc<dyn LayerSource + 'a>,
    /// How many times its length a blob may unpack to, beyond [`HARMLESS`]; 0: any number.
    max_inflation: u64,
}

/// A layer of an image, with what lies below it.
pub(super) struct Wanted<'a> {
    pub(super) layer: &'a Descriptor,
    pub(super) diff_id: DiffId,
    pub(super) below: &'a [DiffId],
}

/// Why a layer is not here yet.
enum Fault {
    /// What came is not the layer: nothing of it is worth keeping.
    Content(Box<EngineError>),
    /// Anything else: what came is a beginning.
    Other(Box<EngineError>),
}

impl Fault {
    /// A registry that sends something of another size, or what it says is something else, has not sent a beginning.
    fn of_registry(error: EngineError) -> Self {
        use strata_registry::Error::{DigestMismatch, SizeMismatch};
        match &error {
            EngineError::Registry(said) if matches!(**said, SizeMismatch { .. } | DigestMismatch { .. }) => {
                Self::Content(Box::new(error))
            }
            _ => Self::Other(Box::new(error)),
        }
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::Other(Box::new(error))
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Other(Box::new(error.into()))
    }
}

/// What the network's end of the pipeline came to.
enum Came {
    /// All of it, with this digest.
    All(Digest),
    /// The other end wanted no more.
    Unwanted,
}

impl<'a> Fetcher<'a> {
    pub(crate) fn new(
        store: &Store,
        lease: Lease,
        source: impl LayerSource + 'a,
        max_inflation: u64,
    ) -> Self {
        let (layers, blobs) = (store.layers().clone(), store.blobs().clone());
        let downloads = store.downloads().clone();
        Self { layers, blobs, downloads, lease, source: Arc::new(source), max_inflation }
    }

    /// Fetches a layer that is not here, or waits for whoever is fetching it.
    pub(super) fn fetch(
        &self,
        wanted: &Wanted<'_>,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), EngineError> {
        let id = wanted.layer.digest.short();
        let tell = |status: Status<'_>| events(Progress::Layer { id: &id, status });
        if let Some(mut download) = self.claim(wanted, &tell, cancel)? {
            self.stream_twice(wanted, &mut download, &tell, cancel)?;
            download.finish()?;
        }
        tell(Status::PullComplete);
        Ok(())
    }

    /// Takes the blob in hand; `None` when the layer has come by the hands of another.
    fn claim(
        &self,
        wanted: &Wanted<'_>,
        tell: &dyn Fn(Status<'_>),
        cancel: &AtomicBool,
    ) -> Result<Option<Download>, EngineError> {
        let mut waiting = false;
        loop {
            let download = self.downloads.begin(&wanted.layer.digest)?;
            if self.layers.layer(&wanted.diff_id)?.is_some() {
                // A leftover of a pull that found the layer in another form later.
                download.map_or(Ok(()), Download::finish)?;
                return Ok(None);
            }
            if download.is_some() {
                return Ok(download);
            }
            if !std::mem::replace(&mut waiting, true) {
                tell(Status::Waiting);
            }
            check(cancel)?;
            std::thread::sleep(LOOK);
        }
    }

    /// Once more from the beginning if what an earlier command left turns out not to be the blob's beginning: a power
    /// cut may have taken bytes that were never written out.
    fn stream_twice(
        &self,
        wanted: &Wanted<'_>,
        download: &mut Download,
        tell: &(dyn Fn(Status<'_>) + Sync),
        cancel: &AtomicBool,
    ) -> Result<(), EngineError> {
        loop {
            if download.length() > wanted.layer.size {
                download.restart()?;
            }
            let resumed = download.length() > 0;
            match self.stream(wanted, download, tell, cancel) {
                Ok(()) => return Ok(()),
                Err(Fault::Content(error)) => {
                    download.restart()?;
                    if !resumed {
                        return Err(*error);
                    }
                }
                Err(Fault::Other(error)) => {
                    if error.is_disk_full() {
                        // Room for somebody else is worth more now than a beginning.
                        download.restart()?;
                    }
                    return Err(*error);
                }
            }
        }
    }

    fn stream(
        &self,
        wanted: &Wanted<'_>,
        download: &mut Download,
        tell: &(dyn Fn(Status<'_>) + Sync),
        cancel: &AtomicBool,
    ) -> Result<(), Fault> {
        let staged = self.layers.begin(&self.lease)?;
        let growth = Growth::default();
        let file = download.reader()?;
        let (came, unpacked) = std::thread::scope(|scope| {
            let unpacking = std::thread::Builder::new()
                .name("unpack".into())
                .spawn_scoped(scope, || self.unpack(wanted, file, &growth, &staged, tell))
                .map_err(EngineError::from)?;
            let came = self.download(wanted, download, &growth, tell, cancel);
            growth.end(matches!(came, Ok(Came::All(_))));
            let unpacked = unpacking.join().expect("unpacking does not panic");
            Ok::<_, EngineError>((came, unpacked))
        })?;
        let blob = wanted.layer;
        let repository = || self.source.name();
        match came.map_err(Fault::of_registry)? {
            Came::All(found) if found != blob.digest => {
                let expected = blob.digest;
                return Err(content(TransferError::WrongDigest {
                    repository: repository(),
                    expected,
                    found,
                }));
            }
            Came::All(_) | Came::Unwanted => {}
        }
        let (info, contents) = unpacked?;
        if info.diff_id != wanted.diff_id {
            let (expected, found) = (Box::new(wanted.diff_id), Box::new(info.diff_id));
            let digest = blob.digest;
            return Err(content(TransferError::WrongDiffId {
                repository: repository(),
                digest,
                expected,
                found,
            }));
        }
        staged.commit(info, &contents, wanted.below)?;
        let Some(repository) = self.source.repository() else { return Ok(()) };
        let seen = RemoteBlob {
            digest: blob.digest,
            length: blob.size,
            media_type: blob.media_type.clone(),
            repository: repository.to_string(),
        };
        Ok(self.blobs.remember_remote(&wanted.diff_id, &seen)?)
    }

    /// The network's end: what is here is hashed, what is missing is fetched, hashed and appended.
    fn download(
        &self,
        wanted: &Wanted<'_>,
        download: &mut Download,
        growth: &Growth,
        tell: &dyn Fn(Status<'_>),
        cancel: &AtomicBool,
    ) -> Result<Came, EngineError> {
        let total = wanted.layer.size;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BUFFER];
        let mut here = download.reader()?.take(download.length());
        loop {
            match here.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        growth.grown(download.length());
        if download.length() < total {
            let mut blob = self.source.open(wanted.layer, download.length())?;
            while download.length() < total {
                let count = match blob.read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    read => read.map_err(registry_error)?,
                };
                if count == 0 {
                    break;
                }
                download.append(&buffer[..count])?;
                hasher.update(&buffer[..count]);
                if !growth.grown(download.length()) {
                    return Ok(Came::Unwanted);
                }
                check(cancel)?;
                tell(Status::Downloading { done: download.length(), total });
            }
            // Whoever sends more than was declared is told so by the reader, at the end.
            blob.read(&mut buffer[..1]).map_err(registry_error)?;
        }
        tell(Status::DownloadComplete);
        Ok(Came::All(Digest::from_bytes(hasher.finalize().into())))
    }

    /// The disk's end: inflates, writes, hashes and indexes what has come so far, as it comes.
    fn unpack(
        &self,
        wanted: &Wanted<'_>,
        file: fs_err::File,
        growth: &Growth,
        staged: &Ingest,
        tell: &(dyn Fn(Status<'_>) + Sync),
    ) -> Result<(LayerInfo, Contents), Fault> {
        let blob = wanted.layer;
        let mut tar = staged.tar_file().map_err(|error| {
            growth.refuse();
            Fault::from(error)
        })?;
        let seen = |done| tell(Status::Extracting { done, total: blob.size });
        let limit = inflation_limit(blob.size, self.max_inflation);
        let unpacked = (|| {
            let inflated = decompress(Box::new(Growing::new(file, growth, &seen)))?;
            let mut bounded = Bounded { inner: inflated, left: limit };
            ingest(&mut bounded, &mut tar, &Limits::default())
        })();
        unpacked.map_err(|error| {
            if is_bomb(&error) {
                growth.refuse();
                let (digest, compressed) = (blob.digest, blob.size);
                let repository = self.source.name();
                return content(TransferError::Bomb { repository, digest, compressed, limit });
            }
            let about_content = is_about_content(&error);
            let error = EngineError::layer(format!("layer {} of {}", blob.digest, self.source.name()), error);
            if about_content {
                // The rest comes all the same: its digest says whether the registry sent what was pushed.
                return Fault::Content(Box::new(error));
            }
            growth.refuse();
            Fault::Other(Box::new(error))
        })
    }
}

/// How much a blob of this length may unpack to.
pub(super) fn inflation_limit(length: u64, max_inflation: u64) -> u64 {
    match max_inflation {
        0 => u64::MAX,
        times => HARMLESS.max(length.saturating_mul(times)),
    }
}

fn content(error: TransferError) -> Fault {
    Fault::Content(Box::new(error.into()))
}

pub(crate) fn check(cancel: &AtomicBool) -> Result<(), EngineError> {
    if cancel.load(Ordering::Relaxed) { Err(TransferError::Cancelled.into()) } else { Ok(()) }
}

/// Whether the bytes are at fault, and not the disk they are written to.
fn is_about_content(error: &LayerError) -> bool {
    match error {
        LayerError::Tar { .. } => true,
        // How decoders say that a stream is damaged or cut off.
        LayerError::Io(error) => {
            matches!(
                error.kind(),
                ErrorKind::InvalidData
                    | ErrorKind::InvalidInput
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::Other
            ) && error.raw_os_error().is_none()
        }
        _ => false,
    }
}

impl EngineError {
    /// Whether the place that a layer came from is at fault, or the way to it, and not this machine.
    pub(crate) fn is_elsewhere(&self) -> bool {
        match self {
            Self::Shared(_) | Self::Registry(_) => true,
            Self::Transfer(error) => !matches!(error, TransferError::Cancelled),
            Self::Layer { source, .. } => is_about_content(source),
            // Readers of places wrap what they say; the kernel has a number for all that it says of the disk.
            Self::Io(error) => error.raw_os_error().is_none() && !self.is_disk_full(),
            _ => false,
        }
    }
}

/// Lets so many bytes through, then fails.
struct Bounded<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("it unpacks to too much")]
struct TooMuch;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| io::Error::other(TooMuch))?;
        Ok(count)
    }
}

fn is_bomb(error: &LayerError) -> bool {
    matches!(error, LayerError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<TooMuch>()))
}
