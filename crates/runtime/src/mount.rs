//! Performing mounts: layers on the host, and root file systems for containers.
//!
//! A layer is mounted once, at its `overlay2/<id>/diff`, by whoever needs it first, and shared by all (a second mount of
//! the same pair would have a page cache of its own). A container's overlay is never attached on the host: it is built
//! detached and moved inside the container's mount namespace, so that nothing is left to unmount when it ends.

mod layer;
mod overlay;
mod probe;
mod table;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

pub use layer::{mount_layer, mount_layers, unmount_layer};
pub(crate) use overlay::build as build_overlay;
pub use overlay::mount_overlay;
pub use probe::{Probe, ProbeKind, probe};
pub use table::{MountedAt, mounts_below};
pub(crate) use table::{all_mounts, mount_at};

/// A mount could not be made, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// One call of the kernel failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Kernel {
        /// What was tried: `mount the layer at`, ...
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// Something else is mounted where a layer belongs.
    #[error("{} is a mount point of another file system (magic {magic:#x}), not of a layer", path.display())]
    Occupied {
        /// The target.
        path: PathBuf,
        /// `f_type` of what is there.
        magic: u64,
    },
    /// overlayfs takes at most 500 lower directories.
    #[error(
        "{count} layers: overlayfs stacks at most 500; join instructions, or make one layer of them with `build -o` and `import`"
    )]
    TooManyLayers {
        /// How many were asked for.
        count: usize,
    },
    /// A file or directory could not be prepared.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl MountError {
    pub(crate) fn kernel(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |source| Self::Kernel { action, path: path.to_owned(), source }
    }
}

/// A mount that goes away with this value. `close` says whether it did; `Drop` detaches as a last resort.
#[derive(Debug)]
pub struct MountGuard {
    target: Option<PathBuf>,
}

impl MountGuard {
    /// Attaches a detached mount at `target`.
    ///
    /// # Errors
    /// Fails when `target` is missing or the kernel refuses.
    pub(crate) fn attach(mount: &OwnedFd, target: &Path) -> Result<Self, MountError> {
        attach(mount.as_fd(), target)?;
        Ok(Self { target: Some(target.to_owned()) })
    }

    /// Where it is mounted.
    pub fn target(&self) -> &Path {
        self.target.as_deref().unwrap_or(Path::new(""))
    }

    /// Unmounts.
    ///
    /// # Errors
    /// Fails when the mount is busy; it is then detached from the tree all the same.
    pub fn close(mut self) -> Result<(), MountError> {
        let Some(target) = self.target.take() else { return Ok(()) };
        match unmount(&target, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
            Err(source) => {
                let _ = unmount(&target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
                Err(MountError::Kernel { action: "unmount", path: target, source })
            }
        }
    }

    /// Leaves the mount in place.
    pub fn keep(mut self) -> PathBuf {
        self.target.take().unwrap_or_default()
    }
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            let _ = unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
        }
    }
}

fn attach(mount: impl AsFd, target: &Path) -> Result<(), MountError> {
    move_mount(mount, c"", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(MountError::kernel("mount at", target))
}
