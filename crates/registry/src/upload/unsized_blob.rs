//! Blobs that are made while they are sent: nobody knows their length or digest before the end.
use super::{Upload, begin};
use crate::endpoint::Streamed;
use crate::upload::Source;
use crate::{Error, Registries, Repository};
use std::io::{self, Read};
use strata_oci::Digest;

/// The first pieces after a cut have so many bytes: that much memory is taken for each upload that was cut.
const LARGEST_PIECE: u64 = 8 << 20;
/// Pieces are halved by every further failure, down to this.
const SMALLEST_PIECE: u64 = 1 << 20;

/// How often such a blob is sent from its beginning. A request that a cut left under way may reach the registry after the
/// one that goes on from there, and one without a known end cannot say where it begins: then the registry has bytes twice,
/// and says so when it hashes them.
const ATTEMPTS: usize = 5;

/// How what is left is sent.
#[derive(Clone, Copy)]
enum Manner {
    /// In one request without a declared length, as Docker does it: every registry takes that.
    Stream,
    /// In requests that say which bytes they bring. A registry that keeps only whole requests loses one piece by a cut,
    /// and one that gets a request late can tell.
    Pieces(u64),
}

impl Registries {
    /// Sends a blob that is made while it is sent; its digest is asked for when the last byte is out. `named` is what
    /// messages call it meanwhile. The source must give the same bytes each time.
    ///
    /// # Errors
    /// As [`Registries::upload`].
    pub fn upload_unsized(
        &self,
        repository: &Repository,
        named: &Digest,
        source: &mut dyn Source,
        digest: &mut dyn FnMut() -> Digest,
    ) -> Result<(), Error> {
        for _ in 1..ATTEMPTS {
            match self.begin(repository, named)?.send_unsized(source, digest) {
                Err(error) if got_something_else(&error) => {}
                sent => return sent,
            }
        }
        self.begin(repository, named)?.send_unsized(source, digest)
    }
}

/// Whether the registry says that the bytes it has are not those of the digest.
fn got_something_else(error: &Error) -> bool {
    match error {
        Error::DigestMismatch { .. } => true,
        Error::Refused { message, .. } => message.contains("digest"),
        _ => false,
    }
}

impl Upload {
    /// Sends a blob that is made while it is sent, as long as its source gives bytes. The digest is asked for when the
    /// last byte is out.
    ///
    /// It goes in one `PATCH`; after a cut, and where the registry says how large pieces should be, in pieces. After a cut
    /// the source is opened again from where the registry has the bytes, or from the start: it must give the same bytes
    /// again.
    ///
    /// # Errors
    /// As [`Registries::upload`](crate::Registries::upload).
    pub fn send_unsized(
        mut self,
        source: &mut dyn Source,
        digest: &mut dyn FnMut() -> Digest,
    ) -> Result<(), Error> {
        // The blob's own digest is not known yet.
        let unknown = self.named;
        let mut manner = match self.piece {
            Some(least) => Manner::Pieces(LARGEST_PIECE.max(least)),
            None => Manner::Stream,
        };
        let mut takes_pieces = true;
        loop {
            let sent = match manner {
                Manner::Stream => self.flow(source)?,
                Manner::Pieces(length) => self.pieces(source, length)?,
            };
            let outcome = match sent {
                Some(failed) => failed,
                None => {
                    let digest = digest();
                    match self.complete(&digest)? {
                        Streamed::Answer(response) if response.is_success() => {
                            return self.check_digest(&response, &digest);
                        }
                        other => other,
                    }
                }
            };
            let status = match &outcome {
                Streamed::Answer(response) => response.status(),
                Streamed::Failed(_) => 0,
            };
            match (manner, status) {
                (Manner::Stream, 413) => {
                    manner = Manner::Pieces(LARGEST_PIECE);
                    self = begin(&self.endpoint, &self.repository, &unknown)?;
                }
                (Manner::Pieces(length), 413) if length > SMALLEST_PIECE => {
                    manner = Manner::Pieces(SMALLEST_PIECE.max(length / 2));
                    self = begin(&self.endpoint, &self.repository, &unknown)?;
                }
                // Some registries take a blob in one request only.
                (Manner::Pieces(_), 400 | 405 | 411 | 501) if takes_pieces && self.piece.is_none() => {
                    (manner, takes_pieces) = (Manner::Stream, false);
                    self = begin(&self.endpoint, &self.repository, &unknown)?;
                }
                _ => {
                    self.recover(&unknown, outcome)?;
                    manner = self.after_cut(manner, takes_pieces);
                }
            }
        }
    }

    fn after_cut(&self, manner: Manner, takes_pieces: bool) -> Manner {
        match manner {
            _ if !takes_pieces => Manner::Stream,
            Manner::Stream => Manner::Pieces(LARGEST_PIECE.max(self.piece.unwrap_or(0))),
            Manner::Pieces(length) => {
                Manner::Pieces((length / 2).max(self.piece.unwrap_or(0)).max(SMALLEST_PIECE))
            }
        }
    }

    /// All that is left, in one request or, where the registry counts fewer bytes than it was sent, in several. `None`: it
    /// has everything.
    fn flow(&mut self, source: &mut dyn Source) -> Result<Option<Streamed>, Error> {
        let named = self.named;
        loop {
            match self.patch(&named, source, None)? {
                Streamed::Answer(response) if response.is_success() => {}
                other => return Ok(Some(other)),
            }
            if self.received == self.sent {
                return Ok(None);
            }
        }
    }

    /// All that is left, piece by piece. `None`: the registry has everything.
    fn pieces(&mut self, source: &mut dyn Source, length: u64) -> Result<Option<Streamed>, Error> {
        let named = self.named;
        loop {
            let first = self.received;
            // Kept open from piece to piece: what is made while it is read would be made twice.
            let mut rest = self.open(&named, source, first)?;
            loop {
                let from = self.received;
                let mut bytes = Vec::new();
                let read = rest.as_mut().take(length).read_to_end(&mut bytes);
                read.map_err(|cause| Error::Source { subject: self.repository.to_string(), source: cause })?;
                if bytes.is_empty() {
                    return Ok(None);
                }
                let count = bytes.len() as u64;
                let mut piece = Piece { bytes: &bytes, from };
                match self.patch(&named, &mut piece, Some(count))? {
                    Streamed::Answer(response) if response.is_success() => {}
                    other => return Ok(Some(other)),
                }
                if self.received != from + count {
                    break;
                }
            }
        }
    }
}

/// A part of a blob that is in memory.
struct Piece<'a> {
    bytes: &'a [u8],
    /// Where in the blob it begins.
    from: u64,
}

impl Source for Piece<'_> {
    fn open(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let skipped = usize::try_from(offset - self.from).unwrap_or(usize::MAX);
        Ok(Box::new(&self.bytes[skipped.min(self.bytes.len())..]))
    }
}
