//! `exec`: one more process in a running container.
use crate::container::process;
use crate::run::set;
use crate::stored::Stored;
use crate::{Engine, EngineError};
use strata_runtime::container::{Stdio, Stream};
use strata_runtime::exec::ExecSpec;
use strata_runtime::supervise::{Client, Options, Outcome, supervise};

/// What is asked of `exec`.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// Container.
    pub container: String,
    /// argv.
    pub command: Vec<String>,
    /// `-d`.
    pub detach: bool,
    /// `-i`.
    pub interactive: bool,
    /// `-t`.
    pub tty: bool,
    /// `-e`, added to the container's environment.
    pub env: Vec<String>,
    /// `-u`.
    pub user: Option<String>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `--privileged`.
    pub privileged: bool,
}

impl Engine {
    /// Runs it with the calling process' standard streams; gives its exit code (0 at once with `detach`).
    pub fn exec(&self, request: &ExecRequest) -> Result<u8, EngineError> {
        let container = self.store().containers().lookup(&request.container)?;
        let not_running = || EngineError::Invalid(format!("container {} is not running", container.id));
        let process = process(&container).ok_or_else(not_running)?;
        let stored = Stored::parse(&container)?;
        let spec = spec(&stored, request, container.short_id());
        let stdio = if request.detach {
            Stdio::null()
        } else {
            let stdin = if request.interactive { Stream::Pipe } else { Stream::Null };
            Stdio { stdin, stdout: Stream::Pipe, stderr: Stream::Pipe }
        };
        let mut running =
            strata_runtime::exec::exec(&process, &spec, stdio).map_err(|error| EngineError::Start {
                // What is wrong with the request, and not with the program, is 126 here, as with Docker.
                code: u8::try_from(error.exit_code()).ok().filter(|code| *code != 125).unwrap_or(126),
                message: format!("exec failed: unable to start container process: {error}"),
            })?;
        if request.detach {
            // Nobody waits for it here; when this command ends, init does.
            return Ok(0);
        }
        let client = Client::own(request.interactive)?;
        let options = Options { client: Some(client), forward_signals: true, ..Options::default() };
        match supervise(&mut running, options).map_err(EngineError::runtime)? {
            Outcome::Exited(status) => Ok(u8::try_from(status.exit_code()).unwrap_or(255)),
            Outcome::Detached => Ok(0),
        }
    }
}

/// The container's own settings with those of the request.
fn spec(stored: &Stored, request: &ExecRequest, short_id: &str) -> ExecSpec {
    let container = &stored.spec;
    let hostname = if container.hostname.is_empty() { short_id } else { &container.hostname };
    let mut env: Vec<String> = Vec::new();
    for variable in &container.env {
        let variable =
            if variable == "HOSTNAME=" { format!("HOSTNAME={hostname}") } else { variable.clone() };
        set(&mut env, &variable);
    }
    if request.tty {
        set(&mut env, "TERM=xterm");
    }
    request.env.iter().for_each(|variable| set(&mut env, variable));
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok().filter(|size| size.ws_col > 0);
    ExecSpec {
        args: request.command.clone(),
        env,
        cwd: request.workdir.as_ref().map_or_else(|| container.cwd.clone(), Into::into),
        user: request.user.clone().unwrap_or_else(|| container.user.clone()),
        extra_groups: container.extra_groups.clone(),
        terminal: request.tty,
        terminal_size: size.map(|size| (size.ws_col, size.ws_row)),
        capabilities: container.capabilities,
        seccomp: container.seccomp,
        no_new_privileges: container.no_new_privileges,
        privileged: request.privileged || container.privileged,
    }
}
