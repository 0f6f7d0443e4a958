//! Errors of the engine. Each names the thing and keeps its cause.

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No image has this name or ID.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// No container has this name or ID.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
}

impl EngineError {
    /// The exit code where the error has one of its own: 126 and 127 for a command that cannot be run.
    pub fn exit_code(&self) -> Option<u8> {
        None
    }
}
