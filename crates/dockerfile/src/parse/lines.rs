//! Physical lines, parser directives and continuations (`spec/build.md` 1.1 and 1.2).

use crate::error::Fault;
use crate::source::Logical;
use crate::{Directives, Span, Word};

/// The longest line, without its newline.
const MAX_LINE: usize = 65535;

/// One line of the file, as offsets.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) start: usize,
    /// Before the newline and the carriage returns in front of it.
    pub(crate) end: usize,
    /// From 1.
    pub(crate) number: usize,
}

/// Walks the lines of a file.
pub(crate) struct Lines<'a> {
    pub(crate) text: &'a str,
    at: usize,
    number: usize,
    pub(crate) escape: char,
}

/// What `Lines::logical` found.
pub(crate) struct Gathered {
    pub(crate) line: Logical,
    /// Blank lines inside the continuation.
    pub(crate) blank: Option<Span>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str, escape: char) -> Self {
        Self { text, at: bom(text), number: 0, escape }
    }

    /// Lines read so far.
    pub(crate) fn count(&self) -> usize {
        self.number
    }

    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    pub(crate) fn next_line(&mut self) -> Option<Result<Line, Fault>> {
        if self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        let rest = &self.text[start..];
        let (length, next) = match rest.find('\n') {
            Some(at) => (at, start + at + 1),
            None => (rest.len(), self.text.len()),
        };
        self.at = next;
        self.number += 1;
        if length > MAX_LINE {
            let span = Span { start, end: start + length };
            return Some(Err(Fault {
                span: Some(span),
                ..Fault::syntax(format!("dockerfile line greater than max allowed size of {MAX_LINE}"))
            }));
        }
        let end = start + rest[..length].trim_end_matches('\r').len();
        Some(Ok(Line { start, end, number: self.number }))
    }

    pub(crate) fn content(&self, line: Line) -> &'a str {
        &self.text[line.start..line.end]
    }

    /// The instruction that begins on `first`, up to the end of its last continuation.
    pub(crate) fn logical(&mut self, first: Line) -> Result<Gathered, Fault> {
        let mut line = Logical::default();
        let mut blank: Option<Span> = None;
        let content = self.content(first);
        let indent = content.len() - content.trim_start().len();
        let mut open = self.append(&mut line, &content[indent..], first.start + indent);
        while open {
            let Some(next) = self.next_line() else { break };
            let next = next?;
            let content = self.content(next);
            let trimmed = content.trim_start();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                blank.get_or_insert(Span { start: next.start, end: next.end });
                continue;
            }
            open = self.append(&mut line, content, next.start);
        }
        Ok(Gathered { line, blank })
    }

    /// Adds a line without its continuation mark; true if it had one.
    fn append(&self, line: &mut Logical, content: &str, at: usize) -> bool {
        let body = content.trim_end_matches([' ', '\t']);
        match body.strip_suffix(self.escape) {
            Some(body) if !body.ends_with(self.escape) => {
                line.push(body, at);
                true
            }
            _ => {
                line.push(content, at);
                false
            }
        }
    }
}

/// Length of the byte order mark, if there is one.
fn bom(text: &str) -> usize {
    if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }
}

/// Reads the directives. The second value is the number of lines that hold them (they are no doc comments).
pub(crate) fn directives(text: &str) -> Result<(Directives, usize), (Fault, usize)> {
    let mut found = Directives { syntax: None, escape: '\\', check: None };
    let mut escape_seen = false;
    let mut lines = Lines::new(text, '\\');
    let mut after_shebang = false;
    let mut count = 0;
    while let Some(Ok(line)) = lines.next_line() {
        let content = lines.content(line);
        if line.number == 1 && content.starts_with("#!") {
            after_shebang = true;
            continue;
        }
        let Some((key, value)) = directive(content, line.start) else { break };
        let duplicate = match key.as_str() {
            "syntax" => found.syntax.replace(value).is_some(),
            "check" => found.check.replace(value).is_some(),
            // Only `syntax` and `check` are looked for behind a `#!` line; the parser itself ends there.
            "escape" if after_shebang => false,
            "escape" => {
                found.escape = match value.text.as_str() {
                    "\\" => '\\',
                    "`" => '`',
                    other => {
                        let message = format!("invalid escape token '{other}' does not match ` or \\");
                        return Err((Fault::syntax(message).at(value.span), line.number));
                    }
                };
                std::mem::replace(&mut escape_seen, true)
            }
            _ => break,
        };
        if duplicate {
            let fault = Fault::syntax(format!("only one {key} parser directive can be used"));
            return Err((fault.at(Span { start: line.start, end: line.end }), line.number));
        }
        count = line.number;
    }
    Ok((found, if after_shebang { 0 } else { count }))
}

/// `# key = value`: the key in lower case and the value.
fn directive(content: &str, start: usize) -> Option<(String, Word)> {
    let comment = content.trim_start().strip_prefix('#')?.trim_start();
    let (key, value) = comment.split_once('=')?;
    let key = key.trim_end_matches([' ', '\t', '\r', '\u{c}']);
    if !key.starts_with(|c: char| c.is_ascii_alphabetic()) || !key.chars().all(|c| c.is_ascii_alphanumeric())
    {
        return None;
    }
    let value = value.trim_matches([' ', '\t', '\r', '\u{c}']);
    if value.is_empty() {
        return None;
    }
    let at = start + (value.as_ptr() as usize - content.as_ptr() as usize);
    let span = Span { start: at, end: at + value.len() };
    Some((key.to_ascii_lowercase(), Word { text: value.to_owned(), span }))
}

/// The key and value of a comment's text, without its `#` (`check=skip=all` above an instruction).
pub(crate) fn comment_directive(comment: &str) -> Option<(String, String)> {
    let line = format!("#{comment}");
    directive(&line, 0).map(|(key, value)| (key, value.text))
}
