//! What the shell of a RUN gets to read (`spec/build.md` 1.6).

use crate::parse::heredoc;
use crate::{CommandLine, Run};

/// The text of a RUN in shell form, with its heredocs put where they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Given to the shell as its last argument.
    Text(String),
    /// The only heredoc begins with `#!`: an executable file at `/dev/pipes/<name>`, and that path for the shell.
    File {
        /// The delimiter.
        name: String,
        /// The whole file.
        content: String,
    },
}

impl Run {
    /// What the shell is given; `None` in exec form.
    pub fn script(&self) -> Option<Script> {
        let CommandLine::Shell(line) = &self.command else { return None };
        let Some(first) = self.heredocs.first() else { return Some(Script::Text(line.clone())) };
        if !matches!(heredoc::opening(line), Ok(Some(_))) {
            // The shell knows heredocs itself, `<<-` included.
            let bodies =
                self.heredocs.iter().map(|heredoc| format!("\n{}{}", heredoc.raw, heredoc.delimiter));
            return Some(Script::Text(std::iter::once(line.clone()).chain(bodies).collect()));
        }
        if first.body.starts_with("#!") {
            return Some(Script::File { name: first.delimiter.clone(), content: first.body.clone() });
        }
        Some(Script::Text(first.body.clone()))
    }
}
