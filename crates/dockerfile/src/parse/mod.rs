//! Text to [`Dockerfile`] (`spec/build.md` section 1).

mod copy;
mod flags;
mod health;
pub(crate) mod heredoc;
pub(crate) mod instruction;
mod json;
pub(crate) mod lines;
mod pairs;
mod parts;
pub(crate) mod stage;
#[cfg(test)]
mod tests;
mod words;

use crate::error::{Fault, Phase};
use crate::source::Logical;
use crate::{Dockerfile, Instruction, ParseError, Span, Warning};
use heredoc::Bodies;
use lines::{Gathered, Line, Lines};
use parts::{Parts, Source};

pub(crate) use pairs::is_legacy;
pub(crate) use words::split_quoted;

/// Reads a Dockerfile.
///
/// The error is the one BuildKit would stop at; all others that were found are in [`ParseError::more`].
///
/// ```
/// let file = strata_dockerfile::parse("FROM alpine AS base\nRUN echo hello\n").unwrap();
/// assert_eq!(file.stages[0].instructions[0].original, "RUN echo hello");
///
/// let error = strata_dockerfile::parse("FROM alpine\nRUM true\n").unwrap_err();
/// assert_eq!(error.to_string(), "dockerfile parse error on line 2: unknown instruction: RUM (did you mean RUN?)");
/// ```
pub fn parse(text: &str) -> Result<Dockerfile, ParseError> {
    if text.is_empty() {
        return Err(whole_file(text, "the Dockerfile cannot be empty"));
    }
    let (directives, directive_lines) =
        lines::directives(text).map_err(|(fault, line)| located(fault, Span::default(), (line, line)))?;
    let lines = Lines::new(text, directives.escape);
    let file = Dockerfile { directives, global_args: Vec::new(), stages: Vec::new(), warnings: Vec::new() };
    let mut reader =
        Reader { lines, file, errors: Vec::new(), doc: Vec::new(), directive_lines, instructions: 0 };
    reader.read();
    let Reader { file, mut errors, instructions, .. } = reader;
    if errors.is_empty() && instructions == 0 {
        return Err(whole_file(text, "file with no instructions"));
    }
    if errors.is_empty() && file.stages.is_empty() {
        return Err(whole_file(text, "dockerfile contains no stages to build"));
    }
    // BuildKit looks at the lines of the whole file before it looks at instructions.
    let first = errors.iter().enumerate().min_by_key(|(i, error)| (error.phase > Phase::Syntax, *i));
    let Some((first, _)) = first else { return Ok(file) };
    let mut error = errors.remove(first);
    error.more = errors;
    Err(error)
}

/// Reads a Dockerfile from bytes.
///
/// Bytes that are no UTF-8 are let through in comments, where old files have them; anywhere else they are an error.
pub fn parse_bytes(bytes: &[u8]) -> Result<Dockerfile, ParseError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(_) => parse(&text_of(bytes)?),
    }
}

/// The text of a Dockerfile with bytes in comments that are no UTF-8 replaced by `?`, one for one: spans stay true.
pub fn text_of(bytes: &[u8]) -> Result<String, ParseError> {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let valid_start = text.len();
        text.push_str(chunk.valid());
        if chunk.invalid().is_empty() {
            continue;
        }
        let line_start = text.rfind('\n').map_or(0, |at| at + 1);
        let in_comment = text[line_start..].trim_start().starts_with('#');
        if !in_comment {
            let at = valid_start + chunk.valid().len();
            let line = text.matches('\n').count() + 1;
            let message = format!("the Dockerfile is not UTF-8: byte 0x{:02x}", chunk.invalid()[0]);
            let fault = Fault::syntax(message)
                .at(Span { start: at, end: at + chunk.invalid().len() })
                .hint("save the file as UTF-8");
            return Err(located(fault, Span::default(), (line, line)));
        }
        text.extend(std::iter::repeat_n('?', chunk.invalid().len()));
    }
    Ok(text)
}

/// Reads one instruction: an ONBUILD trigger from a base image's config.
pub fn parse_instruction(text: &str) -> Result<Instruction, ParseError> {
    let mut lines = Lines::new(text, '\\');
    let single = || whole_file(text, "onbuild trigger should be a single expression");
    let mut found = None;
    while let Some(line) = lines.next_line() {
        let line = line.map_err(|fault| located(fault, Span::default(), (1, 1)))?;
        let content = lines.content(line).trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if found.is_some() {
            return Err(single());
        }
        let read = read_line(&mut lines, line);
        let lines_of_it = (line.number, lines.count());
        let whole = Span { start: line.start, end: lines.offset() };
        let (gathered, source) = read.map_err(|fault| located(fault, whole, lines_of_it))?;
        let instruction = typed(&gathered.line, source, None);
        found = Some(instruction.map_err(|fault| located(fault, whole, lines_of_it))?);
    }
    found.ok_or_else(single)
}

fn whole_file(text: &str, message: &str) -> ParseError {
    let lines = (1, text.lines().count().max(1));
    located(Fault::syntax(message), Span { start: 0, end: text.len() }, lines)
}

fn located(fault: Fault, whole: Span, line_range: (usize, usize)) -> ParseError {
    let Fault { message, span, hint, phase } = fault;
    ParseError { message, span: span.unwrap_or(whole), line_range, hint, more: Vec::new(), phase }
}

struct Taken {
    parts: Parts,
    bodies: Bodies,
    escape: char,
}

/// A whole instruction as lines: continuations and heredoc bodies included.
fn read_line(lines: &mut Lines<'_>, first: Line) -> Result<(Gathered, Taken), Fault> {
    let gathered = lines.logical(first)?;
    let line = &gathered.line;
    let escape = lines.escape;
    let parts = Parts::read(line, line.all(), escape).map_err(|fault| stage::comment_hint(fault, line))?;
    let openings = parts.openings(line, escape)?;
    let bodies = Bodies::read(lines, openings)?;
    Ok((gathered, Taken { parts, bodies, escape }))
}

fn typed(line: &Logical, taken: Taken, doc: Option<String>) -> Result<Instruction, Fault> {
    let Taken { parts, bodies, escape } = taken;
    if parts.name == "FROM" {
        return Err(Fault::new("FROM is not allowed here").at(parts.keyword.span));
    }
    let span = bodies.extend(line.span(&line.trim(line.all())));
    let source = Source { line, parts, bodies, escape };
    let command = source.command().map_err(|fault| stage::comment_hint(fault, line))?;
    Ok(Instruction { span, original: line.text.trim().to_owned(), doc, command })
}

/// Reads a file from top to bottom, going on behind errors.
struct Reader<'a> {
    lines: Lines<'a>,
    file: Dockerfile,
    errors: Vec<ParseError>,
    /// Comment lines since the last instruction.
    doc: Vec<String>,
    directive_lines: usize,
    instructions: usize,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(line) = self.lines.next_line() {
            let line = match line {
                Ok(line) => line,
                Err(fault) => {
                    let number = self.lines.count();
                    self.errors.push(located(fault, Span::default(), (number, number)));
                    continue;
                }
            };
            let content = self.lines.content(line).trim_start();
            if let Some(comment) = content.strip_prefix('#') {
                match comment.trim() {
                    "" => self.doc.clear(),
                    _ if line.number <= self.directive_lines => {}
                    comment => self.doc.push(comment.to_owned()),
                }
            } else if !content.is_empty() {
                self.instruction(line);
            }
        }
    }

    fn instruction(&mut self, first: Line) {
        self.instructions += 1;
        let doc = std::mem::take(&mut self.doc);
        let doc = (!doc.is_empty()).then(|| doc.join("\n"));
        let start = first.start;
        let read = read_line(&mut self.lines, first);
        let line_range = (first.number, self.lines.count());
        let result = read.and_then(|(gathered, taken)| {
            if let Some(span) = gathered.blank {
                let message = "Empty continuation line".to_owned();
                self.file.warnings.push(Warning { rule: "NoEmptyContinuation", message, span });
            }
            self.place(&gathered.line, taken, doc)
        });
        if let Err(fault) = result {
            let text = &self.lines.text[start..self.lines.offset()];
            let whole = Span { start, end: start + text.trim_end().len() };
            self.errors.push(located(fault, whole, line_range));
        }
    }

    /// Puts an instruction where it belongs: a global ARG, a new stage, or the current stage.
    fn place(&mut self, line: &Logical, taken: Taken, doc: Option<String>) -> Result<(), Fault> {
        if taken.parts.name == "FROM" {
            let stage = stage::read(line, taken.parts, doc).map_err(|f| stage::comment_hint(f, line))?;
            self.file.stages.push(stage);
            return Ok(());
        }
        let instruction = typed(line, taken, doc)?;
        match (self.file.stages.last_mut(), &instruction.command) {
            (Some(stage), _) => stage.instructions.push(instruction),
            (None, crate::Command::Arg(_)) => self.file.global_args.push(instruction),
            // After a FROM that could not be read this would be one error too many.
            (None, _) if !self.errors.is_empty() => {}
            (None, _) => {
                let fault = Fault { phase: Phase::Stage, ..Fault::new("no build stage in current context") };
                return Err(fault
                    .at(instruction.span)
                    .hint("a Dockerfile begins with FROM; only ARG may stand before it"));
            }
        }
        Ok(())
    }
}
