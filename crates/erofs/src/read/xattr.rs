//! Extended attributes.

use super::error::damaged;
use super::{Image, Nid, ReadError};
use crate::Xattr;
use crate::format::get;
use crate::format::xattr::{self, BODY_HEADER_SIZE, ENTRY_HEADER_SIZE, UNIT};

pub(super) fn xattrs<B: AsRef<[u8]>>(image: &Image<B>, nid: Nid) -> Result<Vec<Xattr>, ReadError> {
    let inode = image.header(nid)?;
    let length = xattr::body_size_of_count(inode.header.xattr_count);
    let mut found = Vec::new();
    if length == 0 {
        return Ok(found);
    }
    let start = inode.xattrs_at();
    let body = image.slice(start, length)?;
    let shared = u64::from(body[4]);
    let mut at = start + BODY_HEADER_SIZE + shared * UNIT;
    let end = start + length;
    if at > end {
        return Err(damaged(start, "shared xattrs pass the end of the xattr body"));
    }
    let shared_base = u64::from(image.superblock.xattr_block) << image.superblock.block_bits;
    let mut held = 0;
    let ids = body[BODY_HEADER_SIZE as usize..].chunks_exact(UNIT as usize).take(shared as usize);
    for id in ids {
        let id = u64::from(u32::from_le_bytes(get(id, 0)));
        let (xattr, _) = entry(image, shared_base + id * UNIT, image.length())?;
        held += xattr.value.len() as u64;
        if held > image.length() {
            return Err(damaged(start, "shared xattrs overlap"));
        }
        found.push(xattr);
    }
    while at < end {
        let (xattr, next) = entry(image, at, end)?;
        found.push(xattr);
        at = next;
    }
    found.sort_unstable();
    Ok(found)
}

/// The entry at `at`, which lies before `end`, and where the next one begins.
fn entry<B: AsRef<[u8]>>(image: &Image<B>, at: u64, end: u64) -> Result<(Xattr, u64), ReadError> {
    let header = image.slice(at, ENTRY_HEADER_SIZE)?;
    let (name_length, index) = (u64::from(header[0]), header[1]);
    let value_length = u64::from(u16::from_le_bytes(get(header, 2)));
    let length = ENTRY_HEADER_SIZE + name_length + value_length;
    let next = at + length.next_multiple_of(UNIT);
    if next > end {
        return Err(damaged(at, "xattr passes the end of its area"));
    }
    let bytes = image.slice(at, length)?;
    let (name, value) = bytes[ENTRY_HEADER_SIZE as usize..].split_at(name_length as usize);
    let name =
        xattr::join_name(index, name).ok_or_else(|| damaged(at, "xattr name has an unknown prefix"))?;
    Ok((Xattr { name, value: value.to_vec() }, next))
}
