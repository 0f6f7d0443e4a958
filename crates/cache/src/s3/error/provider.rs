//! Why credentials cannot be had from where they are said to be.
use std::path::PathBuf;

/// Why a way that is configured leads nowhere. Nothing secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// There was no answer.
    #[error(transparent)]
    Transport(Box<strata_http::Error>),
    /// There was another one than credentials.
    #[error("{server} says {said}")]
    Refused {
        /// Who.
        server: String,
        /// Code, message, status, and what to do.
        said: String,
    },
    /// What came are no credentials.
    #[error("{from}: {why}")]
    Malformed {
        /// Who gave it.
        from: String,
        /// What is wrong with it.
        why: String,
    },
    /// A token that lies in a file.
    #[error("cannot read the token: {source}")]
    Token {
        /// With the path.
        source: std::io::Error,
    },
    /// A token file that holds nothing.
    #[error("the token file {path} is empty")]
    EmptyToken {
        /// The file.
        path: PathBuf,
    },
    /// A program that was to print credentials.
    #[error("the program of credential_process {why}")]
    Process {
        /// What it did instead.
        why: String,
    },
}

impl From<strata_http::Error> for ProviderError {
    fn from(error: strata_http::Error) -> Self {
        Self::Transport(Box::new(error))
    }
}
