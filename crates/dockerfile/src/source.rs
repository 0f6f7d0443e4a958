//! Places in the text: byte offset to line and column, and the logical lines that instructions are made of.

use std::ops::Range;

use crate::{Span, Word};

/// Start offsets of the lines of a text, for many look-ups.
#[derive(Clone, Debug)]
pub struct LineIndex<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    /// Reads the text once.
    pub fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte, both from 1; the column counts characters. An offset past the end gives the end.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = floor_boundary(self.text, offset);
        let line = self.line(offset);
        let column = self.text[self.starts[line - 1]..offset].chars().count() + 1;
        (line, column)
    }

    /// The line of a byte, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// First and last line of a span, from 1. The newline that ends a span is not a line of its own.
    pub fn lines(&self, span: Span) -> (usize, usize) {
        (self.line(span.start), self.line(span.end.saturating_sub(1).max(span.start)))
    }
}

/// Line and column of a byte of `text`, both from 1; the column counts characters.
///
/// For more than a few look-ups use [`LineIndex`].
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let offset = floor_boundary(text, offset);
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// An instruction's line with continuations joined, comments and blank lines inside it left out. It remembers where
/// in the file each piece came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logical {
    pub(crate) text: String,
    /// (offset in `text`, offset in the file) of every piece, ascending.
    pieces: Vec<(usize, usize)>,
}

impl Logical {
    pub(crate) fn push(&mut self, piece: &str, at: usize) {
        self.pieces.push((self.text.len(), at));
        self.text.push_str(piece);
    }

    /// Where the byte at `offset` of the joined text stands in the file.
    fn origin(&self, offset: usize) -> usize {
        let index = self.pieces.partition_point(|(start, _)| *start <= offset);
        match index.checked_sub(1).map(|i| self.pieces[i]) {
            Some((start, at)) => at + (offset - start),
            None => offset,
        }
    }

    /// The part of the file that a range of the joined text came from.
    pub(crate) fn span(&self, range: &Range<usize>) -> Span {
        if range.is_empty() {
            // An empty range at the end belongs behind the last byte, not to whatever piece would follow.
            let at = match range.start.checked_sub(1) {
                Some(before) => self.origin(before) + 1,
                None => self.origin(0),
            };
            return Span { start: at, end: at };
        }
        Span { start: self.origin(range.start), end: self.origin(range.end - 1) + 1 }
    }

    pub(crate) fn word(&self, range: Range<usize>) -> Word {
        Word { text: self.text[range.clone()].to_owned(), span: self.span(&range) }
    }

    /// `range` without white space at both ends.
    pub(crate) fn trim(&self, range: Range<usize>) -> Range<usize> {
        let slice = &self.text[range.clone()];
        let start = range.start + (slice.len() - slice.trim_start().len());
        start..start + slice.trim().len()
    }

    pub(crate) fn all(&self) -> Range<usize> {
        0..self.text.len()
    }
}
