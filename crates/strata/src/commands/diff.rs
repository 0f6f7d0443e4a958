//! `diff`.

use super::arguments::exactly;
use crate::failure::Outcome;
use crate::global::Global;
use clap::Args;
use std::io::Write;
use strata_engine::container::ChangeKind;

/// Show what a container changed in its file system: A added, C changed, D deleted.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: Vec<String>,
}

impl Diff {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.container, 1)?;
        let mut text = Vec::new();
        for change in global.look()?.diff(&self.container[0])? {
            text.push(match change.kind {
                ChangeKind::Added => b'A',
                ChangeKind::Changed => b'C',
                ChangeKind::Deleted => b'D',
            });
            text.push(b' ');
            text.extend_from_slice(&change.path);
            text.push(b'\n');
        }
        std::io::stdout().lock().write_all(&text)?;
        Ok(0)
    }
}
