//! Which files a source path means (`spec/build.md` 2.1 to 2.3, 2.5).
use super::CopyError;
use super::error::shown;
use super::pattern::{self, Reach};
use crate::tree::{Entries, Entry, Filter, Position, SourceTree, Verdict, join, resolve};
use crate::{ContentDigest, Metadata};
use std::sync::Arc;
use strata_oci::DiffId;

/// How source paths are read.
#[derive(Clone, Default)]
pub struct SelectOptions {
    /// `*`, `?` and `[` are wildcards. Without, a path is literal and the source directory's own header is part of
    /// the digest (a bind mount shows it, a copy does not).
    pub wildcards: bool,
    /// `--parents`: the source's directories are kept, from a `/./` in the path on; `**` is allowed.
    pub parents: bool,
    /// `--exclude`: asked with paths below each source root, and with the bare name of a file that a source names
    /// directly.
    pub exclude: Option<Filter>,
    /// ADD: a regular file that a source names directly and that is an archive is unpacked.
    pub unpack: bool,
}

/// The files that one COPY or ADD takes from one tree, in a fixed order.
pub struct Selection {
    pub(super) tree: Arc<dyn SourceTree>,
    pub(super) roots: Vec<Root>,
    pub(super) options: SelectOptions,
}

/// What one path, or one match of a pattern, means.
pub struct Root {
    /// The last component as written (a followed link's own name); empty for the tree's root.
    pub(super) name: Vec<u8>,
    /// The path before a last link in it was followed.
    found: Vec<u8>,
    /// The real path in the tree.
    pub(super) path: Vec<u8>,
    pub(super) entry: Entry,
    /// True if the name came from a wildcard: it is then part of the digest.
    pub(super) matched: bool,
    /// A directory's contents; a file itself, at path `b""`.
    pub(super) items: Arc<Entries>,
}

/// A selected file, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedFile {
    /// Below its source root; a file named directly has its own name.
    pub path: Vec<u8>,
    /// What `stat` shows.
    pub metadata: Metadata,
    /// A symlink's target.
    pub link: Vec<u8>,
    /// Of a regular file.
    pub digest: Option<ContentDigest>,
}

impl Selection {
    /// Finds the files that `paths` mean. Paths are rooted at the tree whether or not they begin with `/`; `..`
    /// does not leave it.
    ///
    /// # Errors
    /// [`CopyError::NotFound`] for a literal path that leads nowhere; a pattern without a match selects nothing.
    pub fn new<P: AsRef<[u8]>>(
        tree: Arc<dyn SourceTree>,
        paths: &[P],
        options: SelectOptions,
    ) -> Result<Self, CopyError> {
        let mut selection = Self { tree, roots: Vec::new(), options };
        for path in paths {
            if selection.options.parents {
                selection.add_with_parents(path.as_ref())?;
            } else {
                selection.add(path.as_ref())?;
            }
        }
        Ok(selection)
    }

    /// The files, with what a changed digest is explained from.
    pub fn files(&self) -> Result<impl Iterator<Item = SelectedFile> + '_, CopyError> {
        self.fill_digests()?;
        Ok(self.roots.iter().flat_map(|root| {
            root.items.positions().map(|at| {
                let (path, entry) = (root.items.path(at), root.items.entry(at));
                SelectedFile {
                    path: if path.is_empty() { root.name.clone() } else { path },
                    metadata: entry.metadata,
                    link: entry.link,
                    digest: root.items.digest(at),
                }
            })
        }))
    }

    /// What the paths mean, match by match.
    pub fn roots(&self) -> impl Iterator<Item = &Root> {
        self.roots.iter()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.roots.iter().map(|root| root.items.len()).sum()
    }

    /// True if nothing was selected (a pattern without a match, an empty directory).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self, written: &[u8]) -> Result<(), CopyError> {
        let names = clean(written);
        let first_pattern = match self.options.wildcards {
            true => names.iter().position(|name| pattern::has_wildcards(name)),
            false => None,
        };
        let Some(first) = first_pattern else { return self.add_literal(&names) };
        for path in self.matches(&names, first, written)? {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
            self.add_root(&path, name, true)?;
        }
        Ok(())
    }

    /// What the names mean, the first wildcard being in number `first`. Where to look for matches must exist: a typing
    /// mistake in `target/*.jar` is an error, `no*thing` is not.
    fn matches(&self, names: &[Vec<u8>], first: usize, written: &[u8]) -> Result<Vec<Vec<u8>>, CopyError> {
        check(&names[first..], written)?;
        let parent = names[..first].join(&b'/');
        let Some((base, entry)) = resolve(&*self.tree, &parent)? else {
            return Err(CopyError::NotFound(shown(&parent)));
        };
        if !entry.is_directory() {
            return Ok(Vec::new());
        }
        let mut matched = vec![base];
        for (at, name) in names[first..].iter().enumerate() {
            let is_last = first + at + 1 == names.len();
            matched = self.match_in(&matched, name, is_last)?;
        }
        Ok(matched)
    }

    /// Entries of `directories` whose name matches; real directories only, unless the component is the last one.
    fn match_in(
        &self,
        directories: &[Vec<u8>],
        wanted: &[u8],
        is_last: bool,
    ) -> Result<Vec<Vec<u8>>, CopyError> {
        let mut found = Vec::new();
        for directory in directories {
            for (name, entry) in self.tree.read_dir(directory)? {
                let fits = pattern::matches(wanted, &name).unwrap_or(false);
                if fits && (is_last || entry.is_directory()) {
                    found.push(join(directory, &name));
                }
            }
        }
        Ok(found)
    }

    fn add_literal(&mut self, names: &[Vec<u8>]) -> Result<(), CopyError> {
        let path = names.join(&b'/');
        let name = names.last().cloned().unwrap_or_default();
        match self.add_root(&path, name, false) {
            // Not a name as it is written: perhaps with its escapes taken away.
            Err(CopyError::NotFound(_)) if self.options.wildcards && path.contains(&b'\\') => {
                let name = names.last().map(|name| pattern::unescape(name)).unwrap_or_default();
                self.add_root(&pattern::unescape(&path), name, false)
            }
            added => added,
        }
    }

    /// Adds what `path` leads to.
    fn add_root(&mut self, path: &[u8], name: Vec<u8>, matched: bool) -> Result<(), CopyError> {
        let found = path.to_vec();
        let Some((path, entry)) = resolve(&*self.tree, path)? else {
            return Err(CopyError::NotFound(shown(path)));
        };
        let items = if entry.is_directory() {
            self.tree.walk(&path, self.options.exclude.as_ref())?
        } else if self
            .options
            .exclude
            .as_ref()
            .is_some_and(|exclude| exclude(&name, false) != Verdict::Include)
        {
            return Ok(());
        } else {
            Arc::new(Entries::single(&entry))
        };
        self.roots.push(Root { name, found, path, entry, matched, items });
        Ok(())
    }

    /// `--parents`: the directories before the pivot are the roots, what follows is a filter on their contents.
    fn add_with_parents(&mut self, written: &[u8]) -> Result<(), CopyError> {
        let (base, kept) = split_at_pivot(written);
        let (base, names) = (clean(base), clean(kept));
        check(&names, written)?;
        if let Some(first) = base.iter().position(|name| pattern::has_wildcards(name)) {
            for path in self.matches(&base, first, written)? {
                self.add_below_pivot(&path, &names)?;
            }
            return Ok(());
        }
        let missing = || CopyError::NotFound(shown(&clean(written).join(&b'/')));
        let path = base.join(&b'/');
        let (real, _) = resolve(&*self.tree, &path)?
            .filter(|(_, entry)| entry.is_directory())
            .ok_or_else(|| CopyError::NotFound(shown(&path)))?;
        if !names.iter().any(|name| pattern::has_wildcards(name)) {
            let literal: Vec<_> = names.iter().map(|name| pattern::unescape(name)).collect();
            self.tree.entry(&join(&real, &literal.join(&b'/')))?.ok_or_else(missing)?;
        }
        self.add_below_pivot(&path, &names)
    }

    /// Adds what `names` mean in `directory`, with its directories. A file where the pivot is stands for itself.
    fn add_below_pivot(&mut self, directory: &[u8], names: &[Vec<u8>]) -> Result<(), CopyError> {
        let Some((path, entry)) = resolve(&*self.tree, directory)? else { return Ok(()) };
        if !entry.is_directory() {
            let name = directory.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
            return self.add_root(directory, name, true);
        }
        let filter = parents_filter(names.to_vec(), self.options.exclude.clone());
        let items = self.tree.walk(&path, Some(&filter))?;
        self.roots.push(Root {
            name: Vec::new(),
            found: directory.to_vec(),
            path,
            entry,
            matched: true,
            items,
        });
        Ok(())
    }

    pub(super) fn fill_digests(&self) -> Result<(), CopyError> {
        Ok(self.roots.iter().try_for_each(|root| self.tree.fill_digests(&root.path, &root.items))?)
    }

    /// The layer that these files were last copied into is in the store under this name: the next copy may take from
    /// there what has not changed.
    pub fn were_written_to(&self, layer: &DiffId) {
        self.roots.iter().for_each(|root| self.tree.were_written_to(&root.items, layer));
    }
}

impl Root {
    /// The path as it was written or matched, the directories before a pattern with their links followed.
    pub fn found(&self) -> &[u8] {
        &self.found
    }

    /// The real path in the tree.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// What is there.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// A directory's contents; a file itself, at path `b""`.
    pub fn items(&self) -> &Entries {
        &self.items
    }

    /// An item's path in the tree.
    pub(super) fn source_path(&self, at: Position) -> Vec<u8> {
        join(&self.path, &self.items.path(at))
    }
}

/// The components of a path as written, `.` and `..` removed as if nothing were a link.
pub(super) fn clean(path: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for name in crate::stack::components(path) {
        if name == b".." {
            names.pop();
        } else {
            names.push(name.to_vec());
        }
    }
    names
}

/// Refuses patterns that cannot match anything.
fn check(names: &[Vec<u8>], written: &[u8]) -> Result<(), CopyError> {
    let bad = |_| CopyError::Pattern(String::from_utf8_lossy(written).into_owned());
    names.iter().try_for_each(|name| pattern::check(name).map_err(bad))
}

/// Before and after the first `/./` that something follows.
fn split_at_pivot(path: &[u8]) -> (&[u8], &[u8]) {
    match path.windows(3).position(|window| window == b"/./") {
        Some(at) if at + 3 < path.len() => (&path[..at], &path[at + 3..]),
        _ => (b"", path),
    }
}

/// Lets through what matches, what is below it, and the directories on the way.
fn parents_filter(names: Vec<Vec<u8>>, exclude: Option<Filter>) -> Filter {
    Arc::new(move |path, is_directory| {
        let wanted: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let path_names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let own = match pattern::reach(&wanted, &path_names) {
            Reach::Full => Verdict::Include,
            Reach::Partial => Verdict::ExcludeButDescend,
            Reach::Off => return Verdict::Exclude,
        };
        match exclude.as_ref().map_or(Verdict::Include, |exclude| exclude(path, is_directory)) {
            Verdict::Include => own,
            other => other,
        }
    })
}
