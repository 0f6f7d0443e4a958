//! `--chown` and USER: names to numbers (`spec/build.md` 2.4 and section 9).
use super::CopyError;
use crate::{FileType, LayerError, Stack};
use std::io::Read;

/// As much of `/etc/passwd` or `/etc/group` as is read.
const LIMIT: u64 = 16 << 20;

/// Whom `user[:group]` means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User and group.
    pub ids: (u32, u32),
    /// Names that the root file system does not know, each as a sentence. Their numbers are a guess.
    pub unknown: Vec<String>,
}

/// The numbers that `user[:group]` means in the root file system `root`, which is `None` where there is none to ask:
/// on scratch, and for `--link`.
///
/// A user's name stands for its number and primary group; a number alone for itself as user and group; an empty user
/// or group for root. Numbers need not be in any file. As in BuildKit a user nobody knows is root, and for an unknown
/// group the user's own is taken; both are told.
///
/// # Errors
/// [`CopyError::NoAccounts`] for a name without a root file system.
pub fn owner(root: Option<&Stack>, text: &str) -> Result<Owner, CopyError> {
    let Some(root) = root else {
        let ids = owner_numbers(text).ok_or_else(|| CopyError::NoAccounts(text.to_owned()))?;
        return Ok(Owner { ids, unknown: Vec::new() });
    };
    let (user, group) = split(text);
    let mut unknown = Vec::new();
    let (uid, primary) = match number_of(user) {
        Some(uid) => (uid, uid),
        None => {
            let passwd = read(root, b"/etc/passwd")?;
            let found = find(&passwd, user).and_then(|fields| Some((number(fields, 2)?, number(fields, 3)?)));
            found.unwrap_or_else(|| {
                unknown.push(format!(
                    "unable to find user {user}: no matching entries in passwd; root is taken"
                ));
                (0, 0)
            })
        }
    };
    let gid = match group.map(|group| (group, number_of(group))) {
        None => primary,
        Some((_, Some(gid))) => gid,
        Some((group, None)) => {
            let groups = read(root, b"/etc/group")?;
            find(&groups, group).and_then(|fields| number(fields, 2)).unwrap_or_else(|| {
                unknown.push(format!(
                    "unable to find group {group}: no matching entries in group; {primary} is taken"
                ));
                primary
            })
        }
    };
    Ok(Owner { ids: (uid, gid), unknown })
}

/// The same where there is no root file system to ask (`--link`): `None` if a name would have to be looked up.
pub fn owner_numbers(text: &str) -> Option<(u32, u32)> {
    let (user, group) = split(text);
    let uid = number_of(user)?;
    let gid = group.map_or(Some(uid), number_of)?;
    Some((uid, gid))
}

/// Nothing at all is root; and root needs no file that says who that is.
fn number_of(name: &str) -> Option<u32> {
    if matches!(name, "" | "root") { Some(0) } else { name.parse().ok() }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    }
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
