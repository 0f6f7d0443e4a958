//! The command line: arguments -> request -> render; exit codes; progress.

mod cli;
mod commands;
mod docker;
mod failure;
mod global;
mod output;
mod prompt;
mod registries;
mod render;
mod usage;

use clap::{CommandFactory, FromArgMatches};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A detached container's helper and the like are this binary again; they never reach the parser.
    if let Some(code) = strata_engine::helper_main() {
        return ExitCode::from(code);
    }
    usage::define(cli::Cli::command);
    if usage::will_start_processes(std::env::args_os()) {
        // The command itself does it, too, and says why if it cannot. Here the command line is not parsed twice.
        let _ = strata_engine::seal_process();
    }
    let outcome = parse().and_then(cli::Cli::run);
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code())
        }
    }
}

fn parse() -> Result<cli::Cli, failure::Failure> {
    // Made once: of some two hundred flags, it takes longer than most commands do.
    let mut tree = usage::tree();
    let arguments = usage::Invocation::of_process(&tree).arguments().map_err(failure::Failure::flag)?;
    let parsed = tree.try_get_matches_from_mut(arguments);
    // Thousands of strings, which the end of the process frees sooner.
    std::mem::forget(tree);
    parsed
        .and_then(|matches| cli::Cli::from_arg_matches(&matches))
        .map_err(|error| failure::from_clap(&error, usage::Invocation::current()))
}
