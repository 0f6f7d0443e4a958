//! WORKDIR.
use super::plan::Plan;
use super::{CopyError, CopyOptions, emit};
use crate::{LayerBuilder, Stack};
use std::io::Write;

/// Makes the directory at `path` and its missing parents, 0755 and `owner`'s, with the time `created`. Symlinks are
/// followed inside the root. What exists stays as it is; if all of it does, the layer is empty.
///
/// # Errors
/// [`CopyError::NotDirectory`] if something else is in the way.
pub fn workdir<W: Write>(
    below: &Stack,
    path: &[u8],
    owner: (u32, u32),
    created: (i64, u32),
    builder: &mut LayerBuilder<W>,
) -> Result<(), CopyError> {
    let options = CopyOptions { owner: Some(owner), chmod: None, created };
    let mut plan = Plan::new(&[], Some(below), &options);
    let path = plan.resolve(b"", path)?;
    plan.make_directories(&path)?;
    emit::emit(plan.finish(), &[], Some(below), builder)
}
