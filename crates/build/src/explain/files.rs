//! Two lists of files: added, removed, and what of each changed.
use super::line;
use crate::{Cause, FileEntry, FileKind, Reason};
use std::cmp::Ordering;

/// Sizes below are told to the byte.
const EXACT: u64 = 10_000;

/// One file that is not as it was.
struct Change<'a> {
    path: &'a str,
    what: String,
    weight: u64,
}

/// Compares two lists sorted by path. An empty one is one that was not kept.
pub(super) fn reason(old: &[FileEntry], new: &[FileEntry]) -> Reason {
    if old.is_empty() || new.is_empty() {
        return line(Cause::Files, "the files changed");
    }
    let mut changes = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let order = match (old.get(i), new.get(j)) {
            (Some(old), Some(new)) => old.path.cmp(&new.path),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => {
                changes.push(whole(&old[i], "removed"));
                i += 1;
            }
            Ordering::Greater => {
                changes.push(whole(&new[j], "added"));
                j += 1;
            }
            Ordering::Equal => {
                changes.extend(compare(&old[i], &new[j]));
                (i, j) = (i + 1, j + 1);
            }
        }
    }
    // The weightiest first; the path decides among equals, so that the answer is always the same.
    changes.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.path.cmp(b.path)));
    let details: Vec<String> =
        changes.iter().map(|change| format!("{}: {}", change.path, change.what)).collect();
    let summary = match &details[..] {
        // Only what a listing leaves out can differ: xattrs, device numbers.
        [] => "the files changed".to_owned(),
        [one] => format!("file {one}"),
        [first, rest @ ..] => {
            format!("{} files changed, first {first}, and {} more", details.len(), rest.len())
        }
    };
    Reason { details, ..line(Cause::Files, &summary) }
}

/// A file that is there on one side only.
fn whole<'a>(entry: &'a FileEntry, what: &str) -> Change<'a> {
    let what = match entry.kind {
        FileKind::File => format!("{what}, {}", size(entry.size)),
        FileKind::Symlink => format!("{what}, link to {}", entry.content),
        kind => format!("{what}, {}", self::kind(kind)),
    };
    Change { path: &entry.path, what, weight: entry.size }
}

/// Small ones exactly, large ones as people say them.
fn size(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        0..EXACT => format!("{bytes} bytes"),
        _ => {
            let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
            let (mut value, mut unit) = (bytes as f64 / 1000.0, 0);
            while value >= 1000.0 && unit + 1 < units.len() {
                (value, unit) = (value / 1000.0, unit + 1);
            }
            format!("{value:.1} {}", units[unit])
        }
    }
}

fn sizes(old: u64, new: u64) -> String {
    let (a, b) = (size(old), size(new));
    // Rounded numbers may be too near to each other.
    if old.max(new) < EXACT || a == b { format!("{old} → {new} bytes") } else { format!("{a} → {b}") }
}

fn compare<'a>(old: &FileEntry, new: &'a FileEntry) -> Option<Change<'a>> {
    let mut what = Vec::new();
    if old.kind != new.kind {
        what.push(format!("{} became {}", kind(old.kind), kind(new.kind)));
    } else if old.content != new.content && new.kind == FileKind::Symlink {
        what.push(format!("link target {} → {}", old.content, new.content));
    } else if old.size != new.size {
        what.push(format!("content, {}", sizes(old.size, new.size)));
    } else if old.content != new.content {
        what.push(format!("content, still {}", size(new.size)));
    }
    if old.mode != new.mode {
        what.push(format!("mode {:04o} → {:04o}", old.mode, new.mode));
    }
    if (old.uid, old.gid) != (new.uid, new.gid) {
        what.push(format!("owner {}:{} → {}:{}", old.uid, old.gid, new.uid, new.gid));
    }
    (!what.is_empty()).then(|| Change {
        path: &new.path,
        what: what.join(", "),
        weight: old.size.max(new.size),
    })
}

fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a file",
        FileKind::Directory => "a directory",
        FileKind::Symlink => "a link",
        FileKind::Special => "a device or pipe",
    }
}
