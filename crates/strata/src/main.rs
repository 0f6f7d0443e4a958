//! The command line: arguments -> request -> render; exit codes; progress.

mod cli;
mod commands;
mod failure;
mod render;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A detached container's helper and the like are this binary again; they never reach the parser.
    if let Some(code) = strata_engine::helper_main() {
        return ExitCode::from(code);
    }
    let program = cli::program_name();
    let outcome = match cli::Cli::try_parse() {
        Ok(cli) => cli.run(&program),
        Err(error) => Err(failure::from_clap(&error, &program)),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code())
        }
    }
}
