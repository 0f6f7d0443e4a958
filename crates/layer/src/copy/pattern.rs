//! Source patterns: Go's `filepath.Match`, one path component at a time (`spec/build.md` 2.2).

/// A pattern that cannot match anything because it is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadPattern;

/// True if `*`, `?` or `[` occur unescaped.
pub(super) fn has_wildcards(pattern: &[u8]) -> bool {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// The name that a pattern without wildcards stands for.
pub(super) fn unescape(pattern: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        name.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    name
}

/// True if `pattern` matches the whole of `name`, which has no `/`. Names are matched by characters where they
/// are UTF-8, else by bytes.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> Result<bool, BadPattern> {
    let tokens = parse(pattern)?;
    let name = characters(name);
    // One star to come back to is enough: a later star makes an earlier one's choice irrelevant.
    let (mut at, mut position, mut retry) = (0, 0, None);
    loop {
        match tokens.get(at) {
            Some(Token::Star) => {
                at += 1;
                retry = Some((at, position));
                continue;
            }
            Some(Token::One(one)) if name.get(position).is_some_and(|found| one.accepts(*found)) => {
                at += 1;
                position += 1;
                continue;
            }
            None if position == name.len() => return Ok(true),
            _ => {}
        }
        match retry {
            Some((after_star, taken)) if taken < name.len() => {
                retry = Some((after_star, taken + 1));
                (at, position) = (after_star, taken + 1);
            }
            _ => return Ok(false),
        }
    }
}

/// True if the pattern can be used at all.
pub(super) fn check(pattern: &[u8]) -> Result<(), BadPattern> {
    parse(pattern).map(drop)
}

enum Token {
    Star,
    One(One),
}

enum One {
    Any,
    Exactly(u32),
    Class { negated: bool, ranges: Vec<(u32, u32)> },
}

impl One {
    fn accepts(&self, found: u32) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => *wanted == found,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&found)) != *negated
            }
        }
    }
}

/// Bytes that are not UTF-8 count as one character each, above all of Unicode's.
fn characters(bytes: &[u8]) -> Vec<u32> {
    let mut all = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        all.extend(chunk.valid().chars().map(u32::from));
        all.extend(chunk.invalid().iter().map(|byte| 0x11_0000 + u32::from(*byte)));
    }
    all
}

const STAR: u32 = b'*' as u32;
const QUESTION: u32 = b'?' as u32;
const OPEN: u32 = b'[' as u32;
const CLOSE: u32 = b']' as u32;
const CARET: u32 = b'^' as u32;
const DASH: u32 = b'-' as u32;
const ESCAPE: u32 = b'\\' as u32;

fn parse(pattern: &[u8]) -> Result<Vec<Token>, BadPattern> {
    let characters = characters(pattern);
    let mut rest = characters.iter().copied().peekable();
    let mut tokens = Vec::new();
    while let Some(character) = rest.next() {
        tokens.push(match character {
            STAR => Token::Star,
            QUESTION => Token::One(One::Any),
            OPEN => Token::One(class(&mut rest)?),
            ESCAPE => Token::One(One::Exactly(rest.next().ok_or(BadPattern)?)),
            other => Token::One(One::Exactly(other)),
        });
    }
    Ok(tokens)
}

/// What follows `[`: at least one character or range, up to `]`.
fn class(rest: &mut std::iter::Peekable<impl Iterator<Item = u32>>) -> Result<One, BadPattern> {
    let negated = rest.next_if_eq(&CARET).is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.next_if_eq(&CLOSE).is_some() {
            return Ok(One::Class { negated, ranges });
        }
        let low = class_character(rest)?;
        let high = if rest.next_if_eq(&DASH).is_some() { class_character(rest)? } else { low };
        ranges.push((low, high));
    }
}

fn class_character(rest: &mut impl Iterator<Item = u32>) -> Result<u32, BadPattern> {
    match rest.next() {
        None | Some(DASH | CLOSE) => Err(BadPattern),
        Some(ESCAPE) => rest.next().ok_or(BadPattern),
        Some(character) => Ok(character),
    }
}

/// How far a path goes along a pattern whose components may be `**` (`--parents`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Nowhere: nothing below can match either.
    Off,
    /// Something below may match.
    Partial,
    /// The path, or a directory that it is in, matches.
    Full,
}

/// Compares path components with pattern components. Patterns must have passed [`check`].
pub(super) fn reach(pattern: &[&[u8]], path: &[&[u8]]) -> Reach {
    match (pattern, path) {
        ([], _) => Reach::Full,
        (_, []) => Reach::Partial,
        ([b"**", later @ ..], [_, below @ ..]) => reach(later, path).max(reach(pattern, below)),
        ([first, later @ ..], [name, below @ ..]) => match matches(first, name) {
            Ok(true) => reach(later, below),
            _ => Reach::Off,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_match(pattern: &str, name: &str, expected: bool) {
        assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), Ok(expected), "{pattern} {name}");
    }

    #[test]
    fn go_match_rules() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*b*c*d*e*", "axbxcxdxe", true),
            ("a*b*c*d*e*", "axbxcxdxexxx", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a?b", "a\u{263a}b", true),
            ("a[^a]b", "a\u{263a}b", true),
            ("a???b", "a\u{263a}b", false),
            ("[a-\u{3b6}]*", "\u{3b1}", true),
            ("*[a-\u{3b6}]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[[]0", "[0", true),
            ("*x", "xxx", true),
        ] {
            assert_match(pattern, name, expected);
        }
    }

    #[test]
    fn malformed_patterns_are_errors() {
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\", "[\\"] {
            assert_eq!(matches(pattern.as_bytes(), b"a"), Err(BadPattern), "{pattern}");
        }
    }

    #[test]
    fn names_that_are_not_utf8() {
        assert_eq!(matches(b"a?b", b"a\xffb"), Ok(true));
        assert_eq!(matches(b"a\xff*", b"a\xffb"), Ok(true));
        assert_eq!(matches(b"a\xfe*", b"a\xffb"), Ok(false));
    }

    #[test]
    fn wildcards_are_seen_unless_escaped() {
        assert!(has_wildcards(b"a*") && has_wildcards(b"[a") && has_wildcards(b"\\\\?"));
        assert!(!has_wildcards(b"a\\*") && !has_wildcards(b"a]") && !has_wildcards(b""));
        assert_eq!(unescape(b"a\\*b\\\\"), b"a*b\\");
    }

    #[test]
    fn reach_along_double_stars() {
        let along = |pattern: &str, path: &str| {
            let pattern: Vec<&[u8]> = pattern.split('/').map(str::as_bytes).collect();
            let path: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
            reach(&pattern, &path)
        };
        assert_eq!(along("a/b", "a"), Reach::Partial);
        assert_eq!(along("a/b", "a/b"), Reach::Full);
        assert_eq!(along("a/b", "a/b/c"), Reach::Full);
        assert_eq!(along("a/b", "a/c"), Reach::Off);
        assert_eq!(along("**/x", "x"), Reach::Full);
        assert_eq!(along("**/x", "p/q/x"), Reach::Full);
        assert_eq!(along("**/x", "p/q/y"), Reach::Partial);
        assert_eq!(along("a/**/x", "b"), Reach::Off);
        assert_eq!(along("a/**", "a"), Reach::Partial);
        assert_eq!(along("a/**", "a/b"), Reach::Full);
    }
}
