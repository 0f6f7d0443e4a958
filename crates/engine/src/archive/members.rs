//! The members of an archive, read once in the order in which they come: documents are kept in memory, layers go
//! straight into the store's staging directories, because an archive may come through a pipe.
use crate::{Engine, EngineError};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{BufReader, Cursor, ErrorKind, Read};
use strata_layer::compression::{Compression, decompress, decompress_as};
use strata_layer::tar::{Member, MemberKind, Reader};
use strata_layer::{Contents, LayerError, LayerInfo, Limits, ingest};
use strata_oci::{Descriptor, DiffId, Digest};
use strata_store::{Ingest, Lease};

/// Read at once of a layer.
const BUFFER: usize = 128 << 10;
/// A document larger than this is not one; smaller members are read into memory to find out.
const MAX_DOCUMENT: u64 = 4 << 20;
/// All documents together may take this much memory.
const MAX_DOCUMENTS: u64 = 256 << 20;

/// A member that may be a layer.
pub(super) enum Layer {
    /// Unpacked, hashed and indexed, not yet published.
    New(Box<(Ingest, LayerInfo, Contents)>),
    /// In the store: already before (the member's name is its DiffId, so it was not even read), or by now.
    Stored(DiffId),
    /// Not a layer after all: why.
    Bad(String),
}

/// Everything an archive holds.
#[derive(Default)]
pub(super) struct Members {
    documents: HashMap<String, Vec<u8>>,
    layers: HashMap<String, Layer>,
    /// Symbolic and hard links: the member they name.
    links: HashMap<String, String>,
    /// Lengths of the members, as the archive has them.
    sizes: HashMap<String, u64>,
    kept: u64,
}

type Input<'a> = Box<dyn Read + Send + 'a>;

impl Members {
    /// Reads a whole archive, compressed or not.
    pub(super) fn read(engine: &Engine, lease: &Lease, input: Input) -> Result<Self, EngineError> {
        let input = BufReader::with_capacity(1 << 20, decompress(input)?);
        let mut reader = Reader::new(input, &Limits::default());
        let mut members = Self::default();
        while let Some(member) = reader.next_member().map_err(unreadable)? {
            let path = String::from_utf8_lossy(&member.path).into_owned();
            match &member.kind {
                MemberKind::Symlink(target) => {
                    drop(members.links.insert(path.clone(), beside(&path, target)))
                }
                MemberKind::HardLink(target) => {
                    drop(members.links.insert(path, String::from_utf8_lossy(target).into_owned()));
                }
                MemberKind::Regular(_) => members.file(engine, lease, &path, &member, &mut reader)?,
                _ => {}
            }
        }
        // A writer at the other end of a pipe should not die of what we do not need.
        std::io::copy(&mut reader.into_inner(), &mut std::io::sink())?;
        Ok(members)
    }

    fn file(
        &mut self,
        engine: &Engine,
        lease: &Lease,
        path: &str,
        member: &Member,
        reader: &mut Reader<impl std::io::BufRead + Send>,
    ) -> Result<(), EngineError> {
        let size = member.metadata.size;
        self.sizes.insert(path.to_owned(), size);
        let mut content = reader.content(member);
        if size > MAX_DOCUMENT {
            if is_manifest(path) {
                let message = format!("{path} has {size} bytes; a manifest has at most {MAX_DOCUMENT}");
                return Err(EngineError::Archive(message));
            }
            let layer = match named_layer(lease, path)? {
                Some(known) => Layer::Stored(known),
                None => take_layer(engine, lease, path, Box::new(content))?,
            };
            self.layers.insert(path.to_owned(), layer);
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(size as usize);
        content.read_to_end(&mut bytes)?;
        if is_manifest(path) || serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok() {
            self.kept += size;
            if self.kept > MAX_DOCUMENTS {
                return Err(EngineError::Archive(
                    "the archive holds more than 256 MiB of JSON documents".to_owned(),
                ));
            }
            self.documents.insert(path.to_owned(), bytes);
            return Ok(());
        }
        // A compressed empty layer has some thirty bytes; nothing else so short can be a tar.
        let may_be_layer =
            size >= 512 || path.ends_with(".tar") || Compression::detect(&bytes) != Compression::None;
        let layer = match may_be_layer {
            true => take_layer(engine, lease, path, Box::new(Cursor::new(bytes)))?,
            false => Layer::Bad("it is too short for a tar".to_owned()),
        };
        self.layers.insert(path.to_owned(), layer);
        Ok(())
    }

    /// The member of a blob. What is there must be as long as its descriptor says; what is missing is found out
    /// where it is needed.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<String, EngineError> {
        let path = format!("blobs/sha256/{}", descriptor.digest.hex());
        match self.sizes.get(self.target(&path)?) {
            Some(size) if *size != descriptor.size => Err(EngineError::Archive(format!(
                "{path} is damaged: it has {size} bytes, but its descriptor says {}",
                descriptor.size
            ))),
            _ => Ok(path),
        }
    }

    /// A document by its path, checked against the digest in its name.
    pub(super) fn document(&self, path: &str) -> Result<&[u8], EngineError> {
        let path = self.target(path)?;
        let Some(bytes) = self.documents.get(path) else {
            if self.layers.contains_key(path) {
                return Err(EngineError::Archive(format!("{path} is not a JSON document")));
            }
            return Err(EngineError::Archive(format!("the archive has no {path}, which its manifest names")));
        };
        if let Some(expected) = named_digest(path)
            && Digest::of(bytes) != expected
        {
            let actual = Digest::of(bytes);
            return Err(EngineError::Archive(format!(
                "{path} is damaged: its content has the digest {actual}"
            )));
        }
        Ok(bytes)
    }

    /// A document that may be missing.
    pub(super) fn optional(&self, path: &str) -> Option<&[u8]> {
        self.documents.get(path).map(Vec::as_slice)
    }

    /// The layer at `path`, which must have the DiffId `expected`, published on top of `below`.
    pub(super) fn publish(
        &mut self,
        path: &str,
        expected: DiffId,
        below: &[DiffId],
    ) -> Result<(), EngineError> {
        let path = self.target(path)?.to_owned();
        let found = match self.layers.get_mut(&path) {
            None => {
                return Err(EngineError::Archive(format!(
                    "the archive has no layer {path}, which its manifest names"
                )));
            }
            Some(Layer::Bad(why)) => return Err(EngineError::Archive(format!("{path} is no layer: {why}"))),
            Some(Layer::Stored(found)) => *found,
            Some(layer @ Layer::New(_)) => {
                let found = match layer {
                    Layer::New(new) => new.1.diff_id,
                    _ => expected,
                };
                if found == expected
                    && let Layer::New(new) = std::mem::replace(layer, Layer::Stored(found))
                {
                    let (ingest, info, contents) = *new;
                    ingest.commit(info, &contents, below)?;
                }
                found
            }
        };
        if found != expected {
            return Err(EngineError::Archive(format!(
                "{path} is damaged or the wrong layer: its DiffId is {found}, but the config says {expected}"
            )));
        }
        Ok(())
    }

    fn target<'a>(&'a self, path: &'a str) -> Result<&'a str, EngineError> {
        let mut path = path.trim_start_matches("./");
        for _ in 0..8 {
            match self.links.get(path) {
                Some(target) => path = target,
                None => return Ok(path),
            }
        }
        Err(EngineError::Archive(format!("{path}: too many links")))
    }
}

fn unreadable(error: LayerError) -> EngineError {
    EngineError::Archive(format!("not an image archive: {error}"))
}

/// Where a symbolic link beside `path` leads.
fn beside(path: &str, target: &[u8]) -> String {
    let target = String::from_utf8_lossy(target);
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `blobs/sha256/<hex>` and `<hex>.json` are named by their digest.
fn named_digest(path: &str) -> Option<Digest> {
    let hex = match path.strip_prefix("blobs/sha256/") {
        Some(hex) => hex,
        None => path.strip_suffix(".json")?,
    };
    format!("sha256:{hex}").parse().ok()
}

/// An uncompressed layer in an OCI layout is named by its DiffId; if it is here already, it need not be read.
fn named_layer(lease: &Lease, path: &str) -> Result<Option<DiffId>, EngineError> {
    let Some(digest) = named_digest(path) else { return Ok(None) };
    let diff_id = DiffId::new(digest);
    let missing = lease.hold(&[diff_id])?;
    Ok(missing.is_empty().then_some(diff_id))
}

/// The documents that say what an archive holds.
fn is_manifest(path: &str) -> bool {
    matches!(path, "manifest.json" | "index.json")
}

/// Streams a possible layer into a staging directory. The bytes of one that is named by its digest must have it: of
/// one that is not compressed the DiffId shows that, and whoever publishes it compares.
fn take_layer(engine: &Engine, lease: &Lease, path: &str, content: Input<'_>) -> Result<Layer, EngineError> {
    let staged = engine.store().layers().begin(lease)?;
    let mut file = staged.tar_file()?;
    let (compression, content) = detect(content)?;
    // Of what is not compressed the DiffId is the digest.
    let hasher = named_digest(path).filter(|_| compression != Compression::None).map(|_| Sha256::new());
    let mut hashed = Hashed { input: content, hasher };
    let mut content = decompress_as(compression, BufReader::with_capacity(BUFFER, &mut hashed))?;
    let ingested = ingest(&mut content, &mut file, &Limits::default());
    drop(content);
    let (info, contents) = match ingested {
        Ok(done) => done,
        // What is no tar may be something that nobody asks for; whoever does gets the reason.
        Err(error) if is_bad_content(&error) => return Ok(Layer::Bad(error.to_string())),
        Err(error) => return Err(EngineError::layer(path, error)),
    };
    std::io::copy(&mut hashed, &mut std::io::sink())?;
    if let Some(expected) = named_digest(path) {
        let read = hashed.hasher.map(|hasher| Digest::from_bytes(hasher.finalize().into()));
        let actual = read.unwrap_or(*info.diff_id.digest());
        if actual != expected {
            return Ok(Layer::Bad(format!("it is damaged: its content has the digest {actual}")));
        }
    }
    Ok(Layer::New(Box::new((staged, info, contents))))
}

/// How a stream is compressed, by its first bytes, and the whole stream.
fn detect(mut input: Input<'_>) -> std::io::Result<(Compression, Input<'_>)> {
    let mut head = Vec::with_capacity(Compression::HEAD);
    input.by_ref().take(Compression::HEAD as u64).read_to_end(&mut head)?;
    Ok((Compression::detect(&head), Box::new(Cursor::new(head).chain(input))))
}

/// Whether the bytes are at fault, and not the disk they are written to.
fn is_bad_content(error: &LayerError) -> bool {
    match error {
        LayerError::Tar { .. } => true,
        // How decoders say that a stream is damaged or cut off.
        LayerError::Io(error) => {
            matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
            )
        }
        _ => false,
    }
}

/// Hashes what is read through it.
struct Hashed<'a> {
    input: Input<'a>,
    hasher: Option<Sha256>,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.input.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..length]);
        }
        Ok(length)
    }
}
