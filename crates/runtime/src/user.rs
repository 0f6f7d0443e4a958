//! Who a process in a container runs as: `user[:group]` looked up in the image's own `/etc/passwd` and `/etc/group`,
//! never through the host's name services, whose libraries could come from the image (CVE-2019-14271).

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::rootdir::read_file;

/// Larger passwd and group files are refused.
const MOST_BYTES: u64 = 1 << 20;

/// Most supplementary groups a process gets.
const MOST_GROUPS: usize = 256;

/// A resolved user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Supplementary group IDs, the primary one first.
    pub groups: Vec<u32>,
    /// Home directory of the passwd entry; `/` without one.
    pub home: String,
}

/// The user cannot be resolved. Docker's exit code for all of these is 125.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// A user name without an entry.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// A group name without an entry.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A number that is no user or group ID.
    #[error("uids and gids must be in range 0-2147483647: {0}")]
    OutOfRange(String),
    /// More supplementary groups than the executor passes on.
    #[error("user {user} is in {count} groups, more than {MOST_GROUPS}")]
    TooManyGroups {
        /// The user as given.
        user: String,
        /// How many.
        count: usize,
    },
    /// A file that is not a regular one, too large, or unreadable.
    #[error("cannot read {} of the image: {source}", path.display())]
    File {
        /// Path in the image.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Resolves `user[:group]` (empty is `0`) and further groups in the root file system behind `root`.
///
/// # Errors
/// Fails for names without entries, for numbers out of range, and for unreadable files.
pub fn resolve(root: BorrowedFd<'_>, text: &str, extra_groups: &[String]) -> Result<User, UserError> {
    let passwd = database(root, "etc/passwd")?;
    let group = database(root, "etc/group")?;
    resolve_in(&passwd, &group, text, extra_groups)
}

fn database(root: BorrowedFd<'_>, path: &str) -> Result<String, UserError> {
    let bytes = match read_file(root, Path::new(path), MOST_BYTES) {
        Ok(bytes) => bytes.unwrap_or_default(),
        // What is not a file has no entries for us.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Vec::new(),
        Err(source) => return Err(UserError::File { path: Path::new("/").join(path), source }),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(PasswdEntry { name, uid, gid, home: fields.nth(1).unwrap_or("/") })
    })
}

fn group_entries(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(GroupEntry { name, gid, members: fields.next().unwrap_or("") })
    })
}

/// A name that consists of digits is looked up as a name first, as Docker does.
fn resolve_in(passwd: &str, group: &str, text: &str, extra: &[String]) -> Result<User, UserError> {
    let (user_text, group_text) = text.split_once(':').unwrap_or((text, ""));
    let wanted = if user_text.is_empty() { "0" } else { user_text };
    let number = parse_id(wanted)?;
    let entry = passwd_entries(passwd)
        .find(|entry| entry.name == wanted)
        .or_else(|| passwd_entries(passwd).find(|entry| Some(entry.uid) == number));
    let (uid, mut gid, home) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home),
        (None, Some(uid)) => (uid, 0, "/"),
        (None, None) => return Err(UserError::NoUser(wanted.to_owned())),
    };
    let mut groups = Vec::new();
    if group_text.is_empty() {
        if let Some(entry) = &entry {
            let member = |members: &str| members.split(',').any(|member| member == entry.name);
            groups.extend(group_entries(group).filter(|group| member(group.members)).map(|group| group.gid));
        }
    } else {
        gid = group_id(group, group_text)?;
    }
    for name in extra {
        groups.push(group_id(group, name)?);
    }
    groups.insert(0, gid);
    let mut seen = std::collections::HashSet::new();
    groups.retain(|group| seen.insert(*group));
    if groups.len() > MOST_GROUPS {
        return Err(UserError::TooManyGroups { user: wanted.to_owned(), count: groups.len() });
    }
    let home = if home.is_empty() { "/" } else { home };
    Ok(User { uid, gid, groups, home: home.to_owned() })
}

fn group_id(group: &str, text: &str) -> Result<u32, UserError> {
    if let Some(entry) = group_entries(group).find(|entry| entry.name == text) {
        return Ok(entry.gid);
    }
    parse_id(text)?.ok_or_else(|| UserError::NoGroup(text.to_owned()))
}

/// `None` when the text is not a number at all.
fn parse_id(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= i32::MAX as u32 => Ok(Some(id)),
        _ => Err(UserError::OutOfRange(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:w:/srv/web:/bin/sh\nbroken\n1000:x:7:8::/odd:\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nssl:x:50:web,other\nlog:x:60:other,web\n";

    fn get(text: &str) -> (u32, u32, Vec<u32>, String) {
        let user = resolve_in(PASSWD, GROUP, text, &[]).unwrap();
        (user.uid, user.gid, user.groups, user.home)
    }

    #[test]
    fn names_numbers_and_groups() {
        assert_eq!(get(""), (0, 0, vec![0], "/root".into()));
        assert_eq!(get("web"), (33, 33, vec![33, 50, 60], "/srv/web".into()));
        assert_eq!(get("33"), (33, 33, vec![33, 50, 60], "/srv/web".into()));
        assert_eq!(get("web:ssl"), (33, 50, vec![50], "/srv/web".into()));
        assert_eq!(get("web:77"), (33, 77, vec![77], "/srv/web".into()));
        assert_eq!(get("5000"), (5000, 0, vec![0], "/".into()));
        assert_eq!(get(":ssl"), (0, 50, vec![50], "/root".into()));
        assert_eq!(get("1000"), (7, 8, vec![8], "/odd".into()));
    }

    #[test]
    fn extra_groups_come_after_and_once() {
        let user = resolve_in(PASSWD, GROUP, "web", &["ssl".into(), "9".into()]).unwrap();
        assert_eq!(user.groups, [33, 50, 60, 9]);
    }

    #[test]
    fn messages_are_dockers() {
        let error = |text| resolve_in(PASSWD, GROUP, text, &[]).unwrap_err().to_string();
        assert_eq!(error("nosuch"), "unable to find user nosuch: no matching entries in passwd file");
        assert_eq!(error("web:nosuch"), "unable to find group nosuch: no matching entries in group file");
        assert_eq!(error("4294967295"), "uids and gids must be in range 0-2147483647: 4294967295");
    }
}
