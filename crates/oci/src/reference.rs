//! Image references: `[domain[:port]/]path[:tag][@digest]` (`spec/engine.md`, section 4, "References").
use crate::Digest;
use std::fmt;
use std::str::FromStr;

const DEFAULT_DOMAIN: &str = "docker.io";
/// What Docker Hub was called before; still in old files.
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// Limit of the distribution specification, over domain and path together.
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A normalised reference: `busybox` is `docker.io/library/busybox`, tag `latest` unless a digest is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why text is not a reference. The display is Docker's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Upper-case letters in the repository.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCase(String),
    /// A bare 64-digit name could not be told from an image ID.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// Domain and path together are too long.
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong(String),
    /// A digest of another algorithm than SHA-256, which strata does not keep.
    #[error("unsupported digest algorithm")]
    DigestAlgorithm(String),
    /// A SHA-256 digest that does not have 64 digits.
    #[error("invalid checksum digest length")]
    DigestLength(String),
    /// Anything else.
    #[error("invalid reference format")]
    Format(String),
}

impl Reference {
    /// Registry host, `docker.io` by default.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Repository path with `library/` where it is implied.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Tag; `None` only when a digest was given without a tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Repository in full: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Repository as people write it: without `docker.io/` and `library/`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            // Without its domain such a path would be read as a domain of its own.
            _ if self.path.split_once('/').is_some_and(|(first, _)| looks_like_a_domain(first)) => {
                self.name()
            }
            _ => self.path.clone(),
        }
    }

    /// `familiar_name[:tag][@digest]`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if is_identifier(text) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (domain, rest) = split_domain(text);
        let repository = rest.split_once(':').map_or(rest.as_str(), |(before, _)| before);
        if repository.to_lowercase() != repository {
            return Err(ReferenceError::UpperCase(repository.to_owned()));
        }
        let bad = || ReferenceError::Format(text.to_owned());
        let (named, digest) = match rest.split_once('@') {
            Some((named, digest)) => (named, Some(parse_digest(digest, text)?)),
            None => (rest.as_str(), None),
        };
        let (path, tag) = match named.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(bad()),
            None => (named, None),
        };
        if !is_domain(&domain) || !path.split('/').all(is_path_component) {
            return Err(bad());
        }
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(ReferenceError::TooLong(text.to_owned()));
        }
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { path: path.to_owned(), domain, tag, digest })
    }
}

/// The full form: `docker.io/library/busybox:latest`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Domain, and the rest with `library/` where it is implied.
fn split_domain(text: &str) -> (String, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN.to_owned(), format!("{OFFICIAL}{text}"));
    };
    if !looks_like_a_domain(first) {
        return (DEFAULT_DOMAIN.to_owned(), text.to_owned());
    }
    if first == DEFAULT_DOMAIN || first == LEGACY_DOMAIN {
        let official = if rest.contains('/') { "" } else { OFFICIAL };
        return (DEFAULT_DOMAIN.to_owned(), format!("{official}{rest}"));
    }
    (first.to_owned(), rest.to_owned())
}

fn looks_like_a_domain(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first
}

fn is_domain(domain: &str) -> bool {
    if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let valid = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return valid && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    host.split('.').all(is_domain_component) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_domain_component(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('-')
        && !part.ends_with('-')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Runs of lower-case letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let Some(last) = part.bytes().last() else { return false };
    if !alphanumeric(part.as_bytes()[0]) || !alphanumeric(last) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn parse_digest(text: &str, reference: &str) -> Result<Digest, ReferenceError> {
    let bad = || ReferenceError::Format(reference.to_owned());
    let (algorithm, digits) = text.split_once(':').ok_or_else(bad)?;
    let well_formed = digits.len() >= 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if algorithm.is_empty() || !well_formed {
        return Err(bad());
    }
    if algorithm != "sha256" {
        return Err(ReferenceError::DigestAlgorithm(reference.to_owned()));
    }
    if digits.len() != 64 {
        return Err(ReferenceError::DigestLength(reference.to_owned()));
    }
    text.parse().map_err(|_| bad())
}

#[cfg(test)]
mod tests;
