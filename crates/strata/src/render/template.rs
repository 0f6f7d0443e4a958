//! Go's text/template, as far as `--format` needs it (`spec/engine.md`, section 3): all actions, pipelines,
//! variables, Docker's functions and Go's own, on JSON values, printed as Go prints them.

mod execute;
mod functions;
mod lex;
mod parse;
mod value;

use serde_json::Value;
pub(crate) use value::quote;

/// How data is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A list's header: Docker's own functions (`json`, `upper`, `truncate`...) leave text as it is.
    Header,
    /// A list's row: an unknown field is `can't evaluate field X`.
    Row,
    /// `inspect`: an unknown field is `map has no entry for key "X"`.
    Document,
}

/// Why a template failed; the display is Go's sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TemplateError(String);

impl TemplateError {
    /// Whether a list's row has no such field.
    pub(crate) fn is_unknown_field(&self) -> bool {
        self.0.contains(": can't evaluate field ")
    }

    fn at_line(line: usize, what: impl std::fmt::Display) -> Self {
        Self(format!("template: :{line}: {what}"))
    }
}

/// A parsed template.
pub(crate) struct Template {
    root: Vec<parse::Node>,
    defined: std::collections::BTreeMap<String, Vec<parse::Node>>,
}

impl Template {
    /// Parses; errors as `template: :1: unclosed action`.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let parsed = parse::parse(lex::pieces(text)?)?;
        Ok(Self { root: parsed.root, defined: parsed.defined })
    }

    /// Runs it on `data`.
    pub(crate) fn execute(&self, data: &Value, mode: Mode) -> Result<String, TemplateError> {
        execute::run(&self.root, &self.defined, data, mode)
    }
}

#[cfg(test)]
mod tests;
