//! COPY, ADD and WORKDIR: files from a source tree into a new layer (`spec/build.md` section 2).
//!
//! Two phases. A [`Selection`] says which files a source path means; its [`digest`](Selection::digest) is the content
//! part of a cache key, so a step that hits ends there. [`copy`] then decides where each file goes, resolving the
//! destination in the layers below without mounting them, and streams the result into a [`LayerBuilder`].
//!
//! # Example: `COPY src conf/*.toml /srv/`
//!
//! `src` is a directory: its contents are selected, not itself. `conf/a.toml` and `conf/b.toml` match the pattern: each
//! is a file selected under its own name. On a base where `/srv` is a symlink to `/var/srv`, the layer gets
//! `var` (as it is), `var/srv`, and below it the contents of `src`, `a.toml` and `b.toml`.
//!
//! The same files on the same base always give the same tar: entries are in byte order of their paths, and no time but
//! the sources' and the caller's is used.

mod archive;
mod batch;
mod block;
mod chmod;
mod emit;
mod error;
mod key;
mod owner;
mod pattern;
mod plan;
mod read_ahead;
mod select;
mod steps;
mod workdir;

pub use chmod::{Chmod, ChmodError};
pub use error::CopyError;
pub use owner::{Owner, owner, owner_numbers};
pub use select::{Root, SelectOptions, SelectedFile, Selection};
pub use workdir::workdir;

use crate::{LayerBuilder, Stack};
use archive::is_archive;
use plan::Plan;
use std::borrow::Borrow;
use std::io::Write;

/// How a copy treats what it makes.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// `--chown`: owner and group of everything that is copied and of directories made on the way.
    pub owner: Option<(u32, u32)>,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// Modification time, seconds and nanoseconds since 1970, of directories that no source describes.
    pub created: (i64, u32),
}

/// Copies `selections`, in this order, to `destination` on top of `below`; `None` stands for `--link`: the
/// layer is then made as if nothing were below.
///
/// `destination` is absolute within the root. If it ends in `/` or `/.`, or is a directory, files are placed in
/// it under their own names; otherwise a file becomes the destination. Later sources win. Symlinks in the
/// destination are followed inside the root; a link below it is replaced by a file, and refuses a directory.
///
/// # Errors
/// BuildKit's refusals (a directory onto a file, a file onto a directory), a source that changes while it is read,
/// and whatever reading and writing can fail with. The builder's output is then useless.
pub fn copy<W: Write, S: Borrow<Selection>>(
    selections: &[S],
    below: Option<&Stack>,
    destination: &[u8],
    options: &CopyOptions,
    builder: &mut LayerBuilder<W>,
) -> Result<(), CopyError> {
    let selections: Vec<&Selection> = selections.iter().map(Borrow::borrow).collect();
    let mut plan = Plan::new(&selections, below, options);
    let mut sources = Vec::new();
    for (number, selection) in selections.iter().enumerate() {
        for (root, source) in selection.roots.iter().enumerate() {
            let unpack =
                selection.options.unpack && is_archive(&*selection.tree, &source.path, &source.entry);
            sources.push((number, root, unpack));
        }
    }
    if sources.iter().any(|(.., unpack)| *unpack) {
        plan = plan.one_by_one();
    }
    for (number, root, unpack) in sources {
        if unpack {
            plan.unpack(number, root, destination)?;
        } else {
            plan.place(number, root, destination)?;
        }
    }
    emit::emit(plan.finish(), &selections, below, builder)
}
