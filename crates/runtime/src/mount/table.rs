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
    fn the_real_table_has_proc_and_lists_children_before_parents() {
        let mounts = mounts_below(Path::new("/")).unwrap();
        assert!(mounts.iter().any(|mount| mount.fs_type == "proc" && mount.target == Path::new("/proc")));
        let root = mounts.iter().rposition(|mount| mount.target == Path::new("/")).unwrap();
        assert_eq!(root, mounts.len() - 1);
    }
}
