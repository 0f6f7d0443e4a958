//! What rules look at.

use super::LintInput;
use crate::{Dockerfile, Instruction, Stage};

pub(crate) struct Finder<'a> {
    pub(crate) file: &'a Dockerfile,
    pub(crate) input: LintInput<'a>,
}

impl<'a> Finder<'a> {
    pub(crate) fn escape(&self) -> char {
        self.file.directives.escape
    }

    pub(crate) fn stages(&self) -> impl Iterator<Item = (usize, &'a Stage)> {
        self.file.stages.iter().enumerate()
    }

    pub(crate) fn instructions(&self) -> impl Iterator<Item = (&'a Stage, &'a Instruction)> {
        self.file.stages.iter().flat_map(|stage| stage.instructions.iter().map(move |found| (stage, found)))
    }

    /// The stage of this file that a stage begins with: the nearest earlier one of that name.
    pub(crate) fn parent(&self, index: usize) -> Option<usize> {
        let base = self.file.stages[index].base.text.as_str();
        self.file.stages[..index]
            .iter()
            .rposition(|stage| stage.name.as_ref().is_some_and(|name| name.text == base))
    }
}

/// The keyword of an instruction as written.
pub(crate) fn keyword(original: &str) -> &str {
    original.split_whitespace().next().unwrap_or_default()
}
