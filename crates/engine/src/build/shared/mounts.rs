//! Cache mounts on their way between machines: the files of each are a layer on nothing, which goes and comes as every
//! other layer does.
use super::super::{BuildReport, cache_lock};
use super::Aside;
use super::export::Failure;
use crate::{Engine, EngineError};
use rustix::fs::FlockOperation;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use strata_cache::Mounts;
use strata_oci::{DiffId, Digest};
use strata_store::Lease;

/// A mount whose files are a layer of the store, or of a source.
pub(super) struct Packed {
    pub(super) id: String,
    pub(super) name: Digest,
    pub(super) layer: DiffId,
}

/// The id of a mount stands beside its files, for its directory has the name of a digest.
pub(in super::super) const ID_FILE: &str = "id";

impl Engine {
    /// Makes layers of the cache mounts of a build's steps, whether these ran or not. What is not here but in a source goes
    /// on as it is. Nobody uses a mount while it is packed; the build's lease keeps the layers.
    pub(super) fn pack_mounts(
        &self,
        report: &BuildReport,
        wanted: &Mounts,
        aside: &Aside<'_>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Packed>, Failure> {
        let of_steps = report.known.steps.iter().flat_map(|step| &step.cache_mounts);
        let ids: BTreeSet<&String> = of_steps.filter(|id| wanted.include(id)).collect();
        if let Mounts::Some(named) = wanted {
            for id in named.iter().filter(|id| !ids.contains(id)) {
                aside.line(&format!("cache mount {id}: no step of this build has it"));
            }
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let here = self.kept_mounts().map_err(EngineError::from)?;
        let mut packed = Vec::new();
        for id in ids {
            let mut names = BTreeSet::new();
            for (name, directory) in here.iter().filter(|(_, (own, _))| own == id).map(|(n, (_, d))| (n, d)) {
                let Some(layer) = self.pack_mount(id, directory, &report.lease, aside, cancel)? else {
                    continue;
                };
                names.insert(*name);
                packed.push(Packed { id: id.clone(), name: *name, layer });
            }
            for (name, layer, offered) in report.known.shared.kept_mounts(id) {
                if names.insert(name) {
                    report.known.shared.offer(layer, offered);
                    packed.push(Packed { id: id.clone(), name, layer });
                }
            }
            if names.is_empty() {
                aside.line(&format!("cache mount {id}: it is neither here nor in a source"));
            }
        }
        Ok(packed)
    }

    /// The mounts of this store that have been used since their ids are written down: by name, with id and directory.
    pub(in super::super) fn kept_mounts(&self) -> std::io::Result<BTreeMap<Digest, (String, PathBuf)>> {
        let mut found = BTreeMap::new();
        let entries = match fs_err::read_dir(self.cache_mounts()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let directory = entry?.path();
            // Copies that a private mount was given have other names, and go with nobody.
            let name =
                directory.file_name().and_then(|name| format!("sha256:{}", name.to_str()?).parse().ok());
            let Some(name) = name.filter(|_| directory.join("data").is_dir()) else { continue };
            if let Ok(id) = fs_err::read_to_string(directory.join(ID_FILE)) {
                found.insert(name, (id, directory));
            }
        }
        Ok(found)
    }

    /// `None`, with a word, for a mount that no layer can hold.
    fn pack_mount(
        &self,
        id: &str,
        directory: &Path,
        lease: &Lease,
        aside: &Aside<'_>,
        cancel: &AtomicBool,
    ) -> Result<Option<DiffId>, Failure> {
        let _held = lock(id, directory, aside, cancel)?;
        let staged = self.store().layers().begin(lease).map_err(EngineError::from)?;
        let mut file = staged.tar_file().map_err(EngineError::from)?;
        let (info, contents) = match strata_layer::pack(&directory.join("data"), &mut file) {
            Ok(packed) => packed,
            Err(error) => {
                aside.line(&format!("cache mount {id}: left out: {error}"));
                return Ok(None);
            }
        };
        let record = staged.commit(info, &contents, &[]).map_err(EngineError::from)?;
        aside.line(&format!("packing cache mount {id} done: {} files and directories", record.entries));
        Ok(Some(record.diff_id))
    }
}

/// The lock of a mount, for nobody else: steps that share it hold it together, so this waits for all of them.
fn lock(id: &str, directory: &Path, aside: &Aside<'_>, cancel: &AtomicBool) -> Result<fs_err::File, Failure> {
    let waiting = || aside.line(&format!("waiting for cache mount {id}: another build uses it"));
    cache_lock::take(directory, FlockOperation::NonBlockingLockExclusive, Some(cancel), &waiting)
        .map_err(EngineError::from)?
        .ok_or_else(|| EngineError::Invalid("the export was interrupted".to_owned()).into())
}
