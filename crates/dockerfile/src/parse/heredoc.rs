//! Heredocs (`spec/build.md` 1.6): finding them in a line, reading their bodies.

use super::lines::Lines;
use crate::error::Fault;
use crate::expand::{self, Mode};
use crate::{Heredoc, Span};

/// A heredoc that a line announces.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Opening {
    pub(crate) delimiter: String,
    pub(crate) fd: Option<u32>,
    pub(crate) expand: bool,
    pub(crate) strip_tabs: bool,
}

/// All heredocs of a line, in order. A line with an open quote has none: the shell is left to complain.
pub(crate) fn openings(line: &str) -> Result<Vec<Opening>, Fault> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    let mode = Mode { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Mode::default() };
    let Ok((_, words)) = expand::run(line, '\\', mode, &|_| None) else { return Ok(Vec::new()) };
    words.iter().filter_map(|word| opening(word).transpose()).collect()
}

/// Reads `[fd]<<[-] delimiter`; `None` if the word is something else.
pub(crate) fn opening(word: &str) -> Result<Option<Opening>, Fault> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Some(rest) = word[digits..].strip_prefix("<<") else { return Ok(None) };
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let plain = Mode { keep_unset: true, ..Mode::default() };
    let lex = |mode| {
        expand::run(rest, '\\', mode, &|_| None)
            .map(|(_, words)| words)
            .map_err(|error| Fault::syntax(error.to_string()))
    };
    let [delimiter] = &lex(plain)?[..] else { return Ok(None) };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    let raw: usize = lex(Mode { raw_quotes: true, ..plain })?.iter().map(|word| quotes(word)).sum();
    Ok(Some(Opening {
        delimiter: delimiter.clone(),
        fd: word[..digits].parse().ok(),
        expand: quotes(delimiter) == raw,
        strip_tabs,
    }))
}

/// The bodies that follow a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bodies {
    pub(crate) heredocs: Vec<Heredoc>,
    /// End of the last terminator, if there is one.
    pub(crate) end: Option<usize>,
}

impl Bodies {
    /// Reads what the openings announce.
    pub(crate) fn read(lines: &mut Lines<'_>, openings: Vec<Opening>) -> Result<Self, Fault> {
        let mut bodies = Self::default();
        for opening in openings {
            let (heredoc, end) = body(lines, opening)?;
            bodies.heredocs.push(heredoc);
            bodies.end = Some(end);
        }
        Ok(bodies)
    }

    /// `span` and all that belongs to it.
    pub(crate) fn extend(&self, span: Span) -> Span {
        Span { start: span.start, end: self.end.unwrap_or(span.end) }
    }
}

/// One body, and where its terminator ends.
fn body(lines: &mut Lines<'_>, opening: Opening) -> Result<(Heredoc, usize), Fault> {
    let start = lines.offset();
    while let Some(line) = lines.next_line() {
        let line = line?;
        let content = lines.content(line);
        let candidate = if opening.strip_tabs { content.trim_start_matches('\t') } else { content };
        if candidate != opening.delimiter {
            continue;
        }
        let raw = &lines.text[start..line.start];
        let heredoc = Heredoc {
            body: if opening.strip_tabs { strip_tabs(raw) } else { raw.to_owned() },
            raw: raw.to_owned(),
            delimiter: opening.delimiter,
            fd: opening.fd,
            expand: opening.expand,
            strip_tabs: opening.strip_tabs,
            span: Span { start, end: line.start },
        };
        return Ok((heredoc, line.end));
    }
    Err(Fault::syntax("unterminated heredoc")
        .hint(format!("no line is exactly `{}`, which ends the text that `<<` begins", opening.delimiter)))
}

/// Every line without its leading tabs.
pub(crate) fn strip_tabs(body: &str) -> String {
    body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}
