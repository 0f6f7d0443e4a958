//! `build`.

use crate::cli::Global;
use crate::failure::Outcome;
use clap::Args;

/// Build an image from a Dockerfile.
#[derive(Args, Debug)]
pub(crate) struct Build {}

impl Build {
    pub(crate) fn run(self, _global: &Global) -> Outcome {
        todo!()
    }
}
