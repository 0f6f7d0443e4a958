//! Splitting an instruction's text: at blanks, or at blanks outside quotes, and flags in front.

use std::ops::Range;

use crate::source::Logical;
use crate::{Span, Word};

/// Blanks that part the words of a list; other white space belongs to the words.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// The first word of `range` and what follows the blanks behind it.
pub(crate) fn cut_word(line: &Logical, range: Range<usize>) -> (Range<usize>, Range<usize>) {
    let slice = &line.text[range.clone()];
    match slice.find(is_blank) {
        Some(at) => {
            let rest = slice[at..].trim_start_matches(is_blank);
            (range.start..range.start + at, range.end - rest.len()..range.end)
        }
        None => (range.clone(), range.end..range.end),
    }
}

/// Words between blanks; quotes mean nothing here.
pub(crate) fn split_blanks(line: &Logical, range: Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut rest = range;
    while !rest.is_empty() {
        let (word, behind) = cut_word(line, rest);
        if !word.is_empty() {
            words.push(word);
        }
        rest = behind;
    }
    words
}

/// Words between white space outside quotes. Quotes and escapes stay in the words; an escape at the very end goes.
pub(crate) fn split_quoted(line: &Logical, range: Range<usize>, escape: char) -> Vec<Word> {
    let text = &line.text[range.clone()];
    let mut words = Vec::new();
    let mut start: Option<usize> = None;
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if start.is_none() {
            if c.is_whitespace() {
                continue;
            }
            start = Some(at);
        }
        let begin = start.unwrap_or(at);
        match quote {
            None if c.is_whitespace() => {
                let span = line.span(&(range.start + begin..range.start + at));
                if !word.is_empty() {
                    words.push(Word { text: std::mem::take(&mut word), span });
                }
                start = None;
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            match chars.next() {
                Some((_, next)) => word.push(next),
                None => {
                    word.pop();
                }
            }
        }
    }
    if let Some(begin) = start.filter(|_| !word.is_empty()) {
        let span = line.span(&(range.start + begin..range.end));
        words.push(Word { text: word, span });
    }
    words
}

/// A flag as written in front of the arguments.
#[derive(Clone, Debug)]
pub(crate) struct Flag {
    /// With its dashes.
    pub(crate) name: String,
    pub(crate) value: Option<Word>,
    pub(crate) span: Span,
}

/// Takes the flags off the front; gives them and the range of what follows.
pub(crate) fn take_flags(line: &Logical, range: Range<usize>, escape: char) -> (Vec<Flag>, Range<usize>) {
    let mut flags = Vec::new();
    let mut rest = range;
    loop {
        let slice = &line.text[rest.clone()];
        let indent = slice.len() - slice.trim_start().len();
        let start = rest.start + indent;
        if !slice[indent..].starts_with("--") {
            return (flags, start..rest.end);
        }
        let (word, end) = unquote_flag(&line.text[start..rest.end], escape);
        rest = start + end..rest.end;
        if word.text == "--" {
            return (flags, rest);
        }
        let (name, value) = match word.text.split_once('=') {
            Some((name, value)) => {
                let from = start + word.value_at.unwrap_or(end);
                let span = line.span(&(from..start + end));
                (name.to_owned(), Some(Word { text: value.to_owned(), span }))
            }
            None => (word.text, None),
        };
        flags.push(Flag { name, value, span: line.span(&(start..start + end)) });
    }
}

struct FlagWord {
    text: String,
    /// Where the value begins, as written.
    value_at: Option<usize>,
}

/// One flag without its quotes and escapes, and its length as written.
fn unquote_flag(slice: &str, escape: char) -> (FlagWord, usize) {
    let mut word = FlagWord { text: String::new(), value_at: None };
    let mut quote: Option<char> = None;
    let mut chars = slice.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, at),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => match chars.next() {
                Some((_, next)) => word.text.push(next),
                None => quote = None,
            },
            _ => {
                word.text.push(c);
                if c == '=' && word.value_at.is_none() {
                    word.value_at = Some(at + 1);
                }
            }
        }
    }
    (word, slice.len())
}
