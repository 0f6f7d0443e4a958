//! `wait`.

use super::arguments::at_least;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use clap::Args;

/// Wait for containers to stop, then print their exit codes.
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER [CONTAINER...]")]
    containers: Vec<String>,
}

impl Wait {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.containers, 1)?;
        let engine = global.engine()?;
        let mut code = 0;
        for name in &self.containers {
            match engine.wait(name) {
                Ok(status) => emit(&format!("{status}\n"))?,
                Err(error) => {
                    Failure::from(error).print();
                    code = 1;
                }
            }
        }
        Ok(code)
    }
}
