//! The mount table of this process, `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::MountError;

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedAt {
    /// Where.
    pub target: PathBuf,
    /// Path inside the mounted file system that is shown there.
    pub root: PathBuf,
    /// `erofs`, `overlay`, ...
    pub fs_type: String,
    /// Device, file or name it was mounted from.
    pub source: String,
    /// Options of the file system itself (for cgroup version 1: its controllers).
    pub super_options: String,
}

/// All mounts at or below `root`, the deepest and latest first: the order in which they can be unmounted.
///
/// # Errors
/// Fails when the mount table cannot be read.
pub fn mounts_below(root: &Path) -> Result<Vec<MountedAt>, MountError> {
    let mut mounts = all_mounts()?;
    mounts.retain(|mount| mount.target.starts_with(root));
    mounts.reverse();
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.target.components().count()));
    Ok(mounts)
}

/// The whole table, in the kernel's order.
pub(crate) fn all_mounts() -> Result<Vec<MountedAt>, MountError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs_err::read(path).map_err(|source| MountError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(text.split(|&b| b == b'\n').filter_map(parse_line).collect())
}

/// What is mounted at `path` itself, without reading the whole table, which takes the kernel some microseconds for every
/// line. `None` if nothing is, or if this kernel (before 6.8) cannot say. The options are empty before 6.11.
pub(crate) fn mount_at(path: &Path) -> Option<MountedAt> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let unique_id = StatxFlags::from_bits_retain(0x4000);
    let status = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, unique_id).ok()?;
    if status.stx_mask & unique_id.bits() == 0 {
        return None;
    }
    let mut buffer = [0u8; 4096];
    crate::sys::statmount(status.stx_mnt_id, statmount::WANTED, &mut buffer).ok()?;
    let mount = statmount::parse(&buffer)?;
    (mount.target == path).then_some(mount)
}

/// The kernel's `struct statmount`: numbers, of which some are offsets of strings that follow it.
mod statmount {
    use super::MountedAt;
    use std::ffi::{CStr, OsString};
    use std::os::unix::ffi::OsStringExt;

    /// Root, mount point and type.
    const NEEDED: u64 = 0x8 | 0x10 | 0x20;
    /// Not known before Linux 6.11, and left out where there are none.
    const WITH_OPTIONS: u64 = 0x80;
    pub(super) const WANTED: u64 = NEEDED | WITH_OPTIONS;
    const MASK: usize = 8;
    const OPTIONS: usize = 4;
    const TYPE: usize = 36;
    const ROOT: usize = 104;
    const POINT: usize = 108;
    const STRINGS: usize = 512;

    pub(super) fn parse(bytes: &[u8]) -> Option<MountedAt> {
        let mask = u64::from_ne_bytes(bytes.get(MASK..MASK + 8)?.try_into().ok()?);
        if mask & NEEDED != NEEDED {
            return None;
        }
        let string = |at: usize| {
            let offset = u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
            CStr::from_bytes_until_nul(bytes.get(STRINGS.checked_add(offset)?..)?).ok()
        };
        let path = |at| string(at).map(|text| OsString::from_vec(text.to_bytes().to_vec()).into());
        let text = |at| string(at).map(|text| text.to_string_lossy().into_owned());
        let fs_type = text(TYPE)?;
        Some(MountedAt {
            target: path(POINT)?,
            root: path(ROOT)?,
            source: fs_type.clone(),
            fs_type,
            super_options: if mask & WITH_OPTIONS == 0 { String::new() } else { text(OPTIONS)? },
        })
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<MountedAt> {
    let mut fields = line.split(|&b| b == b' ').skip(3);
    let root = unescape(fields.next()?);
    let target = unescape(fields.next()?);
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let mut text = || rest.next().map(|field| String::from_utf8_lossy(&unescape(field)).into_owned());
    Some(MountedAt {
        target: OsString::from_vec(target).into(),
        root: OsString::from_vec(root).into(),
        fs_type: text()?,
        source: text()?,
        super_options: text().unwrap_or_default(),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if first == b'\\' => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_escapes_and_optional_fields() {
        let line = br"36 35 98:0 /a\040b /mnt\0112\134 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue";
        let mount = parse_line(line).unwrap();
        assert_eq!(mount.root, Path::new("/a b"));
        assert_eq!(mount.target, Path::new("/mnt\t2\\"));
        assert_eq!((mount.fs_type.as_str(), mount.source.as_str()), ("ext3", "/dev/root"));
        assert_eq!(mount.super_options, "rw,errors=continue");
        assert_eq!(parse_line(b""), None);
    }

    #[test]
    fn a_single_mount_is_described_as_the_table_does() {
        let table = all_mounts().unwrap();
        let cgroups = || table.iter().filter(|mount| mount.fs_type.starts_with("cgroup"));
        for listed in cgroups() {
            let Some(mount) = mount_at(&listed.target) else {
                eprintln!("SKIP: this kernel has no statmount");
                return;
            };
            assert_eq!((&mount.root, &mount.fs_type), (&listed.root, &listed.fs_type));
            let options = |mount: &MountedAt| -> Vec<String> {
                let all = mount.super_options.split(',').map(str::to_owned);
                all.filter(|option| !["rw", "ro", ""].contains(&option.as_str())).collect()
            };
            assert_eq!(options(&mount), options(listed), "{}", listed.target.display());
        }
        assert_eq!(mount_at(Path::new("/proc/self")), None, "nothing is mounted there");
        assert_eq!(mount_at(Path::new("/no/such")), None);
    }

    #[test]
    fn the_real_table_has_proc_and_lists_children_before_parents() {
        let mounts = mounts_below(Path::new("/")).unwrap();
        assert!(mounts.iter().any(|mount| mount.fs_type == "proc" && mount.target == Path::new("/proc")));
        let root = mounts.iter().rposition(|mount| mount.target == Path::new("/")).unwrap();
        assert_eq!(root, mounts.len() - 1);
    }
}
