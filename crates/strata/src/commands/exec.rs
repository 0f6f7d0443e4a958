//! `exec`.

use super::arguments::at_least;
use crate::failure::{Failure, Outcome, with_causes};
use crate::global::Global;
use clap::Args;
use std::io::IsTerminal;
use strata_engine::exec::ExecRequest;

/// Run a command in a running container.
#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// Do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set an environment variable; a bare NAME takes the value from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// User and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// All capabilities, no seccomp filter
    #[arg(long)]
    privileged: bool,
    /// CONTAINER COMMAND [ARG...]
    #[arg(value_name = "CONTAINER COMMAND [ARG...]", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Exec {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        strata_engine::prepare_process(true)?;
        super::run::reject_stray_flag(self.arguments.first())?;
        at_least(&self.arguments, 2)?;
        if self.interactive && self.tty && !self.detach && !std::io::stdin().is_terminal() {
            return Err(Failure::with_code("the input device is not a TTY", 1));
        }
        let request = ExecRequest {
            container: self.arguments[0].clone(),
            command: self.arguments[1..].to_vec(),
            detach: self.detach,
            interactive: self.interactive,
            tty: self.tty,
            env: super::run::environment(&self.env_file, &self.env)?,
            user: self.user,
            workdir: self.workdir,
            privileged: self.privileged,
        };
        let engine = global.engine()?;
        engine.exec(&request).map_err(|error| {
            let code = error.exit_code().unwrap_or(1);
            let text = with_causes(&error);
            let prefix = if code >= 126 { "OCI runtime exec failed: " } else { "Error: " };
            Failure::with_code(format!("{prefix}{text}"), code)
        })
    }
}
