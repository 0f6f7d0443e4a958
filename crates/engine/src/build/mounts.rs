//! `RUN --mount`: binds, caches, tmpfs, secrets (`spec/build.md`, section 3).
use super::cache_lock;
use super::exec::{SecretFiles, StepMounts, failed};
use super::layer::LayerHandle;
use super::shared::ID_FILE;
use super::ssh::StepSocket;
use super::worker::{EngineWorker, copy_failed};
use crate::EngineError;
use crate::unpack::{UnpackError, unpack};
use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use strata_build::{ExecError, ExecOp, Mount as BuildMount, MountKind, Origin, Sharing, WorkerError};
use strata_layer::copy::{self, SelectOptions};
use strata_oci::Digest;
use strata_runtime::spec::Mount;

fn io_failed(error: std::io::Error) -> ExecError {
    failed(error.into())
}

impl EngineWorker<'_> {
    /// Prepares all mounts of a step below `directory`, which goes with the step.
    pub(super) fn step_mounts(
        &self,
        inputs: &[Origin<'_, LayerHandle>],
        op: &ExecOp,
        directory: &Path,
    ) -> Result<StepMounts, ExecError> {
        let mut ready = StepMounts::default();
        let mut secrets = None;
        for (number, mount) in op.mounts.iter().enumerate() {
            let place = directory.join(number.to_string());
            match &mount.kind {
                MountKind::Bind { input, source } => {
                    let origin = inputs[*input];
                    let path = self.unpack_files(origin, source, &place)?;
                    ready.mounts.push(Mount::bind(path, &mount.target, mount.read_only));
                }
                MountKind::Cache { id, sharing, seed, path: within, mode, uid, gid } => {
                    let seed = seed.as_ref().map(|(input, source)| (inputs[*input], source.as_str()));
                    let owner = (*mode, *uid, *gid);
                    let mut path = self.cache_directory(id, *sharing, seed, owner, &place, &mut ready)?;
                    if within != "/" {
                        let opened = open_within(&path, within)?;
                        path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
                        ready._held.push(opened);
                    }
                    ready.mounts.push(Mount::bind(path, &mount.target, mount.read_only));
                }
                MountKind::Tmpfs { size } => ready.mounts.push(Mount::Tmpfs {
                    dest: PathBuf::from(&mount.target),
                    size: *size,
                    mode: Some(0o1777),
                    read_only: false,
                    no_exec: false,
                }),
                MountKind::Secret { id, required, mode, uid, gid } => {
                    let bytes = match self.request().secrets.iter().find(|secret| secret.id == *id) {
                        Some(secret) => secret.read().map_err(failed)?,
                        None if *required => {
                            return Err(ExecError::Required(format!("secret {id}: not found")));
                        }
                        None => continue,
                    };
                    let files = match &secrets {
                        Some(path) => Path::new(path),
                        None => secrets.insert(self.secret_directory(&mut ready)?),
                    };
                    let path = files.join(number.to_string());
                    write_file(&path, &bytes, *mode, (*uid, *gid)).map_err(failed)?;
                    ready.mounts.push(Mount::bind(path, &mount.target, true));
                }
                MountKind::Ssh { id, required, mode, uid, gid } => {
                    match self.remote().agents().socket(id).map_err(failed)? {
                        Some(agent) => {
                            let run_dir = self.engine().store().run_dir();
                            let socket = StepSocket::open(run_dir, agent, *mode, (*uid, *gid));
                            let socket = socket.map_err(failed)?;
                            ready.mounts.push(Mount::bind(socket.path(), &mount.target, true));
                            ready._sockets.push(socket);
                        }
                        None if *required => {
                            return Err(ExecError::Required(format!("unset ssh forward key {id}")));
                        }
                        None => {}
                    }
                }
                MountKind::Script { content } => {
                    write_file(&place, content, 0o755, (0, 0)).map_err(failed)?;
                    ready.mounts.push(Mount::bind(place, &mount.target, true));
                }
            }
        }
        for secret in &op.secret_env {
            match self.request().secrets.iter().find(|given| given.id == secret.id) {
                // One that was given and cannot be read is not the same as none.
                Some(given) => drop(given.read().map_err(failed)?),
                None if secret.required => {
                    return Err(ExecError::Required(format!("secret {}: not found", secret.id)));
                }
                None => {}
            }
        }
        check_no_duplicate_root(&op.mounts)?;
        Ok(ready)
    }

    fn secret_directory(&self, ready: &mut StepMounts) -> Result<PathBuf, ExecError> {
        let name = Digest::of(
            format!("{:?}{:?}", std::thread::current().id(), std::time::Instant::now()).as_bytes(),
        );
        let path =
            self.engine().store().run_dir().join(format!("secrets-{}-{}", std::process::id(), name.short()));
        fs_err::create_dir_all(&path).map_err(io_failed)?;
        set_owner_and_mode(&path, 0o700, (0, 0)).map_err(failed)?;
        ready._secrets = Some(SecretFiles(path.clone()));
        Ok(path)
    }

    /// Puts the files of `source` in an origin below `place`: what a bind mount shows. The step may write to them;
    /// they are copies, so the writes are lost with the step, as BuildKit discards them.
    fn unpack_files(
        &self,
        origin: Origin<'_, LayerHandle>,
        source: &str,
        place: &Path,
    ) -> Result<PathBuf, ExecError> {
        let tree = self.tree(origin)?;
        fs_err::create_dir(place).map_err(io_failed)?;
        let tar = place.join("layer.tar");
        let file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&tar)
            .map_err(io_failed)?;
        let files = place.join("files");
        fs_err::create_dir(&files).map_err(io_failed)?;
        unpack(tree, source.as_bytes(), b"/mount", file.into_file(), &files).map_err(
            |error| match error {
                UnpackError::Copy(error) => ExecError::Worker(copy_failed(error)),
                UnpackError::Layer(error) => failed(EngineError::layer("cannot prepare a bind mount", error)),
            },
        )?;
        fs_err::remove_file(&tar).map_err(io_failed)?;
        let mounted = files.join("mount");
        if !mounted.exists() {
            // An empty directory as source copies nothing, not even itself.
            fs_err::create_dir(&mounted).map_err(io_failed)?;
        }
        Ok(mounted)
    }

    /// What tells cache mounts apart: the ID with what it was seeded from. Two seeds are two caches.
    pub(super) fn cache_identity(
        &self,
        id: &str,
        seed: Option<(Origin<'_, LayerHandle>, &str)>,
        (mode, uid, gid): (u32, u32, u32),
    ) -> Result<Digest, ExecError> {
        let Some((origin, source)) = seed else { return Ok(unseeded(id, (mode, uid, gid))) };
        let tree = self.tree(origin)?;
        let seeded = copy::Selection::new(tree, &[source], SelectOptions::default())
            .and_then(|selection| selection.digest())
            .map_err(copy_failed)?;
        let seeded = hex::encode(seeded.0);
        Ok(Digest::of(format!("{id}\0{mode:o} {uid} {gid} {seeded}").as_bytes()))
    }

    /// The directory of a cache mount, which the step holds from now on. A step that mounts it twice holds it once: it
    /// would wait for itself.
    fn cache_directory(
        &self,
        id: &str,
        sharing: Sharing,
        seed: Option<(Origin<'_, LayerHandle>, &str)>,
        (mode, uid, gid): (u32, u32, u32),
        place: &Path,
        ready: &mut StepMounts,
    ) -> Result<PathBuf, ExecError> {
        let identity = self.cache_identity(id, seed, (mode, uid, gid))?;
        if let Some((_, data)) = ready.caches.iter().find(|(held, _)| *held == identity) {
            return Ok(data.clone());
        }
        let name = identity.hex();
        let area = self.engine().cache_mounts();
        fs_err::create_dir_all(&area).map_err(io_failed)?;
        for attempt in 0.. {
            let suffix = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            let root = area.join(format!("{name}{suffix}"));
            if attempt == 0 {
                self.import_cache(id, &identity, &root, (mode, uid, gid), place)?;
            }
            let Some(lock) = self.lock_cache(&root, sharing)? else { continue };
            let data = root.join("data");
            note_id(&root, id).map_err(io_failed)?;
            if !data.exists() {
                self.fill_cache(&root, seed, (mode, uid, gid), place)?;
            }
            ready._held.push(lock);
            ready.caches.push((identity, data.clone()));
            return Ok(data);
        }
        Err(failed(EngineError::Invalid(format!("cache mount {id}: every copy is in use"))))
    }

    /// Shared users hold the lock together; a locked one waits for all, until the build is cancelled; a private one gives
    /// way (`None`).
    fn lock_cache(&self, directory: &Path, sharing: Sharing) -> Result<Option<OwnedFd>, ExecError> {
        let operation = match sharing {
            Sharing::Shared => FlockOperation::NonBlockingLockShared,
            Sharing::Locked | Sharing::Private => FlockOperation::NonBlockingLockExclusive,
        };
        let cancel = (sharing != Sharing::Private).then_some(self.cancel());
        let held = cache_lock::take(directory, operation, cancel, &|| {}).map_err(io_failed)?;
        if held.is_none() {
            self.check_cancelled().map_err(ExecError::Worker)?;
        }
        Ok(held.map(|file| file.into_file().into()))
    }

    /// Fills a cache that is not here yet, or empty, from a shared one that has it. A cache is never needed, so one that does
    /// not come is a warning.
    fn import_cache(
        &self,
        id: &str,
        identity: &Digest,
        root: &Path,
        (mode, uid, gid): (u32, u32, u32),
        place: &Path,
    ) -> Result<(), ExecError> {
        let data = root.join("data");
        let unfilled = || match fs_err::read_dir(&data) {
            Ok(mut entries) => entries.next().is_none(),
            Err(_) => true,
        };
        if !unfilled() {
            return Ok(());
        }
        let Some((layer, offered)) = self.cache().shared().kept_mount(identity) else { return Ok(()) };
        // Who finds an empty one in use leaves it to its users; one that is not there yet is worth waiting for.
        let sharing = if data.exists() { Sharing::Private } else { Sharing::Locked };
        let Some(_held) = self.lock_cache(root, sharing)? else { return Ok(()) };
        if !unfilled() {
            return Ok(());
        }
        let filled = self
            .engine()
            .fetch_offered(self.lease(), &[layer], &[Some(&offered)], &|_| {}, self.cancel())
            .and_then(|()| Ok(self.engine().store().layers().open_layer(&layer, &[])?))
            .and_then(|layer| {
                fs_err::create_dir_all(place)?;
                let unpacked = layer.unpack(place);
                unpacked.map_err(|error| EngineError::layer("cannot unpack a cache mount", error))?;
                set_owner_and_mode(place, mode, (uid, gid))?;
                note_id(root, id)?;
                if data.exists() {
                    fs_err::remove_dir(&data)?;
                }
                Ok(fs_err::rename(place, &data)?)
            });
        if let Err(error) = filled {
            self.check_cancelled().map_err(ExecError::Worker)?;
            // What was unpacked of it is no beginning of another cache.
            let _ = fs_err::remove_dir_all(place);
            self.warn(&format!("cache mount {id}: not imported from {}: {error}", offered.place()));
        }
        Ok(())
    }

    /// Made beside and renamed, so that nobody sees half a seed.
    fn fill_cache(
        &self,
        root: &Path,
        seed: Option<(Origin<'_, LayerHandle>, &str)>,
        (mode, uid, gid): (u32, u32, u32),
        place: &Path,
    ) -> Result<(), ExecError> {
        fs_err::create_dir_all(root).map_err(io_failed)?;
        let made = match seed {
            Some((origin, source)) => self.unpack_files(origin, source, place)?,
            None => {
                fs_err::create_dir_all(place).map_err(io_failed)?;
                place.to_owned()
            }
        };
        set_owner_and_mode(&made, mode, (uid, gid)).map_err(failed)?;
        match fs_err::rename(&made, root.join("data")) {
            // Another build was faster.
            Err(_) if root.join("data").exists() => Ok(()),
            other => other.map_err(io_failed),
        }
    }
}

/// Which cache it is that has this id and owner (mode, user, group), and begins empty.
pub(super) fn unseeded(id: &str, (mode, uid, gid): (u32, u32, u32)) -> Digest {
    Digest::of(format!("{id}\0{mode:o} {uid} {gid}").as_bytes())
}

/// Writes the id of a cache beside it, for whoever exports it.
fn note_id(root: &Path, id: &str) -> std::io::Result<()> {
    let file = root.join(ID_FILE);
    if file.exists() {
        return Ok(());
    }
    fs_err::create_dir_all(root)?;
    // Half an id is nobody's.
    let half = root.join(format!("{ID_FILE}.{}", std::process::id()));
    fs_err::write(&half, id)?;
    fs_err::rename(half, file)
}

/// Opens a path of a cache. Links that a step planted lead nowhere but into the cache.
fn open_within(cache: &Path, path: &str) -> Result<OwnedFd, ExecError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::open(cache, flags | OFlags::DIRECTORY, Mode::empty()).and_then(|root| {
        rustix::fs::openat2(&root, path.trim_start_matches('/'), flags, Mode::empty(), ResolveFlags::IN_ROOT)
    });
    opened.map_err(|error| {
        let error = std::io::Error::from(error);
        failed(EngineError::Invalid(format!("cannot mount {path} of the cache: {error}")))
    })
}

fn write_file(path: &Path, content: &[u8], mode: u32, owner: (u32, u32)) -> Result<(), EngineError> {
    fs_err::write(path, content)?;
    set_owner_and_mode(path, mode, owner)
}

pub(super) fn set_owner_and_mode(path: &Path, mode: u32, (uid, gid): (u32, u32)) -> Result<(), EngineError> {
    use std::os::unix::fs::PermissionsExt;
    std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
    Ok(fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}

fn check_no_duplicate_root(mounts: &[BuildMount]) -> Result<(), ExecError> {
    match mounts.iter().find(|mount| mount.target == "/") {
        Some(_) => Err(ExecError::Worker(WorkerError::Failed("invalid mount target \"/\"".into()))),
        None => Ok(()),
    }
}
