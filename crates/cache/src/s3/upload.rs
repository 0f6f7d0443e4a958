//! Sending blobs: in one piece, or in parts of which only the one that was lost is sent again.
use super::bucket::Bucket;
use super::error::{Deed, Error};
use super::exchange::{Call, Part, Payload};
use super::objects::Stat;
use super::refusal::element;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusty_s3::Method;
use rusty_s3::actions::CompleteMultipartUpload;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use strata_oci::Digest;
use strata_registry::Source;

/// Parts have this size, and what is smaller is sent in one piece; S3 wants 5 MiB at least. What a cut loses is one part.
const PART: u64 = 16 << 20;

/// Amazon takes ten times as many, others not; larger blobs have larger parts.
const PARTS: u64 = 1000;

/// What S3 copies in one request.
const COPY: u64 = 5 << 30;

/// What may stand in the header that names the source of a copy.
const COPY_SOURCE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A part of a blob, to be sent as often as it takes.
struct Piece<'s> {
    source: &'s mut dyn Source,
    offset: u64,
    length: u64,
    /// The hash of everything before this piece.
    before: &'s Sha256,
    /// The hash of everything up to its end, when it has been read to there.
    after: &'s mut Option<Sha256>,
    /// For the last piece: what the whole must have.
    expected: Option<Digest>,
}

impl Part for Piece<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        *self.after = None;
        let inner = self.source.open(self.offset)?;
        let (hash, expected) = (self.before.clone(), self.expected);
        Ok(Box::new(Hashed { inner, left: self.length, hash, after: self.after, expected }))
    }
}

/// Hashes what goes through. The last bytes of a blob that has not the digest it should have are not given out: so a server
/// never has all of a wrong blob, and does not store it.
struct Hashed<'p> {
    inner: Box<dyn Read + 'p>,
    left: u64,
    hash: Sha256,
    after: &'p mut Option<Sha256>,
    expected: Option<Digest>,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.hash.update(&buffer[..count]);
        self.left -= count as u64;
        if self.left == 0 && count > 0 {
            self.end()?;
        }
        Ok(count)
    }
}

impl Hashed<'_> {
    fn end(&mut self) -> io::Result<()> {
        if let Some(expected) = self.expected {
            let found = Digest::from_bytes(self.hash.clone().finalize().into());
            if found != expected {
                let why = format!("its bytes have the digest {found}, not {expected}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            if self.inner.read(&mut [0])? > 0 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it is longer than it was said to be",
                ));
            }
        }
        *self.after = Some(self.hash.clone());
        Ok(())
    }
}

impl Bucket {
    /// Sends a blob of `size` bytes, which must have the digest. Existence is the caller's to ask for first.
    ///
    /// Nothing is visible before all of it is there.
    ///
    /// # Errors
    /// [`Error::Source`] when the source cannot be read, or has another size or digest; [`Error::Refused`],
    /// [`Error::Transport`].
    pub fn upload(
        &self,
        key: &str,
        size: u64,
        digest: &Digest,
        source: &mut dyn Source,
    ) -> Result<(), Error> {
        let part = part_size(size, PART);
        if size <= part {
            let (before, mut after) = (Sha256::new(), None);
            let expected = Some(*digest);
            let mut piece =
                Piece { source, offset: 0, length: size, before: &before, after: &mut after, expected };
            let mut call = Call::new(Deed::Write, Method::Put, key);
            call.body = Payload::Part(&mut piece);
            return self.expect(&mut call).map(drop);
        }
        self.in_parts(key, Deed::Write, |upload| {
            let mut before = Sha256::new();
            let (mut etags, mut offset) = (Vec::new(), 0);
            while offset < size {
                let length = part.min(size - offset);
                let expected = (offset + length == size).then_some(*digest);
                let mut after = None;
                let piece = Piece {
                    source: &mut *source,
                    offset,
                    length,
                    before: &before,
                    after: &mut after,
                    expected,
                };
                etags.push(self.part(key, upload, etags.len() + 1, piece)?);
                // A server that answers before it has read everything is answered with what was read: nothing.
                before = after.unwrap_or_default();
                offset += length;
            }
            Ok(etags)
        })
    }

    fn part(&self, key: &str, upload: &str, number: usize, mut piece: Piece<'_>) -> Result<String, Error> {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload)];
        let mut call = Call::new(Deed::Write, Method::Put, key);
        call.query = &query;
        call.body = Payload::Part(&mut piece);
        let answer = self.expect(&mut call)?;
        answer
            .etag
            .ok_or_else(|| self.malformed(&Call::new(Deed::Write, Method::Put, key), "a part has no ETag"))
    }

    /// An upload in parts: begun, filled by `send`, which gives the parts' ETags, and completed; given up when one fails.
    fn in_parts(
        &self,
        key: &str,
        deed: Deed,
        send: impl FnOnce(&str) -> Result<Vec<String>, Error>,
    ) -> Result<(), Error> {
        let mut call = Call::new(deed, Method::Post, key);
        call.query = &[("uploads", "")];
        let answer = self.expect(&mut call)?;
        let upload = element(&answer.text, "UploadId")
            .ok_or_else(|| self.malformed(&call, "it does not name the upload it has begun"))?;
        let outcome = send(&upload).and_then(|etags| self.complete(key, deed, &upload, &etags));
        if outcome.is_err() {
            // Parts cost money until they are forgotten. Where this fails, too, the bucket's own rule has to do it.
            let query = [("uploadId", upload.as_str())];
            let mut call = Call::new(deed, Method::Delete, key);
            call.query = &query;
            let _ = self.expect(&mut call);
        }
        outcome
    }

    fn complete(&self, key: &str, deed: Deed, upload: &str, etags: &[String]) -> Result<(), Error> {
        let etags = etags.iter().map(String::as_str);
        let body = CompleteMultipartUpload::new(&self.0.address, None, key, upload, etags).body();
        let query = [("uploadId", upload)];
        let mut call = Call::new(deed, Method::Post, key);
        call.query = &query;
        call.body = Payload::Bytes(body.as_bytes());
        self.expect(&mut call).map(drop)
    }

    /// What is known of an object, which is made young again if it is older than the settings want.
    ///
    /// # Errors
    /// As [`Bucket::stat`].
    pub fn refresh(&self, key: &str) -> Result<Option<Stat>, Error> {
        let Some(stat) = self.stat(key)? else { return Ok(None) };
        let age = stat.modified.and_then(|modified| self.now().duration_since(modified).ok());
        if age.is_some_and(|age| age > self.settings().touch_refresh) {
            self.touch(key, stat.size)?;
        }
        Ok(Some(stat))
    }

    /// Copies an object onto itself: its bytes stay where they are, and its time is now.
    ///
    /// # Errors
    /// As [`Bucket::stat`].
    pub fn touch(&self, key: &str, size: u64) -> Result<(), Error> {
        self.touch_in(COPY, key, size)
    }

    /// In pieces of this size.
    fn touch_in(&self, piece: u64, key: &str, size: u64) -> Result<(), Error> {
        let whole = format!("/{}/{key}", self.settings().bucket);
        let copied = utf8_percent_encode(&whole, COPY_SOURCE).to_string();
        if size <= piece {
            let now =
                jiff::Timestamp::try_from(self.now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
            // A copy onto itself must change something.
            let signed = [
                ("x-amz-copy-source", copied.as_str()),
                ("x-amz-meta-updated-at", &now),
                ("x-amz-metadata-directive", "REPLACE"),
            ];
            let mut call = Call::new(Deed::Touch, Method::Put, key);
            call.signed = &signed;
            return self.expect(&mut call).map(drop);
        }
        self.in_parts(key, Deed::Touch, |upload| {
            let (mut etags, mut offset) = (Vec::new(), 0);
            while offset < size {
                let end = (offset + piece).min(size);
                let range = format!("bytes={offset}-{}", end - 1);
                let number = (etags.len() + 1).to_string();
                let signed = [("x-amz-copy-source", copied.as_str()), ("x-amz-copy-source-range", &range)];
                let query = [("partNumber", number.as_str()), ("uploadId", upload)];
                let mut call = Call::new(Deed::Touch, Method::Put, key);
                (call.signed, call.query) = (&signed, &query);
                let answer = self.expect(&mut call)?;
                let etag = element(&answer.text, "ETag");
                etags.push(etag.ok_or_else(|| self.malformed(&call, "a part has no ETag"))?);
                offset = end;
            }
            Ok(etags)
        })
    }
}

/// The size of a blob's parts.
fn part_size(size: u64, least: u64) -> u64 {
    size.div_ceil(PARTS).next_multiple_of(1 << 20).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::{Environment, Options, Settings};

    #[test]
    fn parts_are_few_enough() {
        assert_eq!(part_size(0, PART), PART);
        assert_eq!(part_size(PART * PARTS, PART), PART);
        for size in [PART * PARTS + 1, 100 << 30, 5 << 40] {
            let part = part_size(size, PART);
            assert!(size.div_ceil(part) <= PARTS && part.is_multiple_of(1 << 20), "{size}: {part}");
        }
    }

    #[test]
    fn what_is_too_large_for_one_copy_is_copied_in_pieces() {
        use strata_testbed::ObjectStore;
        let starts = [ObjectStore::start, ObjectStore::amazon];
        let threads =
            starts.map(|start| std::thread::spawn(move || start(&["cache"]).iter().for_each(copied)));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn copied(store: &strata_testbed::ObjectStore) {
        let (id, secret) = strata_testbed::OBJECT_STORE_KEY;
        let url = format!("http://{}", store.host());
        let given = [
            ("bucket", "cache"),
            ("region", "us-east-1"),
            ("endpoint_url", url.as_str()),
            ("access_key_id", id),
            ("secret_access_key", secret),
        ];
        let given = given.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let settings = Settings::parse(&given, &Environment(&|_| None)).unwrap();
        let bucket = Bucket::new(settings, Options::default()).unwrap();
        let data: Vec<u8> = (0..(12 << 20) + 7_u32).map(|i| (i >> 7) as u8).collect();
        bucket.put("a b", &data).unwrap();
        let before = bucket.stat("a b").unwrap().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        bucket.touch_in(5 << 20, "a b", data.len() as u64).unwrap();
        let after = bucket.stat("a b").unwrap().unwrap();
        assert!(after.modified > before.modified && after.size == before.size, "{before:?} {after:?}");
        assert!(bucket.get("a b").unwrap().unwrap() == data);
    }

    #[test]
    fn a_wrong_blob_is_held_back() {
        let sent = |bytes: &'static [u8], length: u64, digest: Digest| {
            let mut open = |offset: u64| Ok(&bytes[usize::try_from(offset).unwrap()..]);
            let (before, mut after) = (Sha256::new(), None);
            let expected = Some(digest);
            let mut piece =
                Piece { source: &mut open, offset: 0, length, before: &before, after: &mut after, expected };
            let mut got = Vec::new();
            let outcome = piece.open().unwrap().read_to_end(&mut got);
            (got.len(), outcome.map_err(|error| error.to_string()))
        };
        assert_eq!(sent(b"right", 5, Digest::of(b"right")), (5, Ok(5)));
        let (given, outcome) = sent(b"wrong", 5, Digest::of(b"right"));
        assert!(given < 5 && outcome.unwrap_err().contains("not sha256:"));
        let (given, outcome) = sent(b"right and more", 5, Digest::of(b"right"));
        assert!(given < 5 && outcome.unwrap_err().contains("longer"));
    }
}
