//! Go's `filepath.Match`, which COPY's and ADD's wildcards follow (`spec/build.md` 2.2).

/// A pattern with a broken `[...]` or a `\` at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Whether a whole name matches. `*` and `?` do not match `/`; names need not be UTF-8.
///
/// A bad pattern is an error whatever the name is.
///
/// ```
/// use strata_dockerfile::glob::matches;
/// assert_eq!(matches("*.t[a-x]t", "notes.txt"), Ok(true));
/// assert_eq!(matches("*", "a/b"), Ok(false));
/// assert!(matches("[a", "b").is_err());
/// ```
pub fn matches(pattern: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> Result<bool, BadPattern> {
    Ok(Glob::parse(pattern.as_ref())?.matches(name.as_ref()))
}

/// A pattern, checked, for many names.
#[derive(Clone, Debug)]
pub struct Glob {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Star,
    Any,
    Byte(u8),
    Class(Class),
}

/// `[...]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    /// Reads what follows `[`; gives the class and its length without that bracket.
    pub(crate) fn parse(text: &[u8]) -> Result<(Self, usize), BadPattern> {
        let mut at = 0;
        let negated = text.first() == Some(&b'^');
        at += usize::from(negated);
        let mut ranges = Vec::new();
        loop {
            if text.get(at) == Some(&b']') && !ranges.is_empty() {
                return Ok((Self { negated, ranges }, at + 1));
            }
            let low = class_char(text, &mut at)?;
            let high = if text.get(at) == Some(&b'-') {
                at += 1;
                class_char(text, &mut at)?
            } else {
                low
            };
            ranges.push((low, high));
        }
    }

    pub(crate) fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

fn class_char(text: &[u8], at: &mut usize) -> Result<char, BadPattern> {
    match text.get(*at) {
        None | Some(b'-' | b']') => return Err(BadPattern),
        Some(b'\\') => *at += 1,
        Some(_) => {}
    }
    let (c, width) = decode(&text[*at..]).ok_or(BadPattern)?;
    if c == char::REPLACEMENT_CHARACTER && width == 1 {
        return Err(BadPattern);
    }
    *at += width;
    // A class must be closed.
    if *at >= text.len() { Err(BadPattern) } else { Ok(c) }
}

/// The first character and its width. A byte that is not UTF-8 is U+FFFD of width 1, as in Go.
pub(crate) fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    if first.is_ascii() {
        return Some((char::from(first), 1));
    }
    let head = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    Some(valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8())))
}

impl Glob {
    /// Reads a pattern.
    pub fn parse(pattern: &[u8]) -> Result<Self, BadPattern> {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut at = 0;
        while let Some(byte) = pattern.get(at) {
            at += 1;
            match byte {
                b'*' => {
                    if tokens.last() != Some(&Token::Star) {
                        tokens.push(Token::Star);
                    }
                }
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
        Ok(Self { tokens })
    }

    /// Whether a whole name matches.
    ///
    /// Only the last `*` ever needs to be tried again: what an earlier one could still give up, the later one can take
    /// itself.
    pub fn matches(&self, name: &[u8]) -> bool {
        let (mut token, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.tokens.get(token) {
                None if at == name.len() => return true,
                Some(Token::Star) => {
                    token += 1;
                    retry = Some((token, at));
                    continue;
                }
                Some(wanted) => {
                    if let Some(width) = wanted.width(&name[at..]) {
                        token += 1;
                        at += width;
                        continue;
                    }
                }
                None => {}
            }
            match retry {
                Some((star, from)) if from < name.len() && name[from] != b'/' => {
                    retry = Some((star, from + 1));
                    (token, at) = (star, from + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    /// How many bytes it takes from the head of `rest`.
    fn width(&self, rest: &[u8]) -> Option<usize> {
        match self {
            Token::Star => None,
            Token::Byte(byte) => (rest.first() == Some(byte)).then_some(1),
            Token::Any => decode(rest).filter(|(c, _)| *c != '/').map(|(_, width)| width),
            Token::Class(class) => decode(rest).filter(|(c, _)| class.contains(*c)).map(|(_, width)| width),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go's own table for `filepath.Match`, by meaning: pattern, name, result (`None`: bad pattern).
    const TABLE: &[(&str, &str, Option<bool>)] = &[
        ("abc", "abc", Some(true)),
        ("*", "abc", Some(true)),
        ("*c", "abc", Some(true)),
        ("a*", "a", Some(true)),
        ("a*", "ab/c", Some(false)),
        ("a*/b", "abc/b", Some(true)),
        ("a*/b", "a/c/b", Some(false)),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Some(true)),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Some(false)),
        ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
        ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
        ("ab[c]", "abc", Some(true)),
        ("ab[b-d]", "abc", Some(true)),
        ("ab[e-g]", "abc", Some(false)),
        ("ab[^c]", "abc", Some(false)),
        ("ab[^e-g]", "abc", Some(true)),
        ("a\\*b", "a*b", Some(true)),
        ("a\\*b", "ab", Some(false)),
        ("a?b", "a☺b", Some(true)),
        ("a[^a]b", "a☺b", Some(true)),
        ("a???b", "a☺b", Some(false)),
        ("[a-ζ]*", "α", Some(true)),
        ("*[a-ζ]", "A", Some(false)),
        ("a?b", "a/b", Some(false)),
        ("a*b", "a/b", Some(false)),
        ("[\\]a]", "]", Some(true)),
        ("[\\-]", "-", Some(true)),
        ("[x\\-]", "x", Some(true)),
        ("[\\-x]", "a", Some(false)),
        ("[]a]", "]", None),
        ("[-]", "-", None),
        ("[x-]", "x", None),
        ("[-x]", "x", None),
        ("\\", "a", None),
        ("[a-b-c]", "a", None),
        ("[", "a", None),
        ("[^", "a", None),
        ("[^bc", "a", None),
        ("a[", "a", None),
        ("a[", "ab", None),
        ("a[", "x", None),
        ("a/b[", "x", None),
        ("*x", "xxx", Some(true)),
        ("[[]", "[", Some(true)),
        ("[b-a]", "a", Some(false)),
        ("", "", Some(true)),
        ("", "a", Some(false)),
        ("**", "ab", Some(true)),
    ];

    #[test]
    fn as_go_matches() {
        for (pattern, name, wanted) in TABLE {
            assert_eq!(matches(pattern, name).ok(), *wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn names_that_are_no_text() {
        assert_eq!(matches("a?c", b"a\xffc"), Ok(true));
        assert_eq!(matches("*", b"\xff\xfe"), Ok(true));
        assert_eq!(matches(b"\xff*", b"\xffx"), Ok(true));
    }
}
