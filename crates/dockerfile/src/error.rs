//! What can be wrong with a Dockerfile, told as BuildKit tells it.

use std::fmt;

use crate::Span;

/// A Dockerfile that cannot be read. `Display` is BuildKit's whole sentence (`spec/build.md` 1.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The sentence without the words about the line.
    pub message: String,
    /// The bytes to point at: the wrong word, or the whole instruction.
    pub span: Span,
    /// First and last line of the instruction, from 1; a heredoc's lines belong to it.
    pub line_range: (usize, usize),
    /// What to do about it, if that is not already in the message.
    pub hint: Option<String>,
    /// Further errors of the same file, in the order of the file.
    pub more: Vec<ParseError>,
    /// BuildKit names the line only for errors of the second phase, that of typed instructions.
    pub(crate) phase: Phase,
}

/// BuildKit reads the whole file twice; what the first reading finds is reported before what the second finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Lines, flags, JSON, heredocs.
    Syntax,
    /// Instructions; the sentence begins with the line.
    Instruction,
    /// Stages.
    Stage,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.phase == Phase::Instruction {
            write!(f, "dockerfile parse error on line {}: ", self.line_range.0)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

/// An error inside one instruction, before it is known which lines that has.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) span: Option<Span>,
    pub(crate) hint: Option<String>,
    pub(crate) phase: Phase,
}

impl Fault {
    pub(crate) fn syntax(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, hint: None, phase: Phase::Syntax }
    }

    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { phase: Phase::Instruction, ..Self::syntax(message) }
    }

    pub(crate) fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
