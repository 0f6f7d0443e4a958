//! `ENV` and `LABEL`: `k=v` pairs, or the old form with one key and the rest of the line.

use super::parts::Source;
use super::words::{is_blank, split_quoted};
use crate::error::Fault;
use crate::source::Logical;
use crate::{Span, Word, go_quote};

pub(crate) fn read(source: &mut Source<'_>) -> Result<Vec<(Word, Word)>, Fault> {
    let pairs = split(source)?;
    source.flags(&[])?;
    let name = &source.parts.name;
    if pairs.is_empty() {
        return Err(Fault::new(format!("{name} requires at least one argument")));
    }
    if let Some((key, value)) = pairs.iter().find(|(key, _)| key.text.is_empty()) {
        let span = Span { start: key.span.start, end: value.span.end };
        return Err(Fault::new(format!("{name} names can not be blank")).at(span));
    }
    Ok(pairs)
}

fn split(source: &Source<'_>) -> Result<Vec<(Word, Word)>, Fault> {
    let (line, args) = (source.line, source.parts.args.clone());
    let words = split_quoted(line, args.clone(), source.escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.text.contains('=') {
        let text = &line.text[args.clone()];
        let Some(end) = text.find(is_blank) else {
            let message = format!("{} must have two arguments", source.parts.name);
            return Err(Fault::syntax(message).at(first.span));
        };
        let value = args.end - text[end..].trim_start_matches(is_blank).len();
        return Ok(vec![(line.word(args.start..args.start + end), line.word(value..args.end))]);
    }
    let pair = |word: &Word| {
        cut(word).ok_or_else(|| {
            let message = format!(
                "Syntax error - can't find = in {}. Must be of the form: name=value",
                go_quote(&word.text)
            );
            Fault::syntax(message).at(word.span)
        })
    };
    words.iter().map(pair).collect()
}

/// Cuts `k=v` at the first `=`.
pub(crate) fn cut(word: &Word) -> Option<(Word, Word)> {
    let (key, value) = word.text.split_once('=')?;
    // A continuation inside the word makes the text shorter than its span; then both point at all of it.
    let split = |text: &str, start, end| Word { text: text.to_owned(), span: Span { start, end } };
    let Span { start, end } = word.span;
    if end - start != word.text.len() {
        return Some((split(key, start, end), split(value, start, end)));
    }
    Some((split(key, start, start + key.len()), split(value, start + key.len() + 1, end)))
}

/// True for the old form, of which the linter warns.
pub(crate) fn is_legacy(original: &str, escape: char) -> bool {
    let mut line = Logical::default();
    line.push(original, 0);
    let (_, rest) = super::words::cut_word(&line, line.trim(line.all()));
    let (_, args) = super::words::take_flags(&line, rest, escape);
    split_quoted(&line, args, escape).first().is_some_and(|word| !word.text.contains('='))
}
