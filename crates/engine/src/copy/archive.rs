//! An archive to write to: an OCI layout and a Docker archive in one tar.
use super::choose::{choose, index, is_index, manifest};
use super::files::{blob_path, copy_verified};
use super::{CopyError, Destination, Document, Origin, Placed};
use crate::archive::{ArchiveImage, IMAGE_NAME, REF_NAME};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use strata_oci::{Descriptor, Digest, Index, Platform, Raw, Reference, media_type};
use tempfile::NamedTempFile;

/// A tar file that is written beside its place and put there when it is complete.
pub(super) struct Archive {
    path: PathBuf,
    name: Option<Reference>,
    state: Mutex<State>,
}

struct State {
    tar: tar::Builder<NamedTempFile>,
    written: BTreeSet<Digest>,
    documents: BTreeMap<Digest, Document>,
    root: Option<Document>,
}

impl Archive {
    pub(super) fn create(path: &Path, name: Option<&Reference>) -> Result<Self, CopyError> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| Path::new("."));
        let staged = tempfile::Builder::new().prefix(".copy-").tempfile_in(directory).map_err(|error| {
            // Its own words are about a name that nobody gave.
            let error = error.raw_os_error().map_or(error, std::io::Error::from_raw_os_error);
            CopyError::Container {
                path: path.to_owned(),
                why: format!("nothing can be written to {}: {error}", directory.display()),
            }
        })?;
        let state = State {
            tar: tar::Builder::new(staged),
            written: BTreeSet::new(),
            documents: BTreeMap::new(),
            root: None,
        };
        Ok(Self { path: path.to_owned(), name: name.cloned(), state: Mutex::new(state) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), CopyError> {
        let mut header = header(bytes.len() as u64);
        Ok(self.tar.append_data(&mut header, path, bytes)?)
    }

    /// `manifest.json`: the image that Docker shall load. Of an index, the one for this machine.
    fn for_docker(&self, root: &Document, name: Option<&Reference>) -> Result<Vec<ArchiveImage>, CopyError> {
        let document = if is_index(&root.media_type) {
            let entries = index(root)?.manifests;
            let ours = choose(entries.clone(), &Platform::host(), "");
            let chosen = ours.ok().or_else(|| entries.into_iter().next());
            chosen.and_then(|chosen| self.documents.get(&chosen.digest))
        } else {
            Some(root)
        };
        let Some(document) = document.filter(|document| !is_index(&document.media_type)) else {
            return Ok(Vec::new());
        };
        let image = manifest(document)?;
        Ok(vec![ArchiveImage {
            config: blob_path(&image.config.digest),
            repo_tags: name.map(|name| vec![name.familiar()]),
            layers: Some(image.layers.iter().map(|layer| blob_path(&layer.digest)).collect()),
        }])
    }
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

impl Destination for Archive {
    /// One after the other: a tar is written from front to back.
    fn blob(&self, blob: &Descriptor, origin: &dyn Origin) -> Result<Placed, CopyError> {
        let mut state = self.lock();
        if !state.written.insert(blob.digest) {
            return Ok(Placed::Exists);
        }
        let mut header = header(blob.size);
        header.set_path(blob_path(&blob.digest))?;
        header.set_cksum();
        let out = state.tar.get_mut();
        out.write_all(header.as_bytes())?;
        copy_verified(blob, &mut *origin.blob(blob, 0)?, out)?;
        let padding = blob.size.next_multiple_of(512) - blob.size;
        out.write_all(&[0; 512][..usize::try_from(padding).expect("less than a block")])?;
        Ok(Placed::Copied)
    }

    fn manifest(&self, document: &Document, is_root: bool) -> Result<(), CopyError> {
        let mut state = self.lock();
        if state.written.insert(document.digest) {
            state.add(&blob_path(&document.digest), &document.bytes)?;
        }
        state.documents.insert(document.digest, document.clone());
        if is_root {
            state.root = Some(document.clone());
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), CopyError> {
        let Self { path, name, state } = *self;
        let mut state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(root) = state.root.take() else { return Ok(()) };
        let mut entry = root.descriptor();
        if let Some(name) = &name {
            let full = format!("{}:{}", name.name(), name.tag().unwrap_or("latest"));
            entry.annotations.insert(IMAGE_NAME.to_owned(), full);
            entry.annotations.insert(REF_NAME.to_owned(), name.tag().unwrap_or("latest").to_owned());
        }
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            manifests: vec![entry],
            ..Index::default()
        };
        let images = state.for_docker(&root, name.as_ref())?;
        state.add("index.json", Raw::new(index).bytes())?;
        state.add("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
        if !images.is_empty() {
            state.add("manifest.json", &serde_json::to_vec(&images).expect("names are serialisable"))?;
        }
        let staged = state.tar.into_inner()?;
        staged.as_file().sync_all()?;
        if fs_err::metadata(&path).is_ok_and(|there| !there.is_file()) {
            // A pipe or a device is written to, not replaced.
            let mut file = staged.reopen()?;
            file.seek(SeekFrom::Start(0))?;
            std::io::copy(&mut file, &mut fs_err::OpenOptions::new().write(true).open(&path)?)?;
            return Ok(());
        }
        fs_err::set_permissions(staged.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        staged.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }
}
