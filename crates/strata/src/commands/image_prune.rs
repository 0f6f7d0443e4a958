//! `image prune`.

use super::arguments::{confirmed, filter};
use crate::failure::Outcome;
use crate::global::Global;
use crate::output::emit;
use crate::render::units;
use clap::Args;

/// Remove unused images.
#[derive(Args, Debug)]
pub(crate) struct ImagePrune {
    /// Not only dangling images: all that no container uses
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<(String, String)>,
}

impl ImagePrune {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let what = if self.all {
            "WARNING! This will remove all images without at least one container associated to them."
        } else {
            "WARNING! This will remove all dangling images."
        };
        if !self.force && !confirmed(what)? {
            return Ok(0);
        }
        let pruned = global.engine()?.prune_images(self.all, &self.filter)?;
        if !pruned.removed.is_empty() {
            emit(&format!("Deleted Images:\n{}\n", super::rmi::prune_report(&pruned.removed)))?;
        }
        emit(&format!("Total reclaimed space: {}\n", units::size(pruned.reclaimed)))?;
        Ok(0)
    }
}
