//! Text and actions, then the tokens of an action.

use super::TemplateError;

/// A piece of a template: literal text, or what stands between `{{` and `}}`.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action { tokens: Vec<Placed>, line: usize },
}

/// Where something stands: the line counted from 1, and bytes before it in this line, as Go counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) place: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `.Name`; a lone dot is [`Token::Dot`].
    Field(String),
    Dot,
    /// `$` or `$name`, without the dollar.
    Variable(String),
    /// Keyword or function.
    Word(String),
    Text(String),
    Integer(i64),
    Float(f64),
    Pipe,
    Comma,
    Declare,
    Assign,
    Open,
    /// `)`, with the field chain glued to it coming as the next tokens.
    Close,
    /// Blank between operands: `.A .B` is two operands, `.A.B` one.
    Blank,
}

/// Cuts a template into pieces; `{{-` and `-}}` trim the text beside them.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut line = 1;
    let mut trim_start = false;
    loop {
        let (before, after) = match rest.split_once("{{") {
            None => (rest, None),
            Some((before, after)) => (before, Some(after)),
        };
        let trims_before = after.is_some_and(starts_with_trim);
        let mut literal = if trim_start { before.trim_start() } else { before };
        if trims_before {
            literal = literal.trim_end();
        }
        line += before.matches('\n').count();
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.to_owned()));
        }
        let Some(after) = after else { return Ok(pieces) };
        let after = if trims_before { &after[1..] } else { after };
        let (action, remaining) = action_end(after, line)?;
        let trimmed = action.strip_suffix('-').filter(|inner| inner.ends_with(|c: char| c.is_whitespace()));
        trim_start = trimmed.is_some();
        let inner = trimmed.unwrap_or(action).trim();
        if !(inner.starts_with("/*") && inner.ends_with("*/")) {
            let start = text.len() - after.len() + (inner.as_ptr() as usize - after.as_ptr() as usize);
            pieces.push(Piece::Action { tokens: tokens(text, start, start + inner.len(), line)?, line });
        }
        line += action.matches('\n').count();
        rest = remaining;
    }
}

fn starts_with_trim(after: &str) -> bool {
    let mut chars = after.chars();
    chars.next() == Some('-') && chars.next().is_some_and(char::is_whitespace)
}

/// Finds `}}` outside of quotes.
fn action_end(text: &str, line: usize) -> Result<(&str, &str), TemplateError> {
    let bytes = text.as_bytes();
    let comment = text.trim_start().starts_with("/*");
    let mut quote = None;
    let mut index = 0;
    while index < bytes.len() {
        match (quote, bytes[index]) {
            (None, b'"' | b'`' | b'\'') if !comment => quote = Some(bytes[index]),
            (Some(b'"' | b'\''), b'\\') => index += 1,
            (Some(open), byte) if open == byte => quote = None,
            (None, b'}') if bytes.get(index + 1) == Some(&b'}') => {
                return Ok((&text[..index], &text[index + 2..]));
            }
            _ => {}
        }
        index += 1;
    }
    Err(TemplateError::at_line(
        line,
        if quote.is_some() { "unterminated quoted string" } else { "unclosed action" },
    ))
}

/// The tokens between two places of the template.
fn tokens(template: &str, start: usize, end: usize, line: usize) -> Result<Vec<Placed>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = &template[start..end];
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            c if c.is_whitespace() => (Token::Blank, rest.len() - rest.trim_start().len()),
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '=' => (Token::Assign, 1),
            '"' => quoted(rest, line)?,
            '`' => {
                let end = rest[1..]
                    .find('`')
                    .ok_or_else(|| TemplateError::at_line(line, "unterminated raw quoted string"))?;
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            '\'' => character(rest, line)?,
            '.' => {
                let name = word(&rest[1..]);
                if name.is_empty() {
                    (Token::Dot, 1)
                } else {
                    (Token::Field(name.to_owned()), 1 + name.len())
                }
            }
            '$' => {
                let name = word(&rest[1..]);
                (Token::Variable(name.to_owned()), 1 + name.len())
            }
            c if c.is_ascii_digit()
                || ((c == '-' || c == '+') && rest[1..].starts_with(|c: char| c.is_ascii_digit())) =>
            {
                number(rest, line)?
            }
            c if c == '_' || c.is_alphabetic() => {
                let name = word(rest);
                (Token::Word(name.to_owned()), name.len())
            }
            other => return Err(TemplateError::at_line(line, format!("unexpected {other:?} in command"))),
        };
        tokens.push(Placed { token, place: place(template, end - rest.len()) });
        rest = &rest[length..];
    }
    Ok(tokens)
}

fn place(template: &str, offset: usize) -> Place {
    let before = &template[..offset];
    let start_of_line = before.rfind('\n').map_or(0, |at| at + 1);
    Place { line: 1 + before.matches('\n').count(), column: offset - start_of_line }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}

fn number(text: &str, line: usize) -> Result<(Token, usize), TemplateError> {
    let sign = usize::from(text.starts_with(['-', '+']));
    let end =
        text[sign..].find(|c: char| !c.is_ascii_alphanumeric() && c != '.').map_or(text.len(), |n| n + sign);
    let digits = &text[..end];
    let bad = || TemplateError::at_line(line, format!("bad number syntax: {digits:?}"));
    if let Some(hex) = digits[sign..].strip_prefix("0x") {
        let value = i64::from_str_radix(hex, 16).map_err(|_| bad())?;
        return Ok((Token::Integer(if digits.starts_with('-') { -value } else { value }), end));
    }
    match digits.parse::<i64>() {
        Ok(value) => Ok((Token::Integer(value), end)),
        Err(_) => digits.parse().map(|value| (Token::Float(value), end)).map_err(|_| bad()),
    }
}

fn quoted(text: &str, line: usize) -> Result<(Token, usize), TemplateError> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(out), index + 1)),
            '\\' => out.push(escaped(&mut chars.by_ref().map(|(_, c)| c), line)?),
            c => out.push(c),
        }
    }
    Err(TemplateError::at_line(line, "unterminated quoted string"))
}

fn character(text: &str, line: usize) -> Result<(Token, usize), TemplateError> {
    let bad = || TemplateError::at_line(line, "malformed character constant");
    let mut chars = text.char_indices().skip(1);
    let (_, c) = chars.next().ok_or_else(bad)?;
    let value = if c == '\\' { escaped(&mut chars.by_ref().map(|(_, c)| c), line)? } else { c };
    match chars.next() {
        Some((index, '\'')) => Ok((Token::Integer(i64::from(u32::from(value))), index + 1)),
        _ => Err(bad()),
    }
}

/// The character after a backslash, as Go's string literals have it.
fn escaped(chars: &mut dyn Iterator<Item = char>, line: usize) -> Result<char, TemplateError> {
    let bad = || TemplateError::at_line(line, "invalid syntax");
    let digits = match chars.next().ok_or_else(bad)? {
        'n' => return Ok('\n'),
        't' => return Ok('\t'),
        'r' => return Ok('\r'),
        'a' => return Ok('\u{7}'),
        'b' => return Ok('\u{8}'),
        'f' => return Ok('\u{c}'),
        'v' => return Ok('\u{b}'),
        c @ ('\\' | '"' | '\'') => return Ok(c),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return Err(bad()),
    };
    let text: String = chars.take(digits).collect();
    u32::from_str_radix(&text, 16).ok().and_then(char::from_u32).ok_or_else(bad)
}
