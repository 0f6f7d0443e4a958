//! `rm`.

use super::arguments::{at_least, each};
use crate::cli::Global;
use crate::failure::Outcome;
use clap::Args;

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
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Rm {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least("rm", &self.containers, 1)?;
        let engine = global.engine()?;
        each(&self.containers, |name| match engine.remove_container(name, self.force, self.volumes) {
            // Docker: `rm -f` of what is not there is fine.
            Err(strata_engine::EngineError::NoSuchContainer(_)) if self.force => {
                eprintln!("Error: No such container: {name}");
                Ok(())
            }
            outcome => Ok(outcome?),
        })
    }
}
