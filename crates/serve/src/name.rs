//! Names as the distribution specification allows them ("Pulling manifests"). What is valid here is a harmless
//! relative path, too: no component is empty, begins with a dot or holds a slash.

use std::fmt;
use strata_oci::Digest;

/// Clients allow 255 characters for host and name together; a file system allows as many for one component.
const REPOSITORY_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A repository: `library/busybox`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Repository(String);

impl Repository {
    /// `None` when the text is no repository's name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let valid = text.len() <= REPOSITORY_MAX && text.split('/').all(is_component);
        valid.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_in_words = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    let mut separators = bytes.split(|byte| word(*byte)).filter(|run| !run.is_empty());
    ends_in_words
        && separators.all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-'))
}

/// A tag: `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag(String);

impl Tag {
    /// `None` when the text is no tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = text.len() <= TAG_MAX
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
        valid.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a manifest is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// By a name that may move.
    Tag(Tag),
    /// By its content.
    Digest(Digest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Repository, Tag};

    #[test]
    fn repositories() {
        for good in ["a", "a/b", "library/busybox", "a.b/c_d/e__f/g---h", "0/1", "a-b.c_d"] {
            assert!(Repository::parse(good).is_some(), "{good}");
        }
        let long = "a".repeat(256);
        let bad = ["", "/", "a/", "/a", "a//b", "A", "a/../b", "..", ".a", "a.", "_a", "a_", "-a", "a..b"];
        for bad in bad.into_iter().chain(["a___b", "a._b", "a/.b", "a\0b", "a b", "ä", "a%2fb", &long]) {
            assert!(Repository::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn tags() {
        for good in ["latest", "_", "1.0", "V1", "a-.b", &"x".repeat(128)] {
            assert!(Tag::parse(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", "-a", ".a", "a/b", "a b", "a:b", "a\n", &"x".repeat(129)] {
            assert!(Tag::parse(bad).is_none(), "{bad}");
        }
    }
}
