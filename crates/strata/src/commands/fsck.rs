//! `system fsck`.

use crate::cli::{Global, emit};
use crate::failure::{Failure, Outcome};
use clap::Args;

/// Check every stored layer, config and index against its digest.
#[derive(Args, Debug)]
pub(crate) struct Fsck {
    /// Print only damage
    #[arg(short, long)]
    quiet: bool,
}

impl Fsck {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let quiet = self.quiet;
        let mut checked = 0;
        let damage = global.engine()?.fsck(&mut |line| {
            checked += 1;
            if !quiet {
                // A closed pipe shows when the result is printed.
                let _ = emit(&format!("ok  {line}\n"));
            }
        })?;
        for line in &damage {
            emit(&format!("BAD {line}\n"))?;
        }
        match damage.len() {
            0 => Ok(0),
            1 => Err(Failure::new(format!("1 damaged object, {checked} sound; remove the images that use it and load them again"))),
            n => Err(Failure::new(format!("{n} damaged objects, {checked} sound; remove the images that use them and load them again"))),
        }
    }
}
