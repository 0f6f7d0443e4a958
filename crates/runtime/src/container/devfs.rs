//! `/dev` and the file systems below it, built detached before the container exists (`spec/executor.md` A.8 and A.9).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, makedev, mkdirat, mknodat, openat,
    symlinkat, unlinkat,
};
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use crate::rootdir::{self, TargetKind};
use crate::spec::Device;

/// Nodes every container has: name, major, minor.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links every container has.
const LINKS: [(&str, &str); 5] = [
    ("pts/ptmx", "ptmx"),
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];

/// A new file system, attached nowhere.
pub(super) fn detached(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !options.iter().any(|(key, _)| *key == "source") {
        // What `df` and `mount` show in the first column; without it, `none`.
        fsconfig_set_string(context.as_fd(), "source", kind)?;
    }
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The tmpfs of `/dev` with its nodes, links and mount points. `devices` are further nodes to copy from the host.
pub(super) fn dev(terminal: bool, privileged: bool) -> Result<OwnedFd> {
    let options = [("size", "65536k"), ("mode", "755")];
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
    let dev = detached("tmpfs", &options, attributes)?;
    for (name, major, minor) in NODES {
        node(&dev, name, FileType::CharacterDevice, 0o666, makedev(major, minor))?;
    }
    for (target, name) in LINKS {
        symlinkat(target, &dev, name)?;
    }
    if rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok() {
        symlinkat("/proc/kcore", &dev, "core")?;
    }
    for name in ["pts", "shm", "mqueue"] {
        mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
    }
    if terminal {
        openat(
            &dev,
            "console",
            OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )?;
    }
    if privileged {
        copy_host_devices(&dev);
    }
    Ok(dev)
}

fn node(dev: &OwnedFd, name: &str, kind: FileType, mode: u32, number: u64) -> Result<()> {
    mknodat(dev, name, kind, Mode::from_raw_mode(mode), number)?;
    // Whatever the umask of the engine is.
    chmodat(dev, name, Mode::from_raw_mode(mode), AtFlags::empty())
}

/// A further node below `/dev`, in place of what is there.
pub(super) fn add_device(dev: BorrowedFd<'_>, below: &Path, device: &Device) -> Result<()> {
    let (Some(directory), Some(name)) = (below.parent(), below.file_name()) else {
        return Err(Errno::INVAL);
    };
    rootdir::ensure_target(dev, directory, TargetKind::Directory, &mut |_, _| {})?;
    let directory = rootdir::open_in_root(dev, directory, OFlags::PATH | OFlags::DIRECTORY)?;
    match unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let kind = if device.block { FileType::BlockDevice } else { FileType::CharacterDevice };
    let mode = Mode::from_raw_mode(device.mode);
    mknodat(&directory, name, kind, mode, makedev(device.major, device.minor))?;
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    chownat(&directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    chmodat(&directory, name, mode, AtFlags::empty())
}

/// `--privileged` shows every device of the host, at the top level and one directory down (`/dev/net/tun`,
/// `/dev/mapper/control`). A device that cannot be shown is left out.
fn copy_host_devices(dev: &OwnedFd) {
    copy_devices_of(dev, std::path::Path::new("/dev"), 1);
}

fn copy_devices_of(to: &OwnedFd, from: &std::path::Path, depth: u32) {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let own = ["pts", "shm", "mqueue", "console", "ptmx", "fd"];
    let Ok(entries) = fs_err::read_dir(from) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Ok(metadata) = fs_err::symlink_metadata(entry.path()) else { continue };
        let kind = metadata.file_type();
        if own.iter().any(|own| name == *own) {
            continue;
        }
        if kind.is_dir() && depth > 0 && mkdirat(to, &name, Mode::from_raw_mode(0o755)).is_ok() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(below) = openat(to, &name, flags, Mode::empty()) {
                copy_devices_of(&below, &entry.path(), depth - 1);
            }
        }
        let file_type = match () {
            () if kind.is_char_device() => FileType::CharacterDevice,
            () if kind.is_block_device() => FileType::BlockDevice,
            () => continue,
        };
        let mode = Mode::from_raw_mode(metadata.mode() & 0o7777);
        if mknodat(to, &name, file_type, mode, metadata.rdev()).is_ok() {
            let _ = chmodat(to, &name, mode, AtFlags::empty());
        }
    }
}

/// A pseudo-terminal of the container's own devpts: the engine's end and the container's.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) master: OwnedFd,
    pub(super) slave: OwnedFd,
}

/// A new devpts instance.
pub(super) fn devpts() -> Result<OwnedFd> {
    let options = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    detached("devpts", &options, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// Opens a terminal on a devpts the engine holds; no path of a slave is ever looked up.
pub(super) fn terminal(devpts: &OwnedFd, size: Option<(u16, u16)>, uid: u32) -> Result<Terminal> {
    let master = openat(devpts, "ptmx", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    open_peer(master, size, uid)
}

/// Unlocks a terminal, gives it a size and an owner, and opens the other side.
pub(super) fn open_peer(master: OwnedFd, size: Option<(u16, u16)>, uid: u32) -> Result<Terminal> {
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    if let Some((columns, rows)) = size {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size)?;
    }
    rustix::fs::fchown(&slave, Some(rustix::fs::Uid::from_raw(uid)), None)?;
    Ok(Terminal { master, slave })
}
