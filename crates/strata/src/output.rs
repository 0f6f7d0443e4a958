//! Standard output.

use crate::failure::Failure;
use std::io::Write;

/// Writes to standard output; a reader that went away is not an error.
pub(crate) fn emit(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    Ok(out.write_all(text.as_bytes()).and_then(|()| out.flush())?)
}
