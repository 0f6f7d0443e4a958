//! `builder cache`: what cache mounts of RUNs hold, out as a tar and in again.
use super::mounts::{set_owner_and_mode, unseeded};
use super::shared::ID_FILE;
use crate::{Engine, EngineError};
use rustix::fs::FlockOperation;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use strata_layer::Limits;
use strata_oci::Digest;

/// A cache mount of this store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMount {
    /// As RUNs call it.
    pub id: String,
    /// The mount itself: one id with other owners or another first content is another mount.
    pub name: Digest,
    /// Bytes of its files.
    pub size: u64,
    directory: PathBuf,
}

impl Engine {
    /// All of them, by id.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn list_cache_mounts(&self) -> Result<Vec<CacheMount>, EngineError> {
        let mut mounts = Vec::new();
        for (name, (id, directory)) in self.kept_mounts()? {
            let size = size_of(&directory.join("data"))?;
            mounts.push(CacheMount { id, name, size, directory });
        }
        mounts.sort_by(|a, b| (&a.id, a.name).cmp(&(&b.id, b.name)));
        Ok(mounts)
    }

    /// Writes the files of a mount as a tar: the same bytes for the same files. Nobody uses it meanwhile.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for an id that nothing or more than one mount has.
    pub fn export_cache_mount(&self, id: &str, out: &mut dyn Write) -> Result<(), EngineError> {
        let mount = self.cache_mount(id)?;
        let _held = hold(&mount.directory)?;
        let packed = strata_layer::pack(&mount.directory.join("data"), out);
        packed.map(drop).map_err(|error| EngineError::layer("cannot pack the cache mount", error))
    }

    /// Fills a mount that is not here or empty from a tar. `owner`: mode, user and group that the RUNs give it.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a mount that holds something; whatever is wrong with the tar.
    pub fn import_cache_mount(
        &self,
        id: &str,
        owner: (u32, u32, u32),
        tar: &mut dyn Read,
    ) -> Result<(), EngineError> {
        let directory = self.cache_mounts().join(unseeded(id, owner).hex());
        fs_err::create_dir_all(&directory)?;
        let _held = hold(&directory)?;
        let data = directory.join("data");
        if data.exists() && fs_err::read_dir(&data)?.next().is_some() {
            let why =
                format!("cache mount {id} is not empty: only one that is empty, or not here, can be filled");
            return Err(EngineError::Invalid(why));
        }
        let lease = self.store().leases().acquire()?;
        let bad = |error| EngineError::layer("cannot read the tar of a cache mount", error);
        let layers = self.store().layers();
        let staged = layers.begin(&lease)?;
        let mut file = staged.tar_file()?;
        let (info, contents) = strata_layer::ingest(tar, &mut file, &Limits::default()).map_err(bad)?;
        let layer = staged.commit(info, &contents, &[])?.diff_id;
        let scratch = layers.begin(&lease)?;
        let place = scratch.path().join("mount");
        fs_err::create_dir(&place)?;
        layers.open_layer(&layer, &[])?.unpack(&place).map_err(bad)?;
        set_owner_and_mode(&place, owner.0, (owner.1, owner.2))?;
        fs_err::write(directory.join(ID_FILE), id)?;
        if data.exists() {
            fs_err::remove_dir(&data)?;
        }
        fs_err::rename(&place, &data)?;
        drop((scratch, lease));
        self.collect_garbage(false).map(drop)
    }

    fn cache_mount(&self, id: &str) -> Result<CacheMount, EngineError> {
        let mut found: Vec<CacheMount> = self
            .list_cache_mounts()?
            .into_iter()
            .filter(|mount| mount.id == id || mount.name.hex() == id)
            .collect();
        match (found.pop(), found.len()) {
            (Some(mount), 0) => Ok(mount),
            (None, _) => Err(EngineError::Invalid(format!(
                "no cache mount {id}: `builder cache ls` shows those that are here"
            ))),
            (Some(_), more) => Err(EngineError::Invalid(format!(
                "{} cache mounts have the id {id}: say which by the name that `builder cache ls` shows",
                more + 1
            ))),
        }
    }
}

/// Keeps steps away from a mount; waits for those that use it.
fn hold(directory: &Path) -> Result<fs_err::File, EngineError> {
    let mut options = fs_err::File::options();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(directory.with_extension("lock"))?;
    rustix::fs::flock(file.file(), FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
    Ok(file)
}

fn size_of(directory: &Path) -> std::io::Result<u64> {
    let mut total = 0;
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs_err::read_dir(next)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else {
                total += metadata.len();
            }
        }
    }
    Ok(total)
}
