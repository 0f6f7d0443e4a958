//! A store in a temporary directory, and small layers and images in it.
use std::path::Path;
use strata_layer::{Contents, FileType, LayerBuilder, LayerError, LayerInfo, Metadata};
use strata_oci::{DiffId, ImageConfig, ImageId, Raw, Reference};
use strata_store::{
    Access, GcOptions, GcReport, LayerMode, LayerRecord, Lease, Store, StoreError, StoreOptions,
};

pub(crate) struct TestStore {
    pub(crate) store: Store,
    pub(crate) directory: tempfile::TempDir,
}

impl std::ops::Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

pub(crate) fn options(directory: &Path) -> StoreOptions {
    StoreOptions {
        root: directory.join("root"),
        run_dir: directory.join("run"),
        layer_mode: Some(LayerMode::Tree),
        access: Access::Full,
        ended: |_| true,
    }
}

pub(crate) fn open(directory: &Path) -> Store {
    Store::open(options(directory)).unwrap()
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { store: open(directory.path()), directory }
    }

    /// The same directories, as the next process would open them.
    pub(crate) fn reopen(self) -> Self {
        let Self { store, directory } = self;
        drop(store);
        Self { store: open(directory.path()), directory }
    }

    pub(crate) fn layer(&self, lease: &Lease, files: &[(&str, &[u8])], below: &[DiffId]) -> LayerRecord {
        add_layer(self, lease, files, below).unwrap()
    }

    /// An image of one layer per element, each with one file of that content.
    pub(crate) fn image(&self, contents: &[&str]) -> ImageId {
        add_image(self, contents).unwrap()
    }

    pub(crate) fn gc(&self) -> GcReport {
        self.store.gc(&GcOptions { include_cache: false, unmount: &|_| Ok(()) }).unwrap()
    }
}

pub(crate) fn file(size: usize) -> Metadata {
    metadata(FileType::Regular, 0o644, size as u64)
}

pub(crate) fn metadata(file_type: FileType, mode: u16, size: u64) -> Metadata {
    let xattrs = Vec::new();
    Metadata {
        file_type,
        mode,
        uid: 0,
        gid: 0,
        mtime: 1_700_000_000,
        mtime_nsec: 0,
        size,
        rdev: (0, 0),
        xattrs,
    }
}

pub(crate) fn build<W: std::io::Write>(
    out: W,
    files: &[(&str, &[u8])],
) -> std::io::Result<(LayerInfo, Contents)> {
    let io = |error| match error {
        LayerError::Io(error) => error,
        other => std::io::Error::other(other),
    };
    let mut builder = LayerBuilder::new(out);
    for (path, content) in files {
        builder.add_file(path.as_bytes(), &file(content.len()), &mut &content[..], None).map_err(io)?;
    }
    let (_, info, contents) = builder.finish().map_err(io)?;
    Ok((info, contents))
}

pub(crate) fn add_layer(
    store: &Store,
    lease: &Lease,
    files: &[(&str, &[u8])],
    below: &[DiffId],
) -> Result<LayerRecord, StoreError> {
    let ingest = store.layers().begin(lease)?;
    let (info, contents) = build(ingest.tar_file()?, files)?;
    ingest.commit(info, &contents, below)
}

pub(crate) fn config(layers: &[DiffId], comment: &str) -> Raw<ImageConfig> {
    let mut config = ImageConfig::default();
    config.rootfs.diff_ids = layers.to_vec();
    config.author = Some(comment.to_owned());
    Raw::new(config)
}

pub(crate) fn add_image(store: &Store, contents: &[&str]) -> Result<ImageId, StoreError> {
    let lease = store.leases().acquire()?;
    let mut layers = Vec::new();
    for content in contents {
        let record = add_layer(store, &lease, &[("file", content.as_bytes())], &layers)?;
        layers.push(record.diff_id);
    }
    store.images().put(&config(&layers, ""), None)
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// Names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
