//! `builder prune`.

use super::arguments::confirmed;
use crate::failure::Outcome;
use crate::global::Global;
use crate::output::emit;
use crate::render::units;
use clap::Args;

/// Remove build cache.
#[derive(Args, Debug)]
pub(crate) struct BuilderPrune {
    /// Not only what no image holds: all records
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl BuilderPrune {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let what = if self.all {
            "WARNING! This will remove all build cache."
        } else {
            "WARNING! This will remove all dangling build cache."
        };
        if !self.force && !confirmed(what)? {
            return Ok(0);
        }
        let (records, reclaimed) = global.engine()?.prune_cache(self.all)?;
        let mut text = String::new();
        if !records.is_empty() {
            text.push_str("Deleted build cache objects:\n");
            records.iter().for_each(|record| text.push_str(&format!("{}\n", record.id)));
            text.push('\n');
        }
        emit(&format!("{text}Total:\t{}\n", units::size(reclaimed)))?;
        Ok(0)
    }
}
