//! Go's text/template, as far as `--format` needs it.

use serde_json::Value;

/// How data is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A list's header: Docker's own functions (`json`, `upper`, `truncate`...) leave text as it is.
    Header,
    /// A list's row or a typed document: an unknown field is `can't evaluate field X`.
    Row,
    /// `inspect`: an unknown field is `map has no entry for key "X"`.
    Document,
}

/// Why a template failed; the display is Go's sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TemplateError(String);

/// A parsed template.
pub(crate) struct Template {}

impl Template {
    /// Parses; errors as `template: :1: unclosed action`.
    pub(crate) fn parse(_text: &str) -> Result<Self, TemplateError> {
        todo!()
    }

    /// Runs it on `data`.
    pub(crate) fn execute(&self, _data: &Value, _mode: Mode) -> Result<String, TemplateError> {
        todo!()
    }
}
