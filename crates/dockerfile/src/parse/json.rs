//! The JSON form (`spec/build.md` 1.5): an array of strings, or it is not JSON at all.

use std::ops::Range;

use serde::de::IgnoredAny;

use crate::error::Fault;
use crate::source::Logical;
use crate::{Span, Word};

/// The elements if `range` holds a JSON array; `None` if it is to be read as text; an error if it is an array of
/// something else than strings.
pub(crate) fn array(line: &Logical, range: Range<usize>) -> Result<Option<Vec<Word>>, Fault> {
    let text = &line.text[range.clone()];
    if !text.trim_start().starts_with('[') || serde_json::from_str::<Vec<IgnoredAny>>(text).is_err() {
        return Ok(None);
    }
    let mut words = Vec::new();
    let mut at = text.find('[').map_or(0, |at| at + 1);
    loop {
        at += text[at..].len() - text[at..].trim_start_matches([' ', '\t', '\r', '\n', ',']).len();
        let rest = &text[at..];
        if rest.is_empty() || rest.starts_with(']') {
            return Ok(Some(words));
        }
        let Some((decoded, length)) = string(rest) else {
            let span = element_span(line, &range, at);
            let message = "when using JSON array syntax, arrays must be comprised of strings only";
            return Err(Fault::syntax(message).at(span));
        };
        let span = line.span(&(range.start + at..range.start + at + length));
        words.push(Word { text: decoded, span });
        at += length;
    }
}

fn element_span(line: &Logical, range: &Range<usize>, at: usize) -> Span {
    let rest = &line.text[range.start + at..range.end];
    let end = rest.find([',', ']', ' ']).filter(|end| *end > 0).unwrap_or(rest.len());
    line.span(&(range.start + at..range.start + at + end))
}

/// A string literal at the head of `text`, decoded, and its length as written. The caller knows that the JSON is valid.
fn string(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    if chars.next()?.1 != '"' {
        return None;
    }
    // A surrogate may stand alone; Go puts the replacement character, serde_json would refuse.
    let mut high: Option<u32> = None;
    while let Some((at, c)) = chars.next() {
        let escaped = if c == '\\' { chars.next().map(|(_, c)| c) } else { None };
        if escaped == Some('u') {
            let unit = (0..4).try_fold(0, |unit, _| Some(unit * 16 + chars.next()?.1.to_digit(16)?))?;
            push_unit(&mut out, &mut high, unit);
            continue;
        }
        if high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        match escaped {
            None if c == '"' => return Some((out, at + 1)),
            None => out.push(c),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some(other) => out.push(other),
        }
    }
    None
}

/// Adds one `\u` unit, joining surrogates.
fn push_unit(out: &mut String, high: &mut Option<u32>, unit: u32) {
    match (high.take(), unit) {
        (Some(lead), 0xdc00..=0xdfff) => {
            let joined = 0x10000 + ((lead - 0xd800) << 10) + (unit - 0xdc00);
            out.push(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            return;
        }
        (Some(_), _) => out.push(char::REPLACEMENT_CHARACTER),
        (None, _) => {}
    }
    match unit {
        0xd800..=0xdbff => *high = Some(unit),
        unit => out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)),
    }
}
