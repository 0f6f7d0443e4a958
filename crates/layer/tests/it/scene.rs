//! What the tests share: a directory of layers, source trees made by a shell, listings to compare.
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strata_layer::context::ContextDir;
use strata_layer::copy::{CopyError, CopyOptions, SelectOptions, Selection, copy};
use strata_layer::tree::{Entry, SourceTree};
use strata_layer::{FileType, Layer, LayerBuilder, LayerError, LayerInfo, Stack};

/// Time of everything that no source describes.
pub(crate) const CREATED: (i64, u32) = (1_700_000_000, 5);

/// A stack that grows, kept in files so that the kernel can mount it.
pub(crate) struct Scene {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) layers: Vec<Arc<Layer>>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        // Not /tmp: that may be a tmpfs, which EROFS cannot be mounted from.
        let directory = tempfile::Builder::new().prefix("strata-layer-").tempdir_in("/var/tmp").unwrap();
        Self { directory, layers: Vec::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn stack(&self) -> Stack {
        Stack::new(self.layers.clone())
    }

    /// Adds the layer that `fill` makes.
    pub(crate) fn add<E>(
        &mut self,
        fill: impl FnOnce(&mut LayerBuilder<File>) -> Result<(), E>,
    ) -> Result<LayerInfo, E>
    where
        E: From<LayerError>,
    {
        let number = self.layers.len();
        let (tar, index) = (self.path(&format!("{number}.tar")), self.path(&format!("{number}.index")));
        let mut builder = LayerBuilder::new(fs_err::File::create(&tar).unwrap().into_file());
        fill(&mut builder)?;
        let (_, info, contents) = builder.finish()?;
        let stack = self.stack();
        let bytes = contents.index(contents.depends_on_parents().then_some(&stack))?;
        fs_err::write(&index, &bytes).unwrap();
        let tar = fs_err::File::open(&tar).unwrap().into_file();
        self.layers.push(Arc::new(Layer::open(bytes, tar).unwrap()));
        Ok(info)
    }

    /// Runs a shell script in the new directory `name` and gives the directory.
    pub(crate) fn tree(&self, name: &str, script: &str) -> PathBuf {
        let directory = self.path(name);
        fs_err::create_dir_all(&directory).unwrap();
        shell(&directory, script);
        directory
    }

    /// Adds a layer with the tree that a script makes, owners included.
    pub(crate) fn base(&mut self, script: &str) {
        let tree = self.tree(&format!("base-{}", self.layers.len()), script);
        self.add(|builder| add_tree(builder, &tree, b"")).unwrap();
    }

    /// COPY from a context; returns what the layer changed.
    pub(crate) fn copy(&mut self, context: &Path, copy: &Copy<'_>) -> Result<Vec<String>, CopyError> {
        let context = ContextDir::open(context, None, None)?;
        self.copy_tree(Arc::new(context), copy)
    }

    pub(crate) fn copy_tree(
        &mut self,
        tree: Arc<dyn SourceTree>,
        how: &Copy<'_>,
    ) -> Result<Vec<String>, CopyError> {
        let options = SelectOptions { wildcards: true, ..how.select.clone() };
        let selection = Selection::new(tree, how.from, options)?;
        let below = self.stack();
        let options = CopyOptions { created: CREATED, ..how.options.clone() };
        self.add(|builder| {
            let below = (!how.link).then_some(&below);
            copy(&[selection], below, how.to.as_bytes(), &options, builder)
        })?;
        Ok(difference(&below, &self.stack()))
    }
}

/// One COPY.
#[derive(Clone)]
pub(crate) struct Copy<'a> {
    pub(crate) from: &'a [&'a str],
    pub(crate) to: &'a str,
    pub(crate) select: SelectOptions,
    pub(crate) options: CopyOptions,
    pub(crate) link: bool,
}

impl<'a> Copy<'a> {
    pub(crate) fn new(from: &'a [&'a str], to: &'a str) -> Self {
        Self { from, to, select: SelectOptions::default(), options: CopyOptions::default(), link: false }
    }

    pub(crate) fn chmod(mut self, chmod: &str) -> Self {
        self.options.chmod = Some(chmod.parse().unwrap());
        self
    }

    pub(crate) fn chown(mut self, uid: u32, gid: u32) -> Self {
        self.options.owner = Some((uid, gid));
        self
    }

    pub(crate) fn parents(mut self) -> Self {
        self.select.parents = true;
        self
    }

    pub(crate) fn link(mut self) -> Self {
        self.link = true;
        self
    }

    pub(crate) fn exclude(mut self, rule: fn(&str) -> bool) -> Self {
        use strata_layer::tree::Verdict;
        self.select.exclude = Some(Arc::new(move |path, _| {
            if rule(std::str::from_utf8(path).unwrap()) { Verdict::Exclude } else { Verdict::Include }
        }));
        self
    }
}

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (owners, devices, mounts)");
    }
    root
}

#[track_caller]
pub(crate) fn shell(directory: &Path, script: &str) {
    let status = std::process::Command::new("sh")
        .args(["-euc", &format!("umask 022; {script}")])
        .current_dir(directory)
        .status()
        .unwrap();
    assert!(status.success(), "{script}");
}

/// Adds everything below a real directory; owners included where root made them, else everything is root's.
fn add_tree(builder: &mut LayerBuilder<File>, directory: &Path, at: &[u8]) -> Result<(), LayerError> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::os::unix::fs::MetadataExt;
    let mut names: Vec<_> =
        fs_err::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    for name in names {
        let path = directory.join(&name);
        let inside = [at, if at.is_empty() { b"" } else { b"/" }, name.as_bytes()].concat();
        let status = fs_err::symlink_metadata(&path).unwrap();
        let context = ContextDir::open(directory, None, None)?;
        let mut metadata = context.entry(name.as_bytes())?.unwrap().metadata;
        if rustix::process::geteuid().is_root() {
            (metadata.uid, metadata.gid) = (status.uid(), status.gid());
        }
        if status.is_file() {
            let content = fs_err::read(&path).unwrap();
            builder.add_file(&inside, &metadata, &mut content.as_slice(), None)?;
        } else {
            let link =
                fs_err::read_link(&path).map(|link| link.into_os_string().into_vec()).unwrap_or_default();
            builder.add(&inside, &metadata, &link)?;
        }
        if status.is_dir() {
            add_tree(builder, &path, &inside)?;
        }
    }
    Ok(())
}

/// All entries of a tree, as `type mode uid:gid content`, by path. Directories have no time: it is not compared.
pub(crate) fn listing(tree: &dyn SourceTree) -> BTreeMap<String, String> {
    let mut first_names: BTreeMap<(u64, u64), String> = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for (path, entry) in tree.walk(b"", None).unwrap().iter() {
        let name = String::from_utf8_lossy(&path).into_owned();
        let mut line = describe(tree, &path, &entry);
        if entry.is_file() && entry.identity.links > 1 {
            let identity = (entry.identity.device, entry.identity.inode);
            let first = first_names.entry(identity).or_insert_with(|| name.clone());
            line.push_str(&format!(" ={first}"));
        }
        lines.insert(name, line);
    }
    lines
}

fn describe(tree: &dyn SourceTree, path: &[u8], entry: &Entry) -> String {
    let metadata = &entry.metadata;
    let kind = match metadata.file_type {
        FileType::Regular => {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut tree.open(path, entry).unwrap(), &mut content).unwrap();
            match std::str::from_utf8(&content) {
                Ok(text) if text.len() < 100 => format!("file {text:?}"),
                _ => format!("file {} bytes", content.len()),
            }
        }
        FileType::Directory => "dir".to_owned(),
        FileType::Symlink => return format!("-> {}", String::from_utf8_lossy(&entry.link)),
        FileType::Fifo => "fifo".to_owned(),
        other => format!("{other:?} {:?}", metadata.rdev),
    };
    let xattrs: String =
        metadata.xattrs.iter().map(|xattr| format!(" {}", xattr.name.escape_ascii())).collect();
    format!("{:04o} {}:{} {kind}{xattrs}", metadata.mode, metadata.uid, metadata.gid)
}

/// What is new or changed, and what is gone.
pub(crate) fn difference(before: &Stack, after: &Stack) -> Vec<String> {
    let (before, after) = (listing(before), listing(after));
    let gone = before.keys().filter(|path| !after.contains_key(*path)).map(|path| format!("{path} gone"));
    let changed = after.iter().filter(|(path, line)| before.get(*path) != Some(*line));
    gone.chain(changed.map(|(path, line)| format!("{path} {line}"))).collect()
}
