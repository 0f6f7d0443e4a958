//! Why a build failed, in BuildKit's sentences.
use crate::{Entitlement, ExecError, WorkerError};
use std::fmt;
use strata_dockerfile::{Span, go_quote};
use strata_oci::ReferenceError;

/// A failed build: what, and where in the Dockerfile.
#[derive(Debug)]
pub struct BuildError {
    /// The sentence and its cause.
    pub kind: BuildErrorKind,
    /// The instructions to blame, the first one first; empty for the command line's own mistakes.
    pub spans: Vec<Span>,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.kind, f)
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}

/// What went wrong. The display is BuildKit's sentence after `failed to solve: `.
#[derive(Debug, thiserror::Error)]
pub enum BuildErrorKind {
    /// `--target` names no stage.
    #[error("target stage {target:?} could not be found{}", did_you_mean(.suggestion))]
    TargetNotFound {
        /// As given.
        target: String,
        /// The nearest stage name.
        suggestion: Option<String>,
    },
    /// Stages that need each other, or one that needs itself.
    #[error("circular dependency detected on stage: {stage}")]
    Circular {
        /// The first of them.
        stage: String,
    },
    /// `--from` of a later stage.
    #[error("cannot copy from stage {from:?}, it needs to be defined before current stage {current:?}")]
    StageOrder {
        /// The later stage.
        from: String,
        /// The stage that wants it.
        current: String,
    },
    /// `--from=9`
    #[error("invalid stage index {0}")]
    StageIndex(String),
    /// A base whose variables are all empty.
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    /// A base that is no reference.
    #[error("failed to parse stage name {name:?}: {source}")]
    BaseName {
        /// As expanded.
        name: String,
        /// Why.
        source: ReferenceError,
    },
    /// An image was not found or could not be read.
    #[error("{reference}: failed to resolve source metadata for {reference}: {source}")]
    Resolve {
        /// In full.
        reference: String,
        /// Why.
        source: WorkerError,
    },
    /// Files to be copied or mounted could not be read.
    #[error("failed to compute cache key: {0}")]
    CacheKey(#[source] WorkerError),
    /// A RUN failed.
    #[error("process {} did not complete successfully: {source}", go_quote(command))]
    Process {
        /// `/bin/sh -c make`
        command: String,
        /// Why.
        source: ExecError,
    },
    /// A step other than a RUN failed, or the store did.
    #[error(transparent)]
    Worker(WorkerError),
    /// A word that cannot be expanded.
    #[error(transparent)]
    Expand(strata_dockerfile::ExpandError),
    /// An ONBUILD trigger of a base image that cannot be read.
    #[error("ONBUILD trigger {trigger:?} of the base image: {source}")]
    Trigger {
        /// Its text.
        trigger: String,
        /// Why.
        source: Box<strata_dockerfile::ParseError>,
    },
    /// An instruction whose meaning is wrong, found when its stage is lowered. The sentence is BuildKit's.
    #[error("{0}")]
    Instruction(String),
    /// A RUN asks for what the user has not allowed.
    #[error("{0} is not allowed: give the build `--allow {0}` if you trust this Dockerfile")]
    NotAllowed(Entitlement),
    /// The build was told to stop.
    #[error("build canceled")]
    Cancelled,
}

impl BuildError {
    /// Whether something is missing that the build can do without, see [`WorkerError::Lost`].
    pub(crate) fn is_lost(&self) -> bool {
        match &self.kind {
            BuildErrorKind::Worker(error) | BuildErrorKind::CacheKey(error) => {
                matches!(error, WorkerError::Lost(_))
            }
            BuildErrorKind::Process { source: ExecError::Worker(error), .. } => {
                matches!(error, WorkerError::Lost(_))
            }
            _ => false,
        }
    }
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

impl BuildErrorKind {
    /// Says where.
    pub(crate) fn at(self, span: Span) -> BuildError {
        BuildError { kind: self, spans: vec![span] }
    }
}

/// Where an instruction stands. A trigger of a base image has no place of its own: its errors point at the FROM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    instruction: Span,
    foreign: bool,
}

impl From<Span> for Site {
    fn from(instruction: Span) -> Self {
        Self { instruction, foreign: false }
    }
}

impl Site {
    /// Of an instruction that is not in this file, brought in by the one at `from`.
    pub(crate) fn foreign(from: Span) -> Self {
        Self { instruction: from, foreign: true }
    }

    /// The whole instruction.
    pub(crate) fn span(self) -> Span {
        self.instruction
    }

    /// An error of the whole instruction.
    pub(crate) fn error(self, kind: BuildErrorKind) -> BuildError {
        kind.at(self.instruction)
    }

    /// An error of one word of it.
    pub(crate) fn word(self, word: Span, kind: BuildErrorKind) -> BuildError {
        kind.at(if self.foreign { self.instruction } else { word })
    }

    /// A sentence about the whole instruction.
    pub(crate) fn says(self, sentence: impl Into<String>) -> BuildError {
        self.error(BuildErrorKind::Instruction(sentence.into()))
    }
}
