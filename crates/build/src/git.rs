//! Addresses of git repositories: `https://host/repo.git#ref:subdir`, `git@host:repo`, `?branch=main&subdir=src`.

/// A repository and what of it is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GitSource {
    /// What git fetches from: no query, no fragment. May hold credentials.
    pub remote: String,
    /// Branch, tag or commit as written, `refs/heads/x` and `refs/tags/x` for `?branch=` and `?tag=`; `None` for what the
    /// repository's HEAD is.
    pub reference: Option<String>,
    /// Directory of the repository, clean, without slashes at its ends; `None` for all of it.
    pub subdir: Option<String>,
    /// The commit's hash, or the beginning of it.
    pub checksum: Option<String>,
    /// `.git` stays.
    pub keep_git_dir: bool,
    /// Submodules are fetched too.
    pub submodules: bool,
    /// Files have the time of the commit instead of that of the checkout.
    pub commit_times: bool,
}

/// Why an address that is a repository's cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitSourceError {
    /// `?depth=1`
    #[error(
        "unexpected query {0:?}: use ref, branch, tag, subdir, checksum, keep-git-dir, submodules or mtime"
    )]
    Unexpected(String),
    /// Two different values for one thing.
    #[error("{what} conflicts: {first:?} vs {second:?}")]
    Conflict {
        /// `ref`, `subdir`, `checksum`
        what: &'static str,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A value that means nothing.
    #[error("invalid {what} {value:?}: {wanted}")]
    Value {
        /// `subdir`
        what: &'static str,
        /// As written.
        value: String,
        /// What would be right.
        wanted: &'static str,
    },
}

impl GitSource {
    /// `None` if the text is no repository's address. For http and https the path must end in `.git`.
    pub fn parse(text: &str) -> Result<Option<Self>, GitSourceError> {
        if !is_repository(text) {
            return Ok(None);
        }
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (remote, query) = address.split_once('?').unwrap_or((address, ""));
        let mut source = Self {
            remote: remote.to_owned(),
            reference: None,
            subdir: None,
            checksum: None,
            keep_git_dir: false,
            submodules: true,
            commit_times: false,
        };
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        agree(&mut source.reference, "ref", non_empty(reference))?;
        agree(&mut source.subdir, "subdir", non_empty(subdir))?;
        for field in query.split('&').filter(|field| !field.is_empty()) {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            source.set(key, &decode(value, true))?;
        }
        source.check()?;
        Ok(Some(source))
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), GitSourceError> {
        match key {
            "ref" => agree(&mut self.reference, "ref", non_empty(value)),
            "branch" => agree(&mut self.reference, "ref", Some(format!("refs/heads/{value}"))),
            "tag" => agree(&mut self.reference, "ref", Some(format!("refs/tags/{value}"))),
            "subdir" => agree(&mut self.subdir, "subdir", non_empty(value)),
            "checksum" | "commit" => agree(&mut self.checksum, "checksum", non_empty(value)),
            "keep-git-dir" => truth("keep-git-dir", value).map(|set| self.keep_git_dir = set),
            "submodules" => truth("submodules", value).map(|set| self.submodules = set),
            // A hint of how to ask, which does not change what is got.
            "fetch-by-commit" => truth("fetch-by-commit", value).map(drop),
            "mtime" => match value {
                "checkout" | "commit" => {
                    self.commit_times = value == "commit";
                    Ok(())
                }
                _ => Err(bad("mtime", value, "use checkout or commit")),
            },
            other => Err(GitSourceError::Unexpected(other.to_owned())),
        }
    }

    /// `ADD --checksum`: must agree with the address.
    pub fn with_checksum(mut self, checksum: &str) -> Result<Self, GitSourceError> {
        agree(&mut self.checksum, "checksum", non_empty(checksum))?;
        self.check()?;
        Ok(self)
    }

    /// Whether the reference is a whole commit hash, which never means another commit.
    pub fn is_pinned(&self) -> bool {
        self.reference.as_deref().is_some_and(is_commit)
    }

    fn check(&mut self) -> Result<(), GitSourceError> {
        // Nothing may be taken for an option by git or ssh.
        let host = self.remote.split_once("://").map_or(self.remote.as_str(), |(_, rest)| rest);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if host.starts_with('-') || host.is_empty() {
            return Err(bad("repository", &self.remote, "its host cannot begin with -"));
        }
        if let Some(reference) = &self.reference
            && (reference.starts_with('-') || reference.contains([' ', '\n', '\t', '\\', '^', '~', '*', '[']))
        {
            return Err(bad("ref", reference, "use a branch, a tag or a commit"));
        }
        if let Some(subdir) = self.subdir.take() {
            let mut parts: Vec<&str> = Vec::new();
            for part in subdir.split('/') {
                match part {
                    "" | "." => {}
                    ".." => return Err(bad("subdir", &subdir, "it cannot leave the repository")),
                    part => parts.push(part),
                }
            }
            self.subdir = non_empty(&parts.join("/"));
        }
        match &self.checksum {
            Some(checksum) if !is_prefix(checksum) => {
                Err(bad("checksum", checksum, "use a commit hash, or the beginning of one"))
            }
            _ => Ok(()),
        }
    }
}

/// A whole SHA-1 or SHA-256 in hexadecimal.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_prefix(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `user@host:path`, `ssh://`, `git://`, and http(s) whose path ends in `.git` (`spec/build.md` 2.6).
fn is_repository(text: &str) -> bool {
    if text.starts_with("git://") || text.starts_with("ssh://") {
        return true;
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        return text.split(['#', '?']).next().is_some_and(|address| address.ends_with(".git"));
    }
    let word = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    text.split_once(':')
        .and_then(|(login, _)| login.split_once('@'))
        .is_some_and(|(user, host)| word(user, "-_.") && word(host, "-."))
}

fn agree(slot: &mut Option<String>, what: &'static str, value: Option<String>) -> Result<(), GitSourceError> {
    match (slot.as_deref(), value) {
        (_, None) => Ok(()),
        (Some(first), Some(second)) if first != second => {
            Err(GitSourceError::Conflict { what, first: first.to_owned(), second })
        }
        (_, value) => {
            *slot = value;
            Ok(())
        }
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn truth(what: &'static str, value: &str) -> Result<bool, GitSourceError> {
    match value.to_ascii_lowercase().as_str() {
        "" | "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(bad(what, value, "use true or false")),
    }
}

fn bad(what: &'static str, value: &str, wanted: &'static str) -> GitSourceError {
    GitSourceError::Value { what, value: value.to_owned(), wanted }
}

/// `%2F` is `/`, and in a query `+` a blank.
pub(crate) fn decode(text: &str, query: bool) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(match escaped {
            Some(byte) => byte,
            None if query && *first == b'+' => b' ',
            None => *first,
        });
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> GitSource {
        GitSource::parse(text).expect("valid").expect("a repository")
    }

    #[test]
    fn repositories_are_told_from_files() {
        for git in [
            "git@h:p",
            "some.user@h.example:p/q.git",
            "ssh://h/p",
            "git://h/p",
            "https://h/p.git#main:sub",
            "http://h/p.git?ref=x",
        ] {
            assert!(GitSource::parse(git).expect("valid").is_some(), "{git}");
        }
        for other in
            ["https://h/p", "https://h/p.gitx", "a.git", "git", "./a@b:c", "a b@c:d", "file:///x.git"]
        {
            assert_eq!(GitSource::parse(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn fragments_and_queries_say_the_same() {
        let fragment = parse("https://h/p.git#v1:a//b/./c/");
        assert_eq!(fragment.remote, "https://h/p.git");
        assert_eq!(fragment.reference.as_deref(), Some("v1"));
        assert_eq!(fragment.subdir.as_deref(), Some("a/b/c"));
        assert!(fragment.submodules && !fragment.keep_git_dir && !fragment.commit_times);
        assert_eq!(parse("https://h/p.git?ref=v1&subdir=a%2Fb%2Fc"), fragment);
        assert_eq!(parse("git@h:p#:sub").subdir.as_deref(), Some("sub"));
        assert_eq!(parse("git@h:p").reference, None);
        let query = parse(
            "https://h/p.git?branch=main&checksum=abcdef12&keep-git-dir=1&submodules=false&mtime=commit",
        );
        assert_eq!(query.reference.as_deref(), Some("refs/heads/main"));
        assert_eq!(query.checksum.as_deref(), Some("abcdef12"));
        assert!(query.keep_git_dir && !query.submodules && query.commit_times);
        assert_eq!(parse("https://h/p.git?tag=v1").reference.as_deref(), Some("refs/tags/v1"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let fault = |text: &str| GitSource::parse(text).expect_err(text).to_string();
        assert_eq!(
            fault("https://h/p.git?depth=1"),
            "unexpected query \"depth\": use ref, branch, tag, subdir, checksum, keep-git-dir, submodules or mtime"
        );
        assert_eq!(fault("https://h/p.git?ref=a#b"), "ref conflicts: \"b\" vs \"a\"");
        assert_eq!(
            fault("https://h/p.git?tag=a&branch=a"),
            "ref conflicts: \"refs/tags/a\" vs \"refs/heads/a\""
        );
        assert!(fault("https://h/p.git#x:../y").contains("cannot leave the repository"));
        assert!(fault("https://h/p.git#--upload-pack=x").contains("use a branch"));
        assert!(fault("ssh://-oProxyCommand=x/p").contains("cannot begin with -"));
        assert!(fault("ssh://u@-oProxyCommand=x/p").contains("cannot begin with -"));
        assert!(fault("https://h/p.git?checksum=xyz1").contains("commit hash"));
        assert!(fault("https://h/p.git?submodules=maybe").contains("true or false"));
    }

    #[test]
    fn the_flag_and_the_address_agree() {
        let source = parse("https://h/p.git?checksum=abcd");
        assert!(source.clone().with_checksum("abcd").is_ok());
        assert!(source.with_checksum("abce").is_err());
        assert!(parse("https://h/p.git").with_checksum("-x").is_err());
    }

    #[test]
    fn only_a_whole_hash_is_pinned() {
        assert!(parse(&format!("https://h/p.git#{}", "a".repeat(40))).is_pinned());
        assert!(!parse("https://h/p.git#abcdef0").is_pinned());
        assert!(!parse("https://h/p.git").is_pinned());
    }
}
