//! `container prune`.

use super::arguments::confirmed;
use crate::failure::Outcome;
use crate::global::Global;
use crate::output::emit;
use crate::render::units;
use clap::Args;

/// Remove all stopped containers.
#[derive(Args, Debug)]
pub(crate) struct ContainerPrune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl ContainerPrune {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        if !self.force && !confirmed("WARNING! This will remove all stopped containers.")? {
            return Ok(0);
        }
        let (ids, reclaimed) = global.engine()?.prune_containers()?;
        if !ids.is_empty() {
            emit(&format!("Deleted Containers:\n{}\n\n", ids.join("\n")))?;
        }
        emit(&format!("Total reclaimed space: {}\n", units::size(reclaimed)))?;
        Ok(0)
    }
}
