//! The lines of the Dockerfile that an error is about, with a caret below the words.

use super::request::Dockerfile;
use strata_engine::EngineError;
use strata_engine::build::{BuildError, Span};

/// Lines shown before and after.
const AROUND: usize = 2;

/// An excerpt.
pub(super) struct Excerpt<'a> {
    dockerfile: &'a Dockerfile,
    spans: Vec<Span>,
}

impl<'a> Excerpt<'a> {
    /// `None` when the error is not about a place in the Dockerfile.
    pub(super) fn of(error: &EngineError, dockerfile: &'a Dockerfile) -> Option<Self> {
        match error {
            EngineError::Parse(error) => Some(Self { dockerfile, spans: vec![error.span] }),
            error => error.build_error().and_then(|error| Self::of_build(error, dockerfile)),
        }
    }

    /// `None` for the command line's own mistakes.
    pub(super) fn of_build(error: &BuildError, dockerfile: &'a Dockerfile) -> Option<Self> {
        (!error.spans.is_empty()).then(|| Self { dockerfile, spans: error.spans.clone() })
    }

    /// Of one place.
    pub(super) fn at(span: Span, dockerfile: &'a Dockerfile) -> Self {
        Self { dockerfile, spans: vec![span] }
    }

    /// BuildKit's form: file and line, then the lines, `>>>` before those to blame.
    pub(super) fn render(&self) -> String {
        self.spans.iter().map(|span| self.one(*span)).collect()
    }

    fn one(&self, span: Span) -> String {
        let text = &self.dockerfile.text;
        let lines: Vec<&str> = text.lines().collect();
        let (first, column) = strata_engine::build::position(text, span.start);
        let (last, _) = strata_engine::build::position(text, span.end.saturating_sub(1).max(span.start));
        let from = first.saturating_sub(AROUND).max(1);
        let to = (last + AROUND).min(lines.len());
        let mut out = format!("{}:{first}:{column}\n--------------------\n", self.dockerfile.name);
        for number in from..=to {
            let line = lines.get(number - 1).copied().unwrap_or_default();
            let marker = if (first..=last).contains(&number) { ">>>" } else { "   " };
            out.push_str(&format!("{number:>4} | {marker} {line}\n"));
            if number == first && first == last && column > 0 {
                let length =
                    text.get(span.start..span.end).map_or(1, |words| words.trim_end().chars().count().max(1));
                out.push_str(&format!("     |     {}{}\n", " ".repeat(column - 1), "^".repeat(length)));
            }
        }
        out.push_str("--------------------\n");
        out
    }
}
