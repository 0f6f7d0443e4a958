//! `system fsck`.

use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
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
        let found = global.engine()?.fsck()?;
        for problem in &found.problems {
            emit(&format!("{problem}\n"))?;
        }
        match found.problems.len() {
            0 if self.quiet => Ok(0),
            0 => emit(&format!("{} layers and blobs checked, all sound\n", found.checked)).map(|()| 0),
            n => Err(Failure::new(format!(
                "{n} problems; remove the images that use a damaged layer and load, import or build them again"
            ))),
        }
    }
}
