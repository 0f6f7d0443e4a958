//! `rm`.

use super::arguments::{at_least, each};
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use clap::Args;
use strata_engine::EngineError;

/// Remove containers with everything in their own layers.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Also running ones: they are killed first
    #[arg(short, long)]
    force: bool,
    /// Also their anonymous volumes
    #[arg(short, long)]
    volumes: bool,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER [CONTAINER...]")]
    containers: Vec<String>,
}

impl Rm {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.containers, 1)?;
        let engine = global.engine()?;
        each(&self.containers, |name| match engine.remove_container(name, self.force, self.volumes) {
            // Docker: `rm -f` of what is not there says so, and is fine.
            Err(error @ EngineError::NoSuchContainer(_)) if self.force => {
                Err(Failure::with_code(Failure::from(error).to_string(), 0))
            }
            outcome => Ok(outcome?),
        })
    }
}
