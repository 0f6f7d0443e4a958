//! Extended attributes on disk (`spec/erofs.md`, section 6).

use crate::Xattr;

/// Size of the header of an xattr body.
pub(crate) const BODY_HEADER_SIZE: u64 = 12;
/// Size of an entry before its name.
pub(crate) const ENTRY_HEADER_SIZE: u64 = 4;
/// Bodies, names and shared ids are counted in this unit.
pub(crate) const UNIT: u64 = 4;
/// Longest value.
pub(crate) const VALUE_MAX: usize = 65_535;
/// Longest body: the count of its units is 16 bits wide.
pub(crate) const BODY_MAX: u64 = BODY_HEADER_SIZE + UNIT * 65_534;
/// Longest full name, the kernel's `XATTR_NAME_MAX`.
const NAME_MAX: usize = 255;

/// Prefixes that are followed by a name, and their index.
const PREFIXES: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];
/// Names that an index says in full.
const WHOLE_NAMES: [(&[u8], u8); 2] = [(b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3)];

/// Splits a full name into its prefix index and the rest; `None` when the format cannot hold it.
pub(crate) fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    if let Some(&(_, index)) = WHOLE_NAMES.iter().find(|(whole, _)| *whole == name) {
        return Some((index, b""));
    }
    if name.len() > NAME_MAX || name.contains(&0) {
        return None;
    }
    PREFIXES.iter().find_map(|&(prefix, index)| {
        let rest = name.strip_prefix(prefix)?;
        (!rest.is_empty()).then_some((index, rest))
    })
}

/// The inverse of [`split_name`]; `None` when the index is unknown.
pub(crate) fn join_name(index: u8, rest: &[u8]) -> Option<Vec<u8>> {
    let all = PREFIXES.iter().chain(&WHOLE_NAMES);
    let (prefix, _) = all.into_iter().find(|(_, known)| *known == index)?;
    Some([prefix, rest].concat())
}

/// The size of an inode's xattr body; 0 without xattrs.
pub(crate) fn body_size<'a>(xattrs: impl IntoIterator<Item = (&'a [u8], usize)>) -> u64 {
    let entries: u64 = xattrs
        .into_iter()
        .map(|(rest, value)| (ENTRY_HEADER_SIZE + (rest.len() + value) as u64).next_multiple_of(UNIT))
        .sum();
    if entries == 0 { 0 } else { BODY_HEADER_SIZE + entries }
}

/// The `i_xattr_icount` of a body of `size` bytes.
pub(crate) fn body_count(size: u64) -> u16 {
    if size == 0 { 0 } else { ((size - BODY_HEADER_SIZE) / UNIT + 1) as u16 }
}

/// The inverse of [`body_count`].
pub(crate) fn body_size_of_count(count: u16) -> u64 {
    if count == 0 { 0 } else { BODY_HEADER_SIZE + UNIT * (u64::from(count) - 1) }
}

/// Appends the body of `xattrs`, whose names and lengths have been checked.
pub(crate) fn encode_body(xattrs: &[Xattr], out: &mut Vec<u8>) {
    if xattrs.is_empty() {
        return;
    }
    out.resize(out.len() + BODY_HEADER_SIZE as usize, 0);
    for xattr in xattrs {
        let Some((index, rest)) = split_name(&xattr.name) else { continue };
        let start = out.len();
        out.extend([rest.len() as u8, index]);
        out.extend((xattr.value.len() as u16).to_le_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(&xattr.value);
        let length = (out.len() - start).next_multiple_of(UNIT as usize);
        out.resize(start + length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_and_joined() {
        for name in ["user.x", "trusted.overlay.opaque", "security.capability", "system.posix_acl_default"] {
            let (index, rest) = split_name(name.as_bytes()).unwrap();
            assert_eq!(join_name(index, rest).unwrap(), name.as_bytes());
        }
        assert_eq!(split_name(b"system.posix_acl_access"), Some((2, &b""[..])));
        for name in ["system.nfs4_acl", "user.", "xuser.a", ""] {
            assert_eq!(split_name(name.as_bytes()), None, "{name}");
        }
        assert_eq!(join_name(5, b"x"), None);
    }

    #[test]
    fn the_count_tells_the_size() {
        assert_eq!((body_count(0), body_size_of_count(0)), (0, 0));
        for size in [16, 20, BODY_MAX] {
            assert_eq!(body_size_of_count(body_count(size)), size);
        }
    }
}
