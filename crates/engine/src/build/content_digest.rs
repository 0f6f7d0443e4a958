//! Files by BuildKit's content digests: what its caches call the sources of a COPY.
use super::cache::failed;
use super::files::select_options;
use super::layer::LayerHandle;
use super::worker::{EngineWorker, copy_failed};
use crate::EngineError;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::Read;
use strata_build::buildkit::{self, Header};
use strata_build::{Origin, Selection, WorkerError};
use strata_layer::FileType;
use strata_layer::copy;
use strata_layer::tree::{Entry, SourceTree};
use strata_oci::Digest;

/// Bytes read of a file at once.
const BUFFER: usize = 128 << 10;

impl EngineWorker<'_> {
    /// Digest of the files that these paths of a COPY mean; `None` where BuildKit would look at them otherwise.
    pub(super) fn buildkit_digest(
        &self,
        origin: Origin<'_, LayerHandle>,
        paths: &[String],
    ) -> Result<Option<Digest>, WorkerError> {
        if matches!(origin, Origin::Named(_)) {
            return Ok(None);
        }
        if let Origin::Layers(handles) = origin {
            self.bring(handles)?;
        }
        let tree = self.tree(origin)?;
        let hashing = Hashing { worker: self, tree: &*tree, is_context: matches!(origin, Origin::Context) };
        let mut digests = Vec::new();
        for path in sources(paths) {
            let is_pattern = has_wildcards(&path);
            let selection = Selection {
                paths: vec![path.clone()],
                remote: Vec::new(),
                wildcards: is_pattern,
                parents: false,
                exclude: Vec::new(),
            };
            let options = select_options(&selection, false).map_err(failed)?;
            let found = copy::Selection::new(std::sync::Arc::clone(&tree), &selection.paths, options);
            let found = found.map_err(copy_failed)?;
            let mut matched = Vec::new();
            for (name, path, entry) in found.roots() {
                matched.push((name.to_vec(), hashing.any(path, entry)?));
            }
            let pattern = path.rsplit('/').next().unwrap_or_default();
            digests.push(match &matched[..] {
                [(_, digest)] if !is_pattern => *digest,
                [(name, digest)] if name == pattern.as_bytes() => *digest,
                [] if is_pattern => Digest::of(b""),
                _ if is_pattern => buildkit::names_digest(&matched),
                _ => return Ok(None),
            });
        }
        Ok(Some(buildkit::selected_digest(&digests)))
    }
}

/// The paths that are looked at, in their order: none that another one holds.
fn sources(paths: &[String]) -> BTreeSet<String> {
    let clean: BTreeSet<String> = paths.iter().map(|path| absolute(path)).collect();
    let is_below = |path: &&String| {
        let holds = |other: &&String| !has_wildcards(other) && path.starts_with(&format!("{other}/"));
        !has_wildcards(path) && clean.iter().any(|other| holds(&other))
    };
    clean.iter().filter(|path| !is_below(path)).cloned().collect()
}

fn absolute(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

fn has_wildcards(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// A tree being hashed.
struct Hashing<'a> {
    worker: &'a EngineWorker<'a>,
    tree: &'a dyn SourceTree,
    is_context: bool,
}

/// A directory whose entries are not all known yet.
struct Open {
    path: Vec<u8>,
    header: Digest,
    entries: Vec<(Vec<u8>, Digest)>,
}

impl Open {
    fn close(self) -> Digest {
        buildkit::dir_digest(&self.header, &self.entries)
    }
}

impl Hashing<'_> {
    fn any(&self, path: &[u8], entry: &Entry) -> Result<Digest, WorkerError> {
        if entry.is_directory() { self.directory(path, entry) } else { self.file(path, entry) }
    }

    fn directory(&self, path: &[u8], entry: &Entry) -> Result<Digest, WorkerError> {
        // Nobody sends a context's root itself.
        let is_unseen = path.is_empty() && self.is_context;
        let header = if is_unseen { Digest::of(b"") } else { Digest::of(&header(entry)) };
        let mut open = vec![Open { path: Vec::new(), header, entries: Vec::new() }];
        let tree_error = |error| failed(EngineError::layer("cannot read the sources of a COPY", error));
        let entries = self.tree.walk(path, None).map_err(tree_error)?;
        for (below, entry) in entries.iter() {
            let (parent, name) = match below.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => (&below[..slash], &below[slash + 1..]),
                None => (&b""[..], &below[..]),
            };
            close_until(&mut open, parent);
            if entry.is_directory() {
                let header = Digest::of(&self::header(&entry));
                open.push(Open { path: below.clone(), header, entries: Vec::new() });
                continue;
            }
            let full = if path.is_empty() { below.clone() } else { [path, b"/", &below].concat() };
            let digest = self.file(&full, &entry)?;
            let top = open.last_mut().expect("the directory itself stays open");
            top.entries.push((name.to_vec(), digest));
        }
        close_until(&mut open, b"");
        Ok(open.pop().expect("the directory itself").close())
    }

    fn file(&self, path: &[u8], entry: &Entry) -> Result<Digest, WorkerError> {
        self.worker.check_cancelled()?;
        let mut hasher = Sha256::new();
        hasher.update(header(entry));
        if entry.is_file() {
            let unread = |error| failed(EngineError::layer("cannot read a source of a COPY", error));
            let mut content = self.tree.open(path, entry).map_err(unread)?;
            let mut buffer = vec![0; BUFFER];
            loop {
                match content.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => hasher.update(&buffer[..count]),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(failed(EngineError::from(error))),
                }
            }
        }
        Ok(Digest::from_bytes(hasher.finalize().into()))
    }
}

/// Ends directories until the one at `path` is the last.
fn close_until(open: &mut Vec<Open>, path: &[u8]) {
    while open.last().is_some_and(|last| last.path != path) && open.len() > 1 {
        let done = open.pop().expect("more than one");
        let name = done.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        let digest = done.close();
        open.last_mut().expect("more than one").entries.push((name, digest));
    }
}

fn header(entry: &Entry) -> Vec<u8> {
    let metadata = &entry.metadata;
    let typeflag = match metadata.file_type {
        FileType::Regular | FileType::Socket => b'0',
        FileType::Symlink => b'2',
        FileType::CharDevice => b'3',
        FileType::BlockDevice => b'4',
        FileType::Directory => b'5',
        FileType::Fifo => b'6',
    };
    let is_content = |name: &[u8]| {
        name == b"security.capability" || !(name.starts_with(b"security.") || name.starts_with(b"system."))
    };
    let mut xattrs: Vec<_> = metadata
        .xattrs
        .iter()
        .filter(|xattr| is_content(&xattr.name))
        .map(|xattr| (xattr.name.clone(), xattr.value.clone()))
        .collect();
    xattrs.sort_unstable();
    buildkit::file_header(&Header {
        typeflag,
        mode: u32::from(metadata.mode),
        size: if entry.is_file() { metadata.size } else { 0 },
        link: entry.link.clone(),
        device: metadata.rdev,
        xattrs,
    })
}
