//! Errors of the engine. Each names the thing and keeps its cause.

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No image has this name or ID.
    #[error("No such image: {0}")]
    NoSuchImage(String),
}
