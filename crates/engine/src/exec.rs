//! `exec`: one more process in a running container.
use crate::{Engine, EngineError};

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
    pub fn exec(&self, _request: &ExecRequest) -> Result<u8, EngineError> {
        todo!()
    }
}
