//! Binds and volumes of a container; a new volume is filled from the image.
use super::plan::tmpfs_mount;
use super::{MountRequest, MountSource, RunRequest};
use crate::stored::ShownMount;
use crate::unpack::{UnpackError, unpack};
use crate::{Engine, EngineError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strata_layer::{FileType, Metadata, Stack};
use strata_oci::{DiffId, RuntimeConfig};
use strata_runtime::spec::Mount;
use strata_store::{NewVolume, VolumeRecord};

/// The mounts of a container.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) mounts: Vec<Mount>,
    pub(super) volumes: Vec<String>,
    pub(super) shown: Vec<ShownMount>,
}

impl Engine {
    /// What `-v`, `--mount` and the image's VOLUMEs mean. A VOLUME that the user mounts over needs none of its own.
    pub(super) fn prepare_mounts(
        &self,
        request: &RunRequest,
        image: &RuntimeConfig,
        layers: &[DiffId],
    ) -> Result<Mounts, EngineError> {
        let mut requests: Vec<MountRequest> = request.mounts.clone();
        let taken = |path: &str, requests: &[MountRequest]| {
            let same = |other: &str| other.trim_end_matches('/') == path.trim_end_matches('/');
            requests.iter().any(|mount| same(&mount.target))
                || request.tmpfs.iter().any(|(target, _)| same(target))
        };
        for path in image.volumes.keys() {
            if !taken(path, &requests) {
                let source = MountSource::Anonymous;
                requests.push(MountRequest {
                    source,
                    target: path.clone(),
                    read_only: false,
                    no_copy: false,
                });
            }
        }
        for (at, mount) in requests.iter().enumerate() {
            if requests[..at]
                .iter()
                .any(|other| other.target.trim_end_matches('/') == mount.target.trim_end_matches('/'))
            {
                return Err(EngineError::Invalid(format!("Duplicate mount point: {}", mount.target)));
            }
        }
        let mut mounts = Mounts::default();
        for mount in &requests {
            self.add_mount(mount, layers, &mut mounts)?;
        }
        Ok(mounts)
    }

    fn add_mount(
        &self,
        mount: &MountRequest,
        layers: &[DiffId],
        mounts: &mut Mounts,
    ) -> Result<(), EngineError> {
        match &mount.source {
            MountSource::Bind { path, create } => {
                if !path.exists() {
                    if !create {
                        let message = format!(
                            "invalid mount config for type \"bind\": bind source path does not exist: {}",
                            path.display()
                        );
                        return Err(EngineError::Invalid(message));
                    }
                    fs_err::create_dir_all(path)?;
                }
                mounts.shown.push(shown("bind", "", path, mount));
                mounts.mounts.push(Mount::bind(path, &mount.target, mount.read_only));
            }
            MountSource::Volume(name) => self.add_volume(Some(name), mount, layers, mounts)?,
            MountSource::Anonymous => self.add_volume(None, mount, layers, mounts)?,
            MountSource::Tmpfs(options) => {
                mounts.shown.push(shown("tmpfs", "", Path::new(""), mount));
                mounts.mounts.push(tmpfs_mount(&mount.target, options)?);
            }
        }
        Ok(())
    }

    fn add_volume(
        &self,
        name: Option<&String>,
        mount: &MountRequest,
        layers: &[DiffId],
        mounts: &mut Mounts,
    ) -> Result<(), EngineError> {
        let new = NewVolume { name: name.cloned(), ..Default::default() };
        let (volume, _) = self.store().volumes().create(new)?;
        if !mount.no_copy && is_empty(&volume.mountpoint)? {
            self.fill_volume(&volume, &mount.target, layers)?;
        }
        mounts.shown.push(shown("volume", &volume.name, &volume.mountpoint, mount));
        mounts.mounts.push(Mount::bind(&volume.mountpoint, &mount.target, mount.read_only));
        mounts.volumes.push(volume.name);
        Ok(())
    }

    /// An empty volume gets the files, owner and mode of the image's directory at its path
    /// (`spec/engine.md`, section 4, "Volume init").
    fn fill_volume(&self, volume: &VolumeRecord, target: &str, layers: &[DiffId]) -> Result<(), EngineError> {
        let stack = self.store().layers().stack(layers)?;
        let failed = |error| EngineError::layer(format!("cannot fill volume {}", volume.name), error);
        let found = stack.resolve(target.as_bytes(), true).map_err(failed)?;
        let Some(node) = found.node.filter(|node| node.metadata.file_type == FileType::Directory) else {
            return Ok(());
        };
        self.unpack_directory(&stack, &found.path, &node.metadata, &volume.mountpoint)
    }

    fn unpack_directory(
        &self,
        stack: &Stack,
        path: &[u8],
        metadata: &Metadata,
        directory: &Path,
    ) -> Result<(), EngineError> {
        let what = || format!("cannot fill {}", directory.display());
        let lease = self.store().leases().acquire()?;
        let staged = self.store().layers().begin(&lease)?;
        let tar = staged.spool_file()?.into_file();
        unpack(Arc::new(stack.clone()), path, b"/", tar, directory).map_err(|error| match error {
            UnpackError::Copy(error) => EngineError::Invalid(format!("{}: {error}", what())),
            UnpackError::Layer(error) => EngineError::layer(what(), error),
        })?;
        use std::os::unix::fs::PermissionsExt;
        std::os::unix::fs::chown(directory, Some(metadata.uid), Some(metadata.gid))?;
        fs_err::set_permissions(directory, std::fs::Permissions::from_mode(u32::from(metadata.mode)))?;
        Ok(())
    }
}

fn is_empty(directory: &PathBuf) -> Result<bool, EngineError> {
    Ok(fs_err::read_dir(directory)?.next().is_none())
}

fn shown(kind: &str, name: &str, source: &Path, mount: &MountRequest) -> ShownMount {
    ShownMount {
        kind: kind.to_owned(),
        name: name.to_owned(),
        source: source.display().to_string(),
        destination: mount.target.clone(),
        driver: if kind == "volume" { "local".to_owned() } else { String::new() },
        mode: if mount.read_only { "ro".to_owned() } else { String::new() },
        writable: !mount.read_only,
        propagation: if kind == "bind" { "rprivate".to_owned() } else { String::new() },
    }
}
