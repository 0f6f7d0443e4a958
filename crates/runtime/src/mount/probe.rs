//! Which way of mounting layers works on a file system: found by doing it with a tiny pair (a 2 KiB tar with one file
//! and its index), never by believing a version number alone.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};

use super::layer::detached;

/// Index of [`TAR`]: one directory with one regular file.
const INDEX: &[u8] = include_bytes!("probe.index");
/// A ustar archive with the file `probe`.
const TAR: &[u8] = include_bytes!("probe.tar");
/// What `probe` holds.
const CONTENT: &[u8] = b"strata\n";

/// How layers can be made visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// `LayerSource::Erofs`: the plain files.
    Erofs,
    /// `LayerSource::ErofsLoop`: through loop devices.
    ErofsLoop,
    /// `LayerSource::Tree`: nothing can be mounted, layers must be unpacked.
    Tree,
}

/// What [`probe`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The best way that works.
    pub kind: ProbeKind,
    /// Why not a better one, or what was tried: for `strata info`.
    pub reason: String,
}

/// Tries the ways of mounting on the file system of `directory`, best first. Leaves nothing behind.
pub fn probe(directory: &Path) -> Probe {
    let mut refused = Vec::new();
    match file_backed_is_safe() {
        Ok(()) => match attempt(directory, false) {
            Ok(()) => {
                return Probe { kind: ProbeKind::Erofs, reason: "the kernel mounts EROFS files".into() };
            }
            Err(reason) => refused.push(format!("plain files: {reason}")),
        },
        Err(reason) => refused.push(format!("plain files: {reason}")),
    }
    match attempt(directory, true) {
        Ok(()) => Probe { kind: ProbeKind::ErofsLoop, reason: refused.join("; ") },
        Err(reason) => {
            refused.push(format!("loop devices: {reason}"));
            Probe { kind: ProbeKind::Tree, reason: refused.join("; ") }
        }
    }
}

/// File-backed EROFS with blocks below the page size can panic kernels before the fix of CVE-2024-56750, so those are
/// not even tried (`spec/erofs.md` section 10).
fn file_backed_is_safe() -> Result<(), String> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if release_is_safe(&release) { Ok(()) } else { Err(format!("kernel {release} is older than 6.13")) }
}

fn release_is_safe(release: &str) -> bool {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next()) >= (6, 13)
}

fn attempt(directory: &Path, through_loop: bool) -> Result<(), String> {
    let pair = Pair::write(directory).map_err(|error| error.to_string())?;
    let mount =
        detached(&pair.path("index"), &pair.path("tar"), through_loop).map_err(|error| match error {
            super::MountError::Kernel { source, .. } => source.to_string(),
            other => other.to_string(),
        })?;
    let content = read_probe(&mount).map_err(|error| error.to_string())?;
    if content == CONTENT { Ok(()) } else { Err("the mounted probe reads wrong bytes".into()) }
}

fn read_probe(mount: &OwnedFd) -> std::io::Result<Vec<u8>> {
    let file = openat(mount.as_fd(), "probe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut content = Vec::new();
    std::fs::File::from(file).read_to_end(&mut content)?;
    Ok(content)
}

/// The two files, removed again when dropped.
struct Pair<'a> {
    directory: &'a Path,
    name: String,
}

impl<'a> Pair<'a> {
    fn write(directory: &'a Path) -> std::io::Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(".mount-probe-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let pair = Self { directory, name };
        for (kind, bytes) in [("index", INDEX), ("tar", TAR)] {
            let mut options = fs_err::OpenOptions::new();
            options.write(true).create_new(true).open(pair.path(kind))?.write_all(bytes)?;
        }
        Ok(pair)
    }

    fn path(&self, kind: &str) -> std::path::PathBuf {
        self.directory.join(format!("{}.{kind}", self.name))
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        for kind in ["index", "tar"] {
            let _ = fs_err::remove_file(self.path(kind));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_not_asked() {
        for (release, safe) in [
            ("6.18.44-fc-v657", true),
            ("6.13.0", true),
            ("6.12.5", false),
            ("5.15.0-1", false),
            ("7.0", true),
        ] {
            assert_eq!(release_is_safe(release), safe, "{release}");
        }
    }

    #[test]
    fn a_real_disk_mounts_files_and_nothing_is_left() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return;
        }
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let found = probe(directory.path());
        assert_eq!(found.kind, ProbeKind::Erofs, "{}", found.reason);
        assert_eq!(attempt(directory.path(), true), Ok(()));
        assert_eq!(fs_err::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_tmpfs_needs_loop_devices_and_says_why() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return;
        }
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let found = probe(directory.path());
        assert_eq!(found.kind, ProbeKind::ErofsLoop, "{}", found.reason);
        assert!(found.reason.starts_with("plain files: "), "{}", found.reason);
    }
}
