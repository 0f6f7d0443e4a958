//! `diff`: the writable layer against the layers below it.
use super::{Change, ChangeKind};
use crate::{Engine, EngineError};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use strata_layer::{FileType, Stack};

/// What starting a container puts there to mount something on; Docker keeps these in a layer of their own.
const MADE_AT_START: [&[u8]; 8] = [
    b"/.dockerenv",
    b"/etc/hostname",
    b"/etc/hosts",
    b"/etc/resolv.conf",
    b"/dev",
    b"/proc",
    b"/sys",
    b"/etc/mtab",
];

impl Engine {
    /// What it changed, sorted by path. Directories on the way to a change are changes too, as Docker shows them.
    pub fn diff(&self, name: &str) -> Result<Vec<Change>, EngineError> {
        let container = self.store().containers().lookup(name)?;
        let below = self.store().layers().stack(&container.layers)?;
        let mut changes = Vec::new();
        walk(&container.upper(), b"", &below, &mut changes)?;
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(changes)
    }
}

/// Adds what is below `directory`; true if anything was.
fn walk(
    directory: &Path,
    path: &[u8],
    below: &Stack,
    changes: &mut Vec<Change>,
) -> Result<bool, EngineError> {
    let before = changes.len();
    let lookup = |path: &[u8]| {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        below.lookup(relative).map_err(|error| EngineError::layer("cannot read the image's layers", error))
    };
    let mut present = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let inner = [path, b"/", entry.file_name().as_bytes()].concat();
        let metadata = fs_err::symlink_metadata(entry.path())?;
        let lower = lookup(&inner)?;
        present.push(entry.file_name().as_bytes().to_vec());
        let is_whiteout = metadata.file_type().is_char_device() && metadata.rdev() == 0;
        if is_whiteout {
            if lower.is_some() {
                changes.push(Change { kind: ChangeKind::Deleted, path: inner });
            }
        } else if metadata.is_dir() {
            let was_directory = lower.as_ref().filter(|node| node.metadata.file_type == FileType::Directory);
            let found = walk(&entry.path(), &inner, below, changes)?;
            let differs = was_directory.is_none_or(|node| {
                (u32::from(node.metadata.mode), node.metadata.uid, node.metadata.gid)
                    != (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
            });
            let hidden = MADE_AT_START.contains(&inner.as_slice()) && !found;
            if (found || differs) && !hidden {
                let kind = if lower.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
                changes.push(Change { kind, path: inner });
            }
        } else if !(MADE_AT_START.contains(&inner.as_slice()) && metadata.len() == 0) {
            let kind = if lower.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
            changes.push(Change { kind, path: inner });
        }
    }
    if !path.is_empty() && is_opaque(directory) {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let hidden = below.read_dir(relative).unwrap_or_default();
        for (name, _) in hidden.into_iter().filter(|(name, _)| !present.contains(name)) {
            changes.push(Change { kind: ChangeKind::Deleted, path: [path, b"/", name.as_slice()].concat() });
        }
    }
    Ok(changes.len() > before)
}

/// overlayfs marks a directory that hides what is below it.
fn is_opaque(directory: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0; 1];
        rustix::fs::lgetxattr(directory, *name, &mut value)
            .is_ok_and(|length| length == 1 && value[0] == b'y')
    })
}
