//! `system reset`.

use super::arguments::confirmed;
use crate::failure::Outcome;
use crate::global::Global;
use clap::Args;

/// Remove everything: containers, images, volumes, networks, mounts, the store itself.
#[derive(Args, Debug)]
pub(crate) struct Reset {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Reset {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        if !self.force
            && !confirmed(
                "WARNING! This will remove all containers, images, volumes and build cache of this store.",
            )?
        {
            return Ok(0);
        }
        global.engine()?.reset()?;
        Ok(0)
    }
}
