//! overlayfs, built detached: layers below, one writable directory on top.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};
use strata_layer::mount::Overlay;

use super::{MountError, MountGuard};

/// `OVL_MAX_STACK` of the kernel.
const MAX_LOWER: usize = 500;

/// Longest value `fsconfig` takes.
const MAX_STRING: usize = 255;

/// Attaches an overlay at `target` on the host: for looking into a container or an image that does not run.
///
/// # Errors
/// Fails when the kernel refuses a directory, or for more than 500 layers.
pub fn mount_overlay(overlay: &Overlay, target: &Path) -> Result<MountGuard, MountError> {
    MountGuard::attach(&build(overlay, MountAttrFlags::empty())?, target)
}

/// The overlay, attached nowhere. Its upper and work directories are created when missing.
pub(crate) fn build(overlay: &Overlay, attributes: MountAttrFlags) -> Result<OwnedFd, MountError> {
    if overlay.lower.len() > MAX_LOWER {
        return Err(MountError::TooManyLayers { count: overlay.lower.len() });
    }
    for directory in [&overlay.upper, &overlay.work] {
        make_directory(directory)?;
    }
    if overlay.volatile {
        forget_last_volatile_mount(&overlay.work)?;
    }
    let empty = empty_lower(overlay)?;
    let fail = |action| MountError::kernel(action, &overlay.upper);
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(fail("open overlayfs for"))?;
    // The first column of `df` and `mount`.
    fsconfig_set_string(context.as_fd(), "source", "overlay").map_err(fail("name overlayfs for"))?;
    let context = context.as_fd();
    // Kernel defaults differ between distributions. These three would put things into the upper directory that only
    // this stack of layers understands.
    for key in ["index", "redirect_dir", "metacopy"] {
        match fsconfig_set_string(context, key, "off") {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(fail("set up overlayfs for")(errno)),
        }
    }
    if in_user_namespace() {
        fsconfig_set_flag(context, "userxattr").map_err(fail("set userxattr of overlayfs for"))?;
    }
    if overlay.volatile {
        fsconfig_set_flag(context, "volatile").map_err(fail("set volatile of overlayfs for"))?;
    }
    // Named through descriptors where a path is too long or has a character overlayfs would take as syntax; they must
    // stay open until the file system is made.
    let mut held = Vec::new();
    for lower in overlay.lower.iter().rev().chain(&empty) {
        let name = option_value(lower, &mut held)?;
        fsconfig_set_string(context, "lowerdir+", &name)
            .map_err(MountError::kernel("stack the layer directory", lower))?;
    }
    for (key, directory) in [("upperdir", &overlay.upper), ("workdir", &overlay.work)] {
        let name = option_value(directory, &mut held)?;
        fsconfig_set_string(context, key, &name)
            .map_err(MountError::kernel("use as writable layer", directory))?;
    }
    fsconfig_create(context).map_err(fail("mount overlayfs with upper directory"))?;
    drop(held);
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(fail("mount overlayfs with upper directory"))
}

/// An image without layers still needs one lower directory.
fn empty_lower(overlay: &Overlay) -> Result<Option<PathBuf>, MountError> {
    if !overlay.lower.is_empty() {
        return Ok(None);
    }
    let path = overlay.work.with_extension("lower");
    make_directory(&path)?;
    Ok(Some(path))
}

fn make_directory(path: &Path) -> Result<(), MountError> {
    fs_err::create_dir_all(path).map_err(|source| MountError::File {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

/// overlayfs refuses a work directory once used without fsync, since after a crash its upper may be torn. Asked for
/// `volatile` again, the caller does not care.
fn forget_last_volatile_mount(work: &Path) -> Result<(), MountError> {
    let mark = work.join("work/incompat/volatile");
    match fs_err::remove_dir_all(&mark) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(MountError::File { action: "remove", path: mark, source })
        }
        _ => Ok(()),
    }
}

fn option_value(path: &Path, held: &mut Vec<OwnedFd>) -> Result<PathBuf, MountError> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.len() <= MAX_STRING && !bytes.iter().any(|b| matches!(b, b'\\' | b':' | b',' | b'"')) {
        return Ok(path.to_owned());
    }
    let fd = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(MountError::kernel("open", path))?;
    let name = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    held.push(fd);
    Ok(name)
}

/// Outside the first user namespace `trusted.*` attributes are out of reach.
fn in_user_namespace() -> bool {
    fs_err::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_ascii_whitespace().ne(["0", "0", "4294967295"]))
}
