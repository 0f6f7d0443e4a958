//! `--on-error`, and what a failed build says.

use super::excerpt::Excerpt;
use super::request::Dockerfile;
use crate::failure::{Failure, with_causes};
use crate::global::Global;
use crate::usage::program_name;
use clap::Args;
use std::io::IsTerminal;
use strata_engine::EngineError;
use strata_engine::build::BuildError;

#[derive(Args, Debug)]
pub(super) struct OnErrorFlags {
    /// When a RUN fails: fail, or shell: open one in the state before it, with all that it mounts
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    on_error: String,
}

/// What to do when a RUN fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnError {
    Fail,
    Shell,
    /// A shell was asked for, but there is no terminal for it.
    Nowhere,
}

impl OnErrorFlags {
    pub(super) fn parse(&self) -> Result<OnError, Failure> {
        let terminal = || std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        match self.on_error.as_str() {
            "fail" => Ok(OnError::Fail),
            "shell" if terminal() => Ok(OnError::Shell),
            "shell" => Ok(OnError::Nowhere),
            other => Err(Failure::flag(format!("invalid value {other:?} for --on-error: use fail or shell"))),
        }
    }
}

/// Told before the shell opens: what the step printed, where it stands, and what the shell is.
pub(super) fn announce_shell(error: &BuildError, dockerfile: &Dockerfile, printed: Option<String>) {
    let excerpt = Excerpt::of_build(error, dockerfile).map(|excerpt| excerpt.render());
    eprint!("{}{}", printed.unwrap_or_default(), excerpt.unwrap_or_default());
    eprintln!("ERROR: {}", with_causes(error));
    eprintln!("This is a shell in the state before the step; exit ends the build.");
    eprintln!("The step's command is in $STRATA_STEP: eval \"$STRATA_STEP\" runs it.");
}

/// What failed, where in the Dockerfile, what the step printed, and how to look at what was there before it.
pub(super) fn failure(
    error: &EngineError,
    dockerfile: &Dockerfile,
    printed: Option<String>,
    on_error: OnError,
    global: &Global,
) -> Failure {
    // After a shell all of it stands above; what was stopped is nobody's mistake.
    let mut text = String::new();
    if on_error != OnError::Shell && !error.is_cancelled() {
        text.push_str(&printed.unwrap_or_default());
        text.push_str(&Excerpt::of(error, dockerfile).map(|excerpt| excerpt.render()).unwrap_or_default());
    }
    let is_solved = error.build_error().is_some() || matches!(error, EngineError::Parse(_));
    let solved = if is_solved { "failed to solve: " } else { "" };
    text.push_str(&format!("ERROR: failed to build: {solved}{}", with_causes(error)));
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\nhint: {hint}"));
    }
    if let EngineError::Step { state: Some(state), .. } = error {
        let root = global.root_flag();
        if on_error == OnError::Nowhere {
            text.push_str("\n--on-error=shell: no shell was opened, as this is no terminal");
        }
        text.push_str(&format!(
            "\nTo open a shell in the state before this step: {}{root} debug {state}",
            program_name()
        ));
    }
    let code = if on_error == OnError::Shell { error.step_exit_code() } else { None };
    Failure::with_code(text, code.unwrap_or(1))
}
