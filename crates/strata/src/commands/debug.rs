//! `debug`.

use crate::failure::{Failure, Outcome, with_causes};
use crate::global::Global;
use clap::Args;
use std::io::IsTerminal;
use strata_engine::run::DebugRequest;

/// Open a shell in the state before a build step that failed.
#[derive(Args, Debug)]
#[command(
    after_help = "ID is what the failed build has printed; without one it is the step that failed last."
)]
pub(crate) struct DebugStep {
    /// ID that the failed build has printed [default: the step that failed last]
    #[arg(value_name = "ID")]
    step: Option<String>,
    /// A command instead of the step's shell
    #[arg(value_name = "[COMMAND [ARG...]]", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl DebugStep {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        strata_engine::prepare_process(true)?;
        let engine = global.engine()?;
        let tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if tty && self.command.is_empty() {
            eprintln!(
                "The step's command is in $STRATA_STEP: eval \"$STRATA_STEP\" runs it. Changes are lost at the end."
            );
        }
        let request = DebugRequest { step: self.step, command: self.command, tty };
        let mut notify = |warning: &str| eprintln!("WARNING: {warning}");
        engine
            .debug(&request, &mut notify)
            .map_err(|error| Failure::run(with_causes(&error), error.exit_code().unwrap_or(125)))
    }
}
