//! Variable expansion (`spec/build.md` 1.7): `$x`, `${x…}` with all its modifiers, quotes and escapes.

mod lexer;
mod pattern;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::go_quote;
pub(crate) use lexer::{Lexer, Mode};

/// What a word became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The new text, unquoted.
    pub text: String,
    /// Variables that were looked up and found.
    pub used: BTreeSet<String>,
    /// Variables that were looked up and not found.
    pub unset: BTreeSet<String>,
}

/// A word that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {}: {reason}", go_quote(word))]
pub struct ExpandError {
    /// The whole word.
    pub word: String,
    /// Why: `syntax error: missing '}'`, `unsupported modifier (:=) in substitution`, `x: is not allowed to be unset` ...
    pub reason: String,
}

/// Where values come from; `None` is an unset variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands a word and removes its quotes and escapes.
///
/// ```
/// let env = |name: &str| (name == "who").then(|| "world".to_owned());
/// let word = strata_dockerfile::expand("hello-${who}-'$who'", '\\', &env).unwrap();
/// assert_eq!(word.text, "hello-world-$who");
/// ```
pub fn expand(word: impl AsRef<str>, escape: char, lookup: Lookup<'_>) -> Result<Expanded, ExpandError> {
    run(word.as_ref(), escape, Mode::default(), lookup).map(|(expanded, _)| expanded)
}

/// Expands a word and keeps its quotes and escapes as they stand.
pub fn expand_raw(word: impl AsRef<str>, escape: char, lookup: Lookup<'_>) -> Result<Expanded, ExpandError> {
    let mode = Mode { raw_quotes: true, raw_escapes: true, ..Mode::default() };
    run(word.as_ref(), escape, mode, lookup).map(|(expanded, _)| expanded)
}

/// Expands a word and then splits the result at blanks that neither quotes nor escapes protect (EXPOSE).
pub fn expand_words(
    word: impl AsRef<str>,
    escape: char,
    lookup: Lookup<'_>,
) -> Result<Vec<String>, ExpandError> {
    run(word.as_ref(), escape, Mode::default(), lookup).map(|(_, words)| words)
}

/// Expands the body of an unquoted heredoc of COPY or ADD: quotes mean nothing, and the escape is always a backslash
/// (`spec/build.md` 1.6).
pub fn expand_heredoc(body: &str, lookup: Lookup<'_>) -> Result<Expanded, ExpandError> {
    let mode = Mode { ignore_quotes: true, ..Mode::default() };
    run(body, '\\', mode, lookup).map(|(expanded, _)| expanded)
}

pub(crate) fn run(
    word: &str,
    escape: char,
    mode: Mode,
    lookup: Lookup<'_>,
) -> Result<(Expanded, Vec<String>), ExpandError> {
    // Most words hold nothing special; they need no lexer.
    if !word.contains(|c: char| matches!(c, '$' | '\'' | '"' | '<') || c == escape || c.is_whitespace()) {
        let words = if word.is_empty() { Vec::new() } else { vec![word.to_owned()] };
        return Ok((Expanded { text: word.to_owned(), ..Expanded::default() }, words));
    }
    let mut lexer = Lexer::new(word, escape, mode, lookup);
    let (text, words) = lexer.run().map_err(|reason| ExpandError { word: word.to_owned(), reason })?;
    Ok((Expanded { text, used: lexer.used, unset: lexer.unset }, words))
}
