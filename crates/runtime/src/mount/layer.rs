//! Mounting and unmounting layers. Safe against other processes that do the same: one lock per layer, a directory's
//! flock, which the kernel gives back when its holder dies.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat, statfs};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, unmount,
};
use strata_layer::mount::{LayerMount, LayerSource};

use super::{MountError, attach};
use crate::sys::loopdev;

/// `EROFS_SUPER_MAGIC_V1`
const EROFS_MAGIC: u64 = 0xE0F5_E1E2;

/// Another process may take the loop device we were told is free.
const LOOP_ATTEMPTS: usize = 64;

/// Makes one layer visible at its target. Does nothing when it already is, or when it is unpacked (tree mode).
///
/// # Errors
/// Fails when the pair cannot be opened or mounted, or when something else is mounted at the target.
pub fn mount_layer(layer: &LayerMount) -> Result<(), MountError> {
    let (index, tar, through_loop) = match &layer.source {
        LayerSource::Tree => return Ok(()),
        LayerSource::Erofs { index, tar } => (index, tar, false),
        LayerSource::ErofsLoop { index, tar } => (index, tar, true),
    };
    if is_mounted(&layer.target)? {
        return Ok(());
    }
    fs_err::create_dir_all(&layer.target).map_err(|source| MountError::File {
        action: "create the mount point",
        path: layer.target.clone(),
        source,
    })?;
    let _lock = lock(&layer.target)?;
    if is_mounted(&layer.target)? {
        return Ok(());
    }
    let mount = detached(index, tar, through_loop)?;
    attach(&mount, &layer.target)
}

/// Mounts all `layers`, stopping at the first that fails; those mounted before it stay.
///
/// # Errors
/// As [`mount_layer`].
pub fn mount_layers(layers: &[LayerMount]) -> Result<(), MountError> {
    layers.iter().try_for_each(mount_layer)
}

/// Takes a layer away again. Containers that still use it keep it alive through their overlay; the files of the pair may
/// be unlinked afterwards. Returns whether it was mounted.
///
/// # Errors
/// Fails when the kernel refuses.
pub fn unmount_layer(target: &Path) -> Result<bool, MountError> {
    let _lock = match lock(target) {
        Ok(lock) => lock,
        Err(MountError::Kernel { source: Errno::NOENT, .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    if !is_mounted(target)? {
        return Ok(false);
    }
    match unmount(target, UnmountFlags::NOFOLLOW) {
        // A file of the host's view is open: let the kernel finish when it is closed.
        Err(Errno::BUSY) => unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH),
        other => other,
    }
    .map_err(MountError::kernel("unmount the layer at", target))?;
    Ok(true)
}

/// Whether a layer is mounted at `target`; an error when something else is.
fn is_mounted(target: &Path) -> Result<bool, MountError> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    let found = statx(CWD, target, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::TYPE);
    let found = match found {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(false),
        Err(source) => return Err(MountError::Kernel { action: "look at", path: target.to_owned(), source }),
    };
    if !found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(false);
    }
    let magic = statfs(target).map_err(MountError::kernel("look at", target))?.f_type as u64;
    if magic != EROFS_MAGIC {
        return Err(MountError::Occupied { path: target.to_owned(), magic });
    }
    Ok(true)
}

/// The lock of one layer: on the directory that holds its mount point.
fn lock(target: &Path) -> Result<OwnedFd, MountError> {
    let directory = target.parent().unwrap_or(target);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(CWD, directory, flags, Mode::empty()).map_err(MountError::kernel("open", directory))?;
    loop {
        match flock(&fd, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            Ok(()) => return Ok(fd),
            Err(source) => {
                return Err(MountError::Kernel { action: "lock", path: directory.to_owned(), source });
            }
        }
    }
}

/// The mount of a pair, attached nowhere yet.
pub(super) fn detached(index: &Path, tar: &Path, through_loop: bool) -> Result<OwnedFd, MountError> {
    let index_file = open_read(index)?;
    let tar_file = open_read(tar)?;
    // Paths through /proc have neither a length limit (255 for fsconfig) nor characters that need escaping.
    let by_fd = |fd: &OwnedFd| PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    if !through_loop {
        return erofs(&by_fd(&index_file), &by_fd(&tar_file))
            .map_err(MountError::kernel("mount the layer with index", index));
    }
    let (index_device, _index_loop) = attach_loop(&index_file, index)?;
    let (tar_device, _tar_loop) = attach_loop(&tar_file, tar)?;
    erofs(&index_device, &tar_device)
        .map_err(MountError::kernel("mount through loop devices the layer with index", index))
}

fn erofs(index: &Path, tar: &Path) -> Result<OwnedFd, Errno> {
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", index)?;
    fsconfig_set_string(context.as_fd(), "device", tar)?;
    // Loop devices are opened for writing otherwise, which read-only ones refuse.
    fsconfig_set_flag(context.as_fd(), "ro")?;
    fsconfig_create(context.as_fd())?;
    // No device or setuid file of an image works on the host's side; the container's overlay has flags of its own.
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn open_read(path: &Path) -> Result<OwnedFd, MountError> {
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(MountError::kernel("open", path))
}

/// A read-only loop device for `file`: its path, and a descriptor that keeps it until the mount does. The kernel detaches
/// it with its last user.
fn attach_loop(file: &OwnedFd, path: &Path) -> Result<(PathBuf, OwnedFd), MountError> {
    let fail =
        |source| MountError::Kernel { action: "attach a loop device to", path: path.to_owned(), source };
    let control =
        openat(CWD, "/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
    let mut last = Errno::BUSY;
    for _ in 0..LOOP_ATTEMPTS {
        let number = loopdev::free_number(control.as_fd()).map_err(fail)?;
        let device = format!("/dev/loop{number}");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let result = openat(CWD, &device, flags, Mode::empty())
            .and_then(|fd| loopdev::configure(fd.as_fd(), file.as_fd()).map(|()| fd));
        match result {
            Ok(fd) => return Ok((device.into(), fd)),
            // Taken meanwhile, or its node is still being made.
            Err(errno @ (Errno::BUSY | Errno::NOENT | Errno::NXIO)) => last = errno,
            Err(errno) => return Err(fail(errno)),
        }
    }
    Err(fail(last))
}
