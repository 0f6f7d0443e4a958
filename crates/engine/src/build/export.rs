//! What a build gives besides an image in the store: its root file system as a directory or a tar, or an archive.
//! Nothing is mounted for it: the merged view of the layers is read from their indexes.

mod directory;
#[cfg(test)]
mod tests;

use super::BuildReport;
use crate::archive::ArchiveForm;
use crate::transfer::{Outgoing, Progress, PushForm, Pushed, Recipe, TransferEvents};
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use strata_layer::tree::{Entry, SourceTree};
use strata_layer::{LayerBuilder, LayerError, Stack};
use strata_oci::{Descriptor, DiffId, Reference};
use strata_store::NamedManifest;

impl Engine {
    /// Writes the root file system of a build into a directory, over what is there. Modes and times are the
    /// image's, owners those of the caller. With `SOURCE_DATE_EPOCH` all times are that.
    pub fn export_directory(&self, report: &BuildReport, destination: &Path) -> Result<(), EngineError> {
        fs_err::create_dir_all(destination)?;
        directory::write(&self.merged(report)?, destination, report.epoch.map(Timestamp::as_second))
    }

    /// Writes the root file system of a build as one tar, owners and attributes included.
    pub fn export_tar(&self, report: &BuildReport, out: &mut dyn Write) -> Result<(), EngineError> {
        write_tar(&self.merged(report)?, out, report.epoch.map(Timestamp::as_second))
            .map_err(|error| EngineError::layer("cannot export the file system", error))
    }

    /// Writes a build as an archive that is both Docker's and an OCI layout. Gives its manifest's descriptor.
    pub fn export_archive(
        &self,
        report: &BuildReport,
        names: &[Reference],
        form: &ArchiveForm,
        out: &File,
    ) -> Result<Descriptor, EngineError> {
        let form = ArchiveForm { created: report.epoch, ..form.clone() };
        self.save_config(report.config.clone(), names.to_vec(), &form, out)
    }

    /// Writes the same archive as files: an OCI layout in a directory.
    pub fn export_layout(
        &self,
        report: &BuildReport,
        names: &[Reference],
        form: &ArchiveForm,
        directory: &Path,
    ) -> Result<Descriptor, EngineError> {
        let mut archive = nameless_file(directory)?;
        let manifest = self.export_archive(report, names, form, &archive)?;
        archive.rewind()?;
        // An archive of our own: nothing in it leads out of the directory.
        tar::Archive::new(archive).unpack(directory)?;
        Ok(manifest)
    }

    /// Sends a build to a registry.
    pub fn push_build(
        &self,
        report: &BuildReport,
        reference: &Reference,
        recipe: Option<Recipe>,
        annotations: &BTreeMap<String, String>,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<Pushed, EngineError> {
        events(Progress::PushingTo(&reference.name()));
        let offers = |layer: &DiffId| report.known.offered(layer);
        let manifest = NamedManifest::Annotated(annotations.clone());
        let image = Outgoing { config: &report.config, manifest, offers: &offers };
        self.push_config(image, reference, PushForm { recipe, foreign: false }, events, cancel)
    }

    /// Why a layer of a build that is to be passed on without being here cannot be: a shared cache has lost it, or has another
    /// in its place. All of it is read, so this is for when a push has failed. A build whose layers are wanted here
    /// ([`BuildRequest::needs_layers`](super::BuildRequest::needs_layers)) makes it anew.
    pub fn lost_layer(&self, report: &BuildReport) -> Option<String> {
        let layers = &report.config.value().rootfs.diff_ids;
        let missing = layers.iter().filter(|layer| matches!(self.store().layers().layer(layer), Ok(None)));
        missing.filter_map(|layer| report.known.offered(layer)?.lost(layer)).next()
    }

    /// The descriptor of the manifest under which a build would be pushed uncompressed.
    pub fn manifest(
        &self,
        report: &BuildReport,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Descriptor, EngineError> {
        Ok(self.manifest_of(&report.config, annotations.clone())?.0)
    }

    fn merged(&self, report: &BuildReport) -> Result<Stack, EngineError> {
        Ok(self.store().layers().stack(&report.config.value().rootfs.diff_ids)?)
    }
}

/// A file without a name.
pub(crate) fn nameless_file(directory: &Path) -> Result<File, EngineError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR);
    Ok(File::from(file.map_err(std::io::Error::from)?))
}

/// What tells the names of one inode.
type Inode = (u64, u64);

fn inode(entry: &Entry) -> Option<Inode> {
    (entry.identity.links > 1 && !entry.is_directory())
        .then_some((entry.identity.device, entry.identity.inode))
}

fn write_tar(tree: &Stack, out: &mut dyn Write, epoch: Option<i64>) -> Result<(), LayerError> {
    let mut builder = LayerBuilder::new(out);
    let mut first: HashMap<Inode, Vec<u8>> = HashMap::new();
    for (path, mut entry) in tree.walk(b"", None)?.iter() {
        if path.is_empty() {
            continue;
        }
        if let Some(target) = inode(&entry).and_then(|inode| first.get(&inode)) {
            builder.hard_link(&path, target)?;
            continue;
        }
        let seen = entry.clone();
        if let Some(epoch) = epoch {
            (entry.metadata.mtime, entry.metadata.mtime_nsec) = (epoch, 0);
        }
        if entry.is_file() {
            let mut content = SourceTree::open(tree, &path, &seen)?;
            builder.add_file(&path, &entry.metadata, &mut content, None)?;
        } else {
            builder.add(&path, &entry.metadata, &entry.link)?;
        }
        if let Some(inode) = inode(&seen) {
            first.insert(inode, path);
        }
    }
    builder.finish().map(drop)
}
