//! Files by BuildKit's content digests: what its caches call the sources of a COPY.
use super::cache::failed;
use super::files::select_options;
use super::layer::LayerHandle;
use super::worker::{EngineWorker, copy_failed};
use crate::EngineError;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::Read;
use strata_build::buildkit::{self, Header, Listing};
use strata_build::{Origin, Selection, WorkerError};
use strata_layer::FileType;
use strata_layer::copy::{self, Root};
use strata_layer::tree::{Entry, SourceTree};
use strata_oci::Digest;

/// Bytes read of a file at once.
const BUFFER: usize = 128 << 10;

/// What the same files are called by BuildKit 0.8, by 0.11 to 0.25, and since 0.26.
type Names = [Digest; 3];

/// A digest without owners, as BuildKit 0.8 has it, and one with them.
type Both = [Digest; 2];

impl EngineWorker<'_> {
    /// Digests of the files that a COPY or a mount takes, as one BuildKit or another has them; none where they would look at
    /// the files otherwise.
    pub(super) fn buildkit_digests(
        &self,
        origin: Origin<'_, LayerHandle>,
        selection: &Selection,
    ) -> Result<Vec<Digest>, WorkerError> {
        if matches!(origin, Origin::Named(_)) || selection.parents || !selection.remote.is_empty() {
            return Ok(Vec::new());
        }
        if let Origin::Layers(handles) = origin {
            self.bring(handles)?;
        }
        let tree = self.tree(origin)?;
        let hashing = Hashing { worker: self, tree: &*tree, is_context: matches!(origin, Origin::Context) };
        let mut names: [Vec<Digest>; 3] = Default::default();
        for path in sources(&selection.paths, selection.wildcards) {
            let wildcards = selection.wildcards && has_wildcards(&path);
            let one = Selection { paths: vec![path.clone()], wildcards, ..selection.clone() };
            let options = select_options(&one, false).map_err(failed)?;
            let found = copy::Selection::new(std::sync::Arc::clone(&tree), &one.paths, options);
            let Some(digests) = hashing.names(&path, &one, &found.map_err(copy_failed)?)? else {
                return Ok(Vec::new());
            };
            names.iter_mut().zip(digests).for_each(|(names, digest)| names.push(digest));
        }
        let mut digests: Vec<Digest> = names.iter().map(|names| buildkit::selected_digest(names)).collect();
        digests.dedup();
        Ok(digests)
    }
}

/// The paths that are looked at, in their order: none that another one holds.
fn sources(paths: &[String], wildcards: bool) -> BTreeSet<String> {
    let is_pattern = |path: &str| wildcards && has_wildcards(path);
    let clean: BTreeSet<String> = paths.iter().map(|path| absolute(path)).collect();
    let is_below = |path: &&String| {
        let holds = |other: &&String| {
            let directory = if other.ends_with('/') { (*other).clone() } else { format!("{other}/") };
            !is_pattern(other) && other != path && path.starts_with(&directory)
        };
        !is_pattern(path) && clean.iter().any(|other| holds(&other))
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
    header: Both,
    entries: [Vec<(Vec<u8>, Digest)>; 2],
}

impl Open {
    fn push(&mut self, name: &[u8], digest: Both) {
        let of_each = self.entries.iter_mut().zip(digest);
        of_each.for_each(|(entries, digest)| entries.push((name.to_vec(), digest)));
    }

    fn close(self) -> Both {
        std::array::from_fn(|index| buildkit::dir_digest(&self.header[index], &self.entries[index]))
    }
}

impl Hashing<'_> {
    /// What is called so, with all that is in it; `None` for something that none of the releases would find.
    fn names(
        &self,
        path: &str,
        selection: &Selection,
        found: &copy::Selection,
    ) -> Result<Option<Names>, WorkerError> {
        let roots: Vec<&Root> = found.roots().collect();
        let pattern = base_name(path.as_bytes());
        if !selection.wildcards && selection.exclude.is_empty() {
            let [root] = roots[..] else { return Ok(None) };
            let [bare, owned] = self.any(root, &mut |_, _| {})?;
            return Ok(Some([bare, owned, owned]));
        }
        // Below this directory paths count, with --exclude also what is copied itself.
        let written = path.split('/').count() - 1;
        let first = match selection.wildcards {
            true => path.split('/').skip(1).position(has_wildcards).unwrap_or(written),
            false => written,
        };
        let mut listing = Listing::default();
        let mut matched = Vec::new();
        for root in roots {
            let name = base_name(root.found());
            let prefix = last_components(root.found(), written - first);
            let is_link = root.found() != root.path();
            let mut add = |below: &[u8], digest: &Digest| {
                let name = if below.is_empty() { name } else { base_name(below) };
                let separator = if below.is_empty() || prefix.is_empty() { &b""[..] } else { b"/" };
                listing.add(name, &[prefix, separator, below].concat(), digest);
            };
            // What a link leads to is one thing, whatever is in it.
            let whole = match is_link || !root.entry().is_directory() {
                true => {
                    let digest = self.any(root, &mut |_, _| {})?;
                    add(b"", &digest[1]);
                    digest
                }
                false => self.any(root, &mut add)?,
            };
            matched.push((name.to_vec(), whole[0]));
        }
        let [by_name, by_path] = listing.digests(pattern);
        let old = match &matched[..] {
            [] => Digest::of(b""),
            [(name, digest)] if name == pattern => *digest,
            matched => buildkit::names_digest(matched),
        };
        Ok(Some([old, by_name, by_path]))
    }

    /// A file or a directory. `add` is told of a directory's header and of what is in it, by paths relative to it.
    fn any(&self, root: &Root, add: &mut dyn FnMut(&[u8], &Digest)) -> Result<Both, WorkerError> {
        let entry = root.entry();
        if entry.is_directory() { self.directory(root, add) } else { self.file(root.path(), entry) }
    }

    fn directory(&self, root: &Root, add: &mut dyn FnMut(&[u8], &Digest)) -> Result<Both, WorkerError> {
        let path = root.path();
        // Nobody sends a context's root itself.
        let is_unseen = path.is_empty() && self.is_context;
        let header = if is_unseen {
            [Digest::of(b""); 2]
        } else {
            headers(root.entry()).map(|header| Digest::of(&header))
        };
        add(b"", &header[1]);
        let mut open = vec![Open { path: Vec::new(), header, entries: Default::default() }];
        for (below, entry) in root.items().iter() {
            let (parent, name) = match below.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => (&below[..slash], &below[slash + 1..]),
                None => (&b""[..], &below[..]),
            };
            close_until(&mut open, parent);
            if entry.is_directory() {
                let header = headers(&entry).map(|header| Digest::of(&header));
                add(&below, &header[1]);
                open.push(Open { path: below.clone(), header, entries: Default::default() });
                continue;
            }
            let full = if path.is_empty() { below.clone() } else { [path, b"/", &below].concat() };
            let digest = self.file(&full, &entry)?;
            add(&below, &digest[1]);
            open.last_mut().expect("the directory itself stays open").push(name, digest);
        }
        close_until(&mut open, b"");
        Ok(open.pop().expect("the directory itself").close())
    }

    fn file(&self, path: &[u8], entry: &Entry) -> Result<Both, WorkerError> {
        self.worker.check_cancelled()?;
        let [bare, owned] = headers(entry);
        let is_same = bare == owned;
        let mut hashers = [bare, owned].map(|header| Sha256::new().chain_update(header));
        let count = if is_same { 1 } else { 2 };
        if entry.is_file() {
            let unread = |error| failed(EngineError::layer("cannot read a source of a COPY", error));
            let mut content = self.tree.open(path, entry).map_err(unread)?;
            let mut buffer = vec![0; BUFFER];
            loop {
                match content.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => hashers[..count].iter_mut().for_each(|hasher| hasher.update(&buffer[..read])),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(failed(EngineError::from(error))),
                }
            }
        }
        let [bare, owned] = hashers.map(|hasher| Digest::from_bytes(hasher.finalize().into()));
        Ok([bare, if is_same { bare } else { owned }])
    }
}

/// The last component of a path; of the root's a dot.
fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty()).unwrap_or(b".")
}

/// The end of a path: so many of its components.
fn last_components(path: &[u8], count: usize) -> &[u8] {
    let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
    match count.checked_sub(1) {
        None => b"",
        Some(before) => slashes.map(|(at, _)| at + 1).nth(before).map_or(path, |at| &path[at..]),
    }
}

/// Ends directories until the one at `path` is the last.
fn close_until(open: &mut Vec<Open>, path: &[u8]) {
    while open.last().is_some_and(|last| last.path != path) && open.len() > 1 {
        let done = open.pop().expect("more than one");
        let name = done.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        let digest = done.close();
        open.last_mut().expect("more than one").push(&name, digest);
    }
}

/// What is hashed of a file's metadata, without its owner and with it.
fn headers(entry: &Entry) -> [Vec<u8>; 2] {
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
    let header = Header {
        typeflag,
        mode: u32::from(metadata.mode),
        owner: (0, 0),
        size: if entry.is_file() { metadata.size } else { 0 },
        link: entry.link.clone(),
        device: metadata.rdev,
        xattrs,
    };
    let owned = Header { owner: (metadata.uid, metadata.gid), ..header.clone() };
    [buildkit::file_header(&header), buildkit::file_header(&owned)]
}
