//! `FROM`, and the hint for comments at the end of a line.

use super::flags::{Flags, Kind};
use super::parts::Parts;
use super::words::split_blanks;
use crate::error::Fault;
use crate::source::Logical;
use crate::{Stage, Word, go_quote};

pub(crate) fn read(line: &Logical, parts: Parts, doc: Option<String>) -> Result<Stage, Fault> {
    let words: Vec<Word> =
        split_blanks(line, parts.args.clone()).into_iter().map(|range| line.word(range)).collect();
    let (base, name) = match &words[..] {
        [base] => (base.clone(), None),
        [base, keyword, name] if keyword.text.eq_ignore_ascii_case("as") => {
            (base.clone(), Some(stage_name(name)?))
        }
        _ => {
            let span = line.span(&if words.is_empty() { line.trim(line.all()) } else { parts.args });
            return Err(Fault::new("FROM requires either one or three arguments").at(span));
        }
    };
    let flags = Flags::check(parts.flags, &[("platform", Kind::One)])?;
    Ok(Stage {
        span: line.span(&line.trim(line.all())),
        original: line.text.trim().to_owned(),
        base,
        name,
        platform: flags.filled("platform"),
        doc,
        instructions: Vec::new(),
    })
}

/// The name in lower case.
fn stage_name(word: &Word) -> Result<Word, Fault> {
    let text = word.text.to_lowercase();
    if !is_stage_name(&text) {
        let message = format!(
            "invalid name for build stage: {}, name can't start with a number or contain symbols",
            go_quote(&word.text)
        );
        return Err(Fault::new(message).at(word.span));
    }
    Ok(Word { text, span: word.span })
}

/// `^[a-z][a-z0-9-_.]*$`.
pub fn is_stage_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
}

/// What to tell of a `#` within a line.
pub const COMMENT_HINT: &str =
    "`#` starts a comment only at the beginning of a line; move it to a line of its own";

/// Where in a line a word is just `#`, as if a comment began there.
///
/// Errors found after parsing (`invalid containerPort: #`) can be explained with [`COMMENT_HINT`] then.
pub fn trailing_comment(line: &str) -> Option<usize> {
    line.match_indices('#').map(|(at, _)| at).find(|at| {
        let before = line[..*at].chars().next_back();
        let behind = line[at + 1..].chars().next();
        before.is_some_and(char::is_whitespace) && behind.is_none_or(char::is_whitespace)
    })
}

/// Adds to an error what people mostly do not know: that `#` within a line begins no comment.
pub(crate) fn comment_hint(mut fault: Fault, line: &Logical) -> Fault {
    if let (Some(at), None) = (trailing_comment(&line.text), &fault.hint) {
        fault.span = Some(line.span(&(at..line.text.trim_end().len().max(at + 1))));
        fault.hint = Some(COMMENT_HINT.to_owned());
    }
    fault
}
