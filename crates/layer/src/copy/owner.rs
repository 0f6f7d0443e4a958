//! `--chown` and USER: names to numbers (`spec/build.md` 2.4 and section 9).
use super::CopyError;
use crate::{FileType, LayerError, Stack};
use std::io::Read;

/// As much of `/etc/passwd` or `/etc/group` as is read.
const LIMIT: u64 = 16 << 20;

/// The numbers that `user[:group]` means in the root file system `root`.
///
/// A user's name stands for its number and primary group; a number alone for itself as user and group; an empty user for
/// root. Numbers need not be in any file.
///
/// # Errors
/// [`CopyError::UnknownOwner`] for a name that `/etc/passwd` or `/etc/group` does not have.
pub fn owner(root: &Stack, text: &str) -> Result<(u32, u32), CopyError> {
    let (user, group) = split(text);
    let (uid, primary) = match user.parse::<u32>() {
        Ok(uid) => (uid, uid),
        Err(_) if user.is_empty() => (0, 0),
        Err(_) => {
            let passwd = read(root, b"/etc/passwd")?;
            let found = find(&passwd, user).and_then(|fields| Some((number(fields, 2)?, number(fields, 3)?)));
            found.ok_or_else(|| unknown("user", user, "passwd"))?
        }
    };
    let gid = match group {
        None => primary,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => {
                let groups = read(root, b"/etc/group")?;
                let found = find(&groups, group).and_then(|fields| number(fields, 2));
                found.ok_or_else(|| unknown("group", group, "group"))?
            }
        },
    };
    Ok((uid, gid))
}

/// The same where there is no root file system to ask (`--link`): `None` if a name would have to be looked up.
pub fn owner_numbers(text: &str) -> Option<(u32, u32)> {
    let (user, group) = split(text);
    let uid = if user.is_empty() { 0 } else { user.parse().ok()? };
    let gid = group.map_or(Ok(uid), str::parse).ok()?;
    Some((uid, gid))
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((user, group)) => (user, (!group.is_empty()).then_some(group)),
        None => (text, None),
    }
}

fn unknown(kind: &'static str, name: &str, file: &'static str) -> CopyError {
    CopyError::UnknownOwner { kind, name: name.to_owned(), file }
}

/// The file's bytes; nothing if there is no such file.
fn read(root: &Stack, path: &[u8]) -> Result<Vec<u8>, LayerError> {
    let mut content = Vec::new();
    match root.resolve(path, true)?.node {
        Some(node) if node.metadata.file_type == FileType::Regular => {
            root.open(&node)?.take(LIMIT).read_to_end(&mut content)?;
        }
        _ => {}
    }
    Ok(content)
}

/// The first line whose first field is `name`.
fn find<'a>(file: &'a [u8], name: &str) -> Option<&'a [u8]> {
    file.split(|byte| *byte == b'\n')
        .find(|line| line.split(|byte| *byte == b':').next() == Some(name.as_bytes()))
}

fn number(line: &[u8], field: usize) -> Option<u32> {
    let text = line.split(|byte| *byte == b':').nth(field)?;
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}
