//! A cache in an object store, laid out as BuildKit does: `<prefix><blobs_prefix><digest>` and, naming them,
//! `<prefix><manifests_prefix><name>`.
use super::{Bucket, Environment, Error, Options, Settings};
use crate::{Config, Content, Found, Place, PlaceError, Sent};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::sync::{Condvar, Mutex, PoisonError};
use strata_oci::{Descriptor, Digest};
use strata_registry::Source;

/// A cache under one or several names of a bucket: it is written under all, and read from the first that exists.
///
/// A blob that is older than `touch_refresh` when an export asks for it is made young again, so that a rule of the bucket may
/// delete what nobody has used for long.
#[derive(Debug)]
pub struct S3Place {
    bucket: Bucket,
    /// Uploads that may still begin.
    free: Mutex<usize>,
    ended: Condvar,
}

impl S3Place {
    /// Nothing is asked of the server yet.
    pub fn new(bucket: Bucket) -> Self {
        let free = Mutex::new(bucket.settings().upload_parallelism.get());
        Self { bucket, free, ended: Condvar::new() }
    }

    /// Waits until one more upload may begin.
    fn turn(&self) -> Turn<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.ended.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn(self)
    }

    fn key(&self, blob: &Digest) -> String {
        self.bucket.settings().blob_key(blob)
    }
}

/// The right to upload, until it is dropped.
struct Turn<'p>(&'p S3Place);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.ended.notify_one();
    }
}

impl fmt::Display for S3Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.bucket.settings();
        let names = settings.names.join(";");
        write!(f, "s3://{}/{}", settings.bucket, settings.manifest_key(&names))
    }
}

impl From<Error> for PlaceError {
    fn from(error: Error) -> Self {
        Self::Other(Box::new(error))
    }
}

impl Place for S3Place {
    fn config(&self) -> Result<Option<Found>, PlaceError> {
        let settings = self.bucket.settings();
        for name in &settings.names {
            let key = settings.manifest_key(name);
            let Some(bytes) = self.bucket.get(&key)? else { continue };
            let place = || format!("s3://{}/{key}", settings.bucket);
            let config =
                Config::parse(&bytes).map_err(|source| PlaceError::Config { place: place(), source })?;
            let blobs = config.blobs();
            return Ok(Some(Found { config, blobs, in_image: false }));
        }
        Ok(None)
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send>, PlaceError> {
        Ok(Box::new(self.bucket.open(&self.key(&blob.digest), blob.size, offset)?))
    }

    fn has(&self, blob: &Digest) -> Result<bool, PlaceError> {
        Ok(self.bucket.refresh(&self.key(blob))?.is_some())
    }

    fn size(&self, blob: &Digest) -> Result<Option<u64>, PlaceError> {
        // What is used shall not run out.
        Ok(self.bucket.refresh(&self.key(blob))?.map(|stat| stat.size))
    }

    fn put(&self, content: &dyn Content) -> Result<Sent, PlaceError> {
        let _turn = self.turn();
        // An object cannot be renamed, so its name must be known before the first byte is sent.
        let known = match content.known() {
            Some(known) => Some(known),
            None => {
                io::copy(&mut content.open(0)?, &mut io::sink())?;
                content.known()
            }
        };
        let (digest, size) = known.ok_or_else(|| {
            io::Error::other(format!("{}: its digest is not known after it was read", content.name()))
        })?;
        self.bucket.upload(&self.key(&digest), size, &digest, &mut Opened(content))?;
        Ok(Sent::Whole)
    }

    fn publish(&self, config: &Config, _: &[Descriptor]) -> Result<(), PlaceError> {
        let bytes = config.to_bytes();
        let settings = self.bucket.settings();
        for name in &settings.names {
            self.bucket.put(&settings.manifest_key(name), &bytes)?;
        }
        Ok(())
    }
}

/// How object stores are reached: what the user's environment says of keys and places, and how the network is used.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    /// `AWS_...` and `HOME`.
    pub variables: BTreeMap<String, String>,
    /// Proxies, time limits, retries.
    pub options: Options,
}

impl Stores {
    /// The place that the keys of a `type=s3` name. Nothing is asked of the server yet; but credentials are got, so that a
    /// build which could not export its cache in the end says so at its beginning.
    ///
    /// # Errors
    /// What is missing or means nothing: see [`Settings::parse`], [`Bucket::new`], [`Bucket::credentials`].
    pub fn place(&self, keys: &BTreeMap<String, String>) -> Result<S3Place, Error> {
        let settings = Settings::parse(keys, &Environment(&|name| self.variables.get(name).cloned()))?;
        let bucket = Bucket::new(settings, self.options.clone())?;
        bucket.credentials()?;
        Ok(S3Place::new(bucket))
    }
}

/// Content, as an upload reads it.
struct Opened<'c>(&'c dyn Content);

impl Source for Opened<'_> {
    fn open(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        self.0.open(offset)
    }
}
