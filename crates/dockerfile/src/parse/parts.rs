//! A logical line taken apart into what every instruction is made from.

use std::ops::Range;

use super::flags::{Flags, Kind};
use super::heredoc::{self, Bodies, Opening};
use super::json;
use super::words::{self, Flag, cut_word, split_blanks};
use crate::error::Fault;
use crate::source::Logical;
use crate::{CommandLine, Word};

/// A line taken apart as far as every instruction is.
pub(crate) struct Parts {
    /// As written.
    pub(crate) keyword: Word,
    /// In upper case.
    pub(crate) name: String,
    pub(crate) flags: Vec<Flag>,
    /// What follows the flags, trimmed.
    pub(crate) args: Range<usize>,
    /// The elements, if the arguments are a JSON array and the instruction takes one.
    pub(crate) json: Option<Vec<Word>>,
}

impl Parts {
    /// Reads the keyword, the flags and the JSON form.
    pub(crate) fn read(line: &Logical, range: Range<usize>, escape: char) -> Result<Self, Fault> {
        let (keyword, rest) = cut_word(line, line.trim(range));
        let keyword = line.word(keyword);
        let name = keyword.text.to_uppercase();
        let (flags, args) = words::take_flags(line, rest, escape);
        let args = line.trim(args);
        let json = match name.as_str() {
            "ADD" | "COPY" | "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" | "VOLUME" => {
                json::array(line, args.clone())?
            }
            "HEALTHCHECK" => json::array(line, cut_kind(line, args.clone()).1)?,
            _ => None,
        };
        Ok(Self { keyword, name, flags, args, json })
    }

    /// The heredocs that the line announces, if it may.
    pub(crate) fn openings(&self, line: &Logical, escape: char) -> Result<Vec<Opening>, Fault> {
        let holder = match self.name.as_str() {
            "ONBUILD" if !self.args.is_empty() => {
                let inner = Parts::read(line, self.args.clone(), escape)?;
                // BuildKit looks at the JSON form of ONBUILD itself, which it never has.
                return if takes_heredocs(&inner.name) {
                    heredoc::openings(&line.text)
                } else {
                    Ok(Vec::new())
                };
            }
            name => takes_heredocs(name) && self.json.is_none(),
        };
        if holder { heredoc::openings(&line.text) } else { Ok(Vec::new()) }
    }
}

fn takes_heredocs(name: &str) -> bool {
    matches!(name, "ADD" | "COPY" | "RUN")
}

/// Everything an instruction is made from.
pub(crate) struct Source<'l> {
    pub(crate) line: &'l Logical,
    pub(crate) parts: Parts,
    pub(crate) bodies: Bodies,
    pub(crate) escape: char,
}

impl Source<'_> {
    pub(crate) fn text(&self) -> &str {
        &self.line.text[self.parts.args.clone()]
    }

    pub(crate) fn flags(&mut self, known: &'static [(&'static str, Kind)]) -> Result<Flags, Fault> {
        Flags::check(std::mem::take(&mut self.parts.flags), known)
    }

    /// The arguments of a list form: JSON elements, or words between blanks.
    pub(crate) fn list(&self) -> Vec<Word> {
        match &self.parts.json {
            Some(words) => words.clone(),
            None => split_blanks(self.line, self.parts.args.clone())
                .into_iter()
                .map(|range| self.line.word(range))
                .collect(),
        }
    }

    pub(super) fn command_line(&self) -> CommandLine {
        match &self.parts.json {
            Some(words) => CommandLine::Exec(words.iter().map(|word| word.text.clone()).collect()),
            None => CommandLine::Shell(self.text().to_owned()),
        }
    }

    pub(super) fn at_least_one(&self) -> Fault {
        Fault::new(format!("{} requires at least one argument", self.parts.name))
    }

    /// The rest of the line as one word.
    pub(super) fn one(&self) -> Result<Word, Fault> {
        if self.parts.args.is_empty() {
            return Err(Fault::new(format!("{} requires exactly one argument", self.parts.name)));
        }
        Ok(self.line.word(self.parts.args.clone()))
    }
}

/// The type of a `HEALTHCHECK` (`CMD`, `NONE`) and what follows it.
pub(crate) fn cut_kind(line: &Logical, args: Range<usize>) -> (Range<usize>, Range<usize>) {
    let text = &line.text[args.clone()];
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let rest = text[end..].trim_start();
    (args.start..args.start + end, args.end - rest.len()..args.end)
}
