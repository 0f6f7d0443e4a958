//! `kill`.

use super::arguments::{at_least, each};
use crate::failure::Outcome;
use crate::global::Global;
use clap::Args;

/// Send a signal to containers.
#[derive(Args, Debug)]
pub(crate) struct Kill {
    /// Signal, by name or number
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER [CONTAINER...]")]
    containers: Vec<String>,
}

impl Kill {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.containers, 1)?;
        let engine = global.engine()?;
        each(&self.containers, |name| Ok(engine.kill(name, &self.signal)?))
    }
}
