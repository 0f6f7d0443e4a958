//! Extended attributes of entries that cannot or should not be opened.
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use strata_erofs::Xattr;

/// A path to `name` in an open directory, for the calls that have no directory argument. The directory part
/// cannot be redirected; whether the last part is followed is up to the call.
///
/// `thread-self`, not `self`: a thread may have a descriptor table of its own.
pub(crate) fn by_descriptor(directory: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/thread-self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// Extended attributes that take part in a build, sorted by name; none where the file system has none. A final
/// symlink is not followed.
pub(crate) fn read(path: &[u8]) -> Result<Vec<Xattr>, Errno> {
    let mut names = Vec::with_capacity(256);
    match fill(&mut names, |buffer| rustix::fs::llistxattr(path, buffer)) {
        Ok(()) => {}
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut xattrs = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| is_content(name)) {
        let mut value = Vec::with_capacity(256);
        match fill(&mut value, |buffer| rustix::fs::lgetxattr(path, name, buffer)) {
            Ok(()) => xattrs.push(Xattr { name: name.to_vec(), value }),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// True for attributes that belong to the content of a file (`spec/build.md` section 4.1): file capabilities and
/// all that neither the kernel's security modules nor the file system nor overlayfs keep for themselves.
pub(crate) fn is_content(name: &[u8]) -> bool {
    const FOREIGN: [&[u8]; 4] = [b"security.", b"system.", b"trusted.overlay.", b"user.overlay."];
    name == b"security.capability"
        || !name.is_empty() && !FOREIGN.iter().any(|prefix| name.starts_with(prefix))
}

/// Calls until the buffer is large enough: the value may grow between two calls.
fn fill(
    buffer: &mut Vec<u8>,
    mut call: impl FnMut(rustix::buffer::SpareCapacity<'_, u8>) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    loop {
        buffer.clear();
        match call(rustix::buffer::spare_capacity(buffer)) {
            Ok(_) => return Ok(()),
            Err(Errno::RANGE) => buffer.reserve(buffer.capacity().max(128) * 2),
            Err(error) => return Err(error),
        }
    }
}
