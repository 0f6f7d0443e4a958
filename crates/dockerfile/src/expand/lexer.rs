//! One pass over a word. The order in which errors are found is BuildKit's: builds that fail there must fail here with
//! the same sentence.

use std::collections::BTreeSet;
use std::str::Chars;

use super::Lookup;
use super::pattern::Pattern;

/// Substitutions within substitutions; deeper ones can only be meant to exhaust the stack.
const MAX_DEPTH: usize = 100;

/// How many bytes all substitutions of a word may give together: far more than a process takes in its environment (128
/// KiB for one variable). Replacements within replacements grow exponentially.
const MAX_GROWTH: usize = 4 << 20;

/// How many steps the patterns of a word may take together: a second or two.
const MAX_WORK: usize = 1 << 31;

/// Go prints the end of its input as this character.
const END: char = '\u{fffd}';

/// What the lexer keeps that expansion normally removes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mode {
    /// Quotes stay in the result.
    pub(crate) raw_quotes: bool,
    /// Escapes stay in the result.
    pub(crate) raw_escapes: bool,
    /// Quotes are ordinary characters.
    pub(crate) ignore_quotes: bool,
    /// Unset variables stay as written.
    pub(crate) keep_unset: bool,
}

pub(crate) struct Lexer<'a> {
    rest: Chars<'a>,
    escape: char,
    mode: Mode,
    lookup: Lookup<'a>,
    depth: usize,
    /// Bytes that substitutions have given so far.
    grown: usize,
    /// Steps that patterns have taken so far.
    worked: usize,
    pub(crate) used: BTreeSet<String>,
    pub(crate) unset: BTreeSet<String>,
}

const TOO_MUCH: &str = "the substitutions give too much text";

type Lexed<T> = Result<T, String>;

impl<'a> Lexer<'a> {
    pub(crate) fn new(word: &'a str, escape: char, mode: Mode, lookup: Lookup<'a>) -> Self {
        let (used, unset) = (BTreeSet::new(), BTreeSet::new());
        Self { rest: word.chars(), escape, mode, lookup, depth: 0, grown: 0, worked: 0, used, unset }
    }

    /// The whole text, and the same split into words.
    pub(crate) fn run(&mut self) -> Lexed<(String, Vec<String>)> {
        self.until(None, self.mode.raw_escapes)
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Lexed<(String, Vec<String>)> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("substitutions are nested too deeply".to_owned());
        }
        let outer = std::mem::replace(&mut self.mode.raw_escapes, raw_escapes);
        let result = self.until_inner(stop);
        self.mode.raw_escapes = outer;
        self.depth -= 1;
        result
    }

    fn until_inner(&mut self, stop: Option<char>) -> Lexed<(String, Vec<String>)> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.rest.next();
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    self.grow(value.len())?;
                    text.push_str(&value);
                    value.chars().for_each(|c| words.push(c));
                }
                '<' => {
                    let operator = self.heredoc_operator();
                    text.push_str(&operator);
                    words.push_raw(&operator);
                }
                '\'' if !self.mode.ignore_quotes => {
                    let quoted = self.single_quoted()?;
                    text.push_str(&quoted);
                    words.push_raw(&quoted);
                }
                '"' if !self.mode.ignore_quotes => {
                    let quoted = self.double_quoted()?;
                    text.push_str(&quoted);
                    words.push_raw(&quoted);
                }
                c if c == self.escape => self.escaped(&mut text, &mut words),
                c => {
                    self.rest.next();
                    text.push(c);
                    words.push(c);
                }
            }
        }
        match stop {
            Some(stop) => Err(format!("unexpected end of statement while looking for matching {stop}")),
            None => Ok((text, words.finish())),
        }
    }

    /// An escape outside quotes: it goes, what follows stays. At the end it just goes.
    fn escaped(&mut self, text: &mut String, words: &mut Words) {
        self.rest.next();
        let kept = self.mode.raw_escapes.then_some(self.escape);
        for c in kept.into_iter().chain(self.rest.next()) {
            text.push(c);
            words.push_escaped(c);
        }
    }

    fn single_quoted(&mut self) -> Lexed<String> {
        let mut out = String::new();
        self.rest.next();
        if self.mode.raw_quotes {
            out.push('\'');
        }
        loop {
            match self.rest.next() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote".to_owned()
                    );
                }
                Some('\'') => break,
                Some(c) => out.push(c),
            }
        }
        if self.mode.raw_quotes {
            out.push('\'');
        }
        Ok(out)
    }

    fn double_quoted(&mut self) -> Lexed<String> {
        let mut out = String::new();
        self.rest.next();
        if self.mode.raw_quotes {
            out.push('"');
        }
        loop {
            match self.peek() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote".to_owned()
                    );
                }
                Some('"') => break,
                Some('$') => {
                    let value = self.dollar()?;
                    self.grow(value.len())?;
                    out.push_str(&value);
                }
                Some(c) => {
                    self.rest.next();
                    if c != self.escape {
                        out.push(c);
                        continue;
                    }
                    if self.mode.raw_escapes {
                        out.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            self.rest.next();
                            out.push(next);
                        }
                        // Raw escapes within a pattern stand doubled, so that the pattern reads the literal one.
                        Some(_) if self.mode.raw_escapes && self.mode.raw_quotes => {}
                        Some(_) => out.push(c),
                    }
                }
            }
        }
        self.rest.next();
        if self.mode.raw_quotes {
            out.push('"');
        }
        Ok(out)
    }

    /// `<<` and `<<-` swallow the blanks behind them, so that `<< EOF` is one word.
    fn heredoc_operator(&mut self) -> String {
        self.rest.next();
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.rest.next();
        let mut operator = "<<".to_owned();
        if self.peek() == Some('-') {
            self.rest.next();
            operator.push('-');
        }
        while let Some(c @ ('\t' | '\r' | ' ')) = self.peek() {
            self.rest.next();
            operator.push(c);
        }
        operator
    }

    fn dollar(&mut self) -> Lexed<String> {
        self.rest.next();
        if self.peek() == Some('{') {
            self.rest.next();
            return self.braced();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.value(&name) {
            Some(value) => value,
            None if self.mode.keep_unset => format!("${name}"),
            None => String::new(),
        })
    }

    fn braced(&mut self) -> Lexed<String> {
        match self.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        match self.rest.next() {
            Some('}') => Ok(match self.value(&name) {
                Some(value) => value,
                None if self.mode.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => {
                let operator = self.rest.next();
                self.modifier(&name, operator, true)
            }
            operator @ Some('+' | '-' | '?' | '#' | '%') => self.modifier(&name, operator, false),
            Some('/') => self.replacement(&name),
            other => Err(unsupported("", other)),
        }
    }

    /// `${name-word}` and its relatives; `colon` says that an empty value counts as unset.
    fn modifier(&mut self, name: &str, operator: Option<char>, colon: bool) -> Lexed<String> {
        let cuts = matches!(operator, Some('#' | '%'));
        let prefix = if colon { ":" } else { "" };
        if colon && cuts {
            return Err(unsupported(prefix, operator));
        }
        let word = self.operand('}', cuts, "syntax error: missing '}'")?;
        let value = self.value(name);
        if value.is_none() && self.mode.keep_unset {
            return Ok(format!("${{{name}{prefix}{}{word}}}", operator.unwrap_or(END)));
        }
        let present = value.clone().filter(|value| !(colon && value.is_empty()));
        match operator {
            Some('-') => Ok(present.unwrap_or(word)),
            Some('+') => Ok(present.map_or_else(String::new, |_| word)),
            Some('?') => present.ok_or_else(|| {
                let what = if value.is_none() { "unset" } else { "empty" };
                let default = format!("is not allowed to be {what}");
                format!("{name}: {}", if word.is_empty() { default } else { word })
            }),
            Some(operator @ ('#' | '%')) => {
                let (longest, pattern) = match word.strip_prefix(operator) {
                    Some(pattern) => (true, pattern),
                    None => (false, word.as_str()),
                };
                let compiled = Pattern::parse(pattern)?;
                let value = value.unwrap_or_default();
                Ok(if operator == '#' {
                    compiled.trim_start(&value, longest).to_owned()
                } else {
                    compiled.trim_end(&value, longest).to_owned()
                })
            }
            other => Err(unsupported(prefix, other)),
        }
    }

    /// `${name/pattern/text}` and `${name//pattern/text}`.
    fn replacement(&mut self, name: &str) -> Lexed<String> {
        let all = self.peek() == Some('/');
        if all {
            self.rest.next();
        }
        let pattern = self.operand('/', true, "syntax error: missing '/' in ${}")?;
        let text = self.operand('}', true, "syntax error: missing '}'")?;
        match self.value(name) {
            None if self.mode.keep_unset => Ok(format!("${{{name}/{pattern}/{text}}}")),
            value => {
                let value = value.unwrap_or_default();
                let pattern = Pattern::parse(&pattern)?;
                self.worked = self.worked.saturating_add(pattern.cost(value.len()));
                // Each character may be replaced, and so may the empty word behind the last one.
                let longest = (value.len() + 1).saturating_mul(text.len());
                if self.worked > MAX_WORK || longest > MAX_GROWTH {
                    return Err(TOO_MUCH.to_owned());
                }
                Ok(pattern.replace(&value, &text, all))
            }
        }
    }

    fn grow(&mut self, bytes: usize) -> Lexed<()> {
        self.grown += bytes;
        if self.grown > MAX_GROWTH { Err(TOO_MUCH.to_owned()) } else { Ok(()) }
    }

    /// A modifier's word. At the end of the input every error is that the end came too soon.
    fn operand(&mut self, stop: char, raw_escapes: bool, missing: &str) -> Lexed<String> {
        match self.until(Some(stop), raw_escapes) {
            Ok((word, _)) => Ok(word),
            Err(_) if self.peek().is_none() => Err(missing.to_owned()),
            Err(reason) => Err(reason),
        }
    }

    /// A name: digits, or one special parameter, or letters, digits and `_`. May be empty.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if is_digit(c) => {
                while let Some(c) = self.peek().filter(|c| is_digit(*c)) {
                    name.push(c);
                    self.rest.next();
                }
            }
            Some(c @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                name.push(c);
                self.rest.next();
            }
            _ => {
                while let Some(c) = self.peek().filter(|c| c.is_alphabetic() || is_digit(*c) || *c == '_') {
                    name.push(c);
                    self.rest.next();
                }
            }
        }
        name
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        if value.is_some() { &mut self.used } else { &mut self.unset }.insert(name.to_owned());
        value
    }
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn unsupported(prefix: &str, operator: Option<char>) -> String {
    format!("unsupported modifier ({prefix}{}) in substitution", operator.unwrap_or(END))
}

/// Collects words; only blanks that are neither quoted nor escaped part them.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    fn push(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn push_escaped(&mut self, c: char) {
        self.word.push(c);
    }

    fn push_raw(&mut self, text: &str) {
        self.word.push_str(text);
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}
