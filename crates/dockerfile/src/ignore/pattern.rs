//! One rule, compiled.

use super::Reach;
use crate::glob::{self, BadPattern, Class};

/// A rule without its `!`.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// It began with `!`.
    pub(crate) exception: bool,
    shape: Shape,
}

/// Most rules need no automaton.
#[derive(Clone, Debug)]
enum Shape {
    /// No wildcard.
    Exact(Vec<u8>),
    /// `head**`
    Head(Vec<u8>),
    /// `**tail`; `**/tail` also matches `tail`.
    Tail(Vec<u8>),
    /// Anything else.
    Tokens(Tokens),
}

#[derive(Clone, Debug)]
struct Tokens {
    /// Every match begins so.
    head: Vec<u8>,
    /// Every match ends so.
    tail: Vec<u8>,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Byte(u8),
    /// `?`
    Any,
    Class(Class),
    /// `*`
    Star,
    /// `**/`: any number of directories, none included.
    Dirs,
    /// `**` at the end.
    Rest,
}

impl Pattern {
    pub(crate) fn parse(pattern: &[u8], exception: bool) -> Result<Self, BadPattern> {
        glob::Glob::parse(pattern)?;
        let tokens = tokens(pattern)?;
        Ok(Self { exception, shape: Shape::of(pattern, tokens) })
    }

    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match &self.shape {
            Shape::Exact(text) => path == text,
            Shape::Head(head) => path.starts_with(head),
            Shape::Tail(tail) => path.ends_with(tail) || tail.strip_prefix(b"/") == Some(path),
            Shape::Tokens(tokens) => tokens.matches(path),
        }
    }

    /// What every match begins with.
    pub(crate) fn reach(&self) -> Reach {
        let (head, exact) = match &self.shape {
            Shape::Exact(head) => (head.clone(), true),
            Shape::Head(head) => (head.clone(), false),
            Shape::Tail(_) => (Vec::new(), false),
            Shape::Tokens(tokens) => (tokens.head.clone(), false),
        };
        Reach { head, exact }
    }
}

impl Shape {
    fn of(pattern: &[u8], tokens: Vec<Token>) -> Self {
        let literal = |tokens: &[Token]| -> Option<Vec<u8>> {
            let byte = |token: &Token| if let Token::Byte(byte) = token { Some(*byte) } else { None };
            tokens.iter().map(byte).collect()
        };
        let escapes = pattern.contains(&b'\\');
        match &tokens[..] {
            all if let Some(text) = literal(all) => return Shape::Exact(text),
            [head @ .., Token::Rest] if let Some(head) = literal(head) => return Shape::Head(head),
            // The tail keeps the slash that `**/` swallows: `**/x` must not match `ax`, `**x` does.
            [Token::Dirs, tail @ ..] if !escapes && literal(tail).is_some() => {
                return Shape::Tail(pattern[2..].to_vec());
            }
            _ => {}
        }
        let run = |tokens: &mut dyn Iterator<Item = &Token>| -> Vec<u8> {
            tokens.map_while(|token| if let Token::Byte(byte) = token { Some(*byte) } else { None }).collect()
        };
        let head = run(&mut tokens.iter());
        let mut tail = run(&mut tokens.iter().rev());
        tail.reverse();
        Shape::Tokens(Tokens { head, tail, tokens })
    }
}

fn tokens(pattern: &[u8]) -> Result<Vec<Token>, BadPattern> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut at = 0;
    while let Some(byte) = pattern.get(at) {
        at += 1;
        match byte {
            b'*' if pattern.get(at) == Some(&b'*') => {
                at += 1;
                if pattern.get(at) == Some(&b'/') {
                    at += 1;
                }
                tokens.push(if at == pattern.len() { Token::Rest } else { Token::Dirs });
            }
            b'*' => tokens.push(Token::Star),
            b'?' => tokens.push(Token::Any),
            b'[' => {
                let (class, length) = Class::parse(&pattern[at..])?;
                at += length;
                tokens.push(Token::Class(class));
            }
            b'\\' => {
                tokens.push(Token::Byte(*pattern.get(at).ok_or(BadPattern)?));
                at += 1;
            }
            byte => tokens.push(Token::Byte(*byte)),
        }
    }
    Ok(tokens)
}

impl Tokens {
    /// Follows all places in the pattern at once: no pattern takes more than its length times the path's.
    fn matches(&self, path: &[u8]) -> bool {
        if !path.starts_with(&self.head) || !path.ends_with(&self.tail) {
            return false;
        }
        let mut states = Vec::with_capacity(8);
        self.reach(self.head.len(), &mut states);
        let mut next = Vec::with_capacity(8);
        let mut at = self.head.len();
        while let Some((c, width)) = glob::decode(&path[at..]) {
            next.clear();
            for state in &states {
                self.follow(*state, c, &path[at..at + width], &mut next);
            }
            std::mem::swap(&mut states, &mut next);
            if states.is_empty() {
                return false;
            }
            at += width;
        }
        states.contains(&self.tokens.len())
    }

    /// Adds a place, and those behind it that need no character.
    fn reach(&self, state: usize, states: &mut Vec<usize>) {
        if states.contains(&state) {
            return;
        }
        states.push(state);
        if let Some(Token::Star | Token::Rest | Token::Dirs) = self.tokens.get(state) {
            self.reach(state + 1, states);
        }
    }

    fn follow(&self, state: usize, c: char, bytes: &[u8], next: &mut Vec<usize>) {
        match self.tokens.get(state) {
            Some(Token::Star) if c != '/' => self.reach(state, next),
            Some(Token::Rest) => self.reach(state, next),
            Some(Token::Dirs) => {
                // Staying inside is no way out: only behind a slash may the rest begin.
                if !next.contains(&state) {
                    next.push(state);
                }
                if c == '/' {
                    self.reach(state + 1, next);
                }
            }
            Some(Token::Any) if c != '/' => self.reach(state + 1, next),
            Some(Token::Class(class)) if class.contains(c) => self.reach(state + 1, next),
            Some(Token::Byte(_)) if self.literal(state, bytes) => self.reach(state + bytes.len(), next),
            _ => {}
        }
    }

    /// Whether all bytes of one character stand here.
    fn literal(&self, state: usize, bytes: &[u8]) -> bool {
        let wanted = self.tokens.get(state..state + bytes.len());
        wanted
            .is_some_and(|wanted| wanted.iter().zip(bytes).all(|(token, byte)| *token == Token::Byte(*byte)))
    }
}
