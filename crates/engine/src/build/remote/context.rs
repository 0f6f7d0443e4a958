//! Contexts and Dockerfiles that are somewhere else.
use super::{Fetched, Fetcher, RemoteError, Surroundings};
use crate::build::{Secret, TarContext};
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::io::Read;
use std::sync::atomic::AtomicBool;
use strata_build::{CopySource, GitSource, GitSourceError, file_name};
use strata_layer::tree::SourceTree;

/// Largest Dockerfile that is read from elsewhere.
const LARGEST: u64 = 16 << 20;
/// What BuildKit calls a downloaded context.
const NAME: &str = "context";

/// What was at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteContext {
    /// The files of a repository or of an archive.
    Files(TarContext),
    /// One file, which is then the Dockerfile of an empty context.
    Dockerfile(Vec<u8>),
}

/// Fetches for a build that is only being prepared.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a> {
    /// How the network is reached.
    pub surroundings: &'a Surroundings,
    /// Credentials: `HTTP_AUTH_TOKEN_<host>`, `GIT_AUTH_TOKEN` and their like.
    pub secrets: &'a [Secret],
    /// Ends what is under way.
    pub cancel: &'a AtomicBool,
    /// Files of repositories get the time of their commit: with `SOURCE_DATE_EPOCH`.
    pub commit_times: bool,
}

/// Whether a context is an address and not a path: http(s), a git repository, or `github.com/…`.
pub fn is_remote(text: &str) -> bool {
    is_http(text) || text.starts_with("github.com/") || !matches!(GitSource::parse(text), Ok(None))
}

fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The repository that a context's address means.
fn repository(text: &str, keep_git_dir: bool) -> Result<Option<GitSource>, GitSourceError> {
    let text = match text.strip_prefix("github.com/") {
        Some(rest) => {
            let end = rest.find(['?', '#']).unwrap_or(rest.len());
            let (path, more) = rest.split_at(end);
            format!("https://github.com/{}.git{more}", path.trim_end_matches('/').trim_end_matches(".git"))
        }
        None => text.to_owned(),
    };
    let source = GitSource::parse(&text)?;
    Ok(source.map(|source| GitSource { keep_git_dir: source.keep_git_dir || keep_git_dir, ..source }))
}

impl Engine {
    /// The main context at an address. An http answer that is an archive, compressed or not, is a context; any other is a
    /// Dockerfile.
    pub fn remote_context(
        &self,
        address: &str,
        keep_git_dir: bool,
        remote: Remote<'_>,
    ) -> Result<RemoteContext, EngineError> {
        let fetcher = self.fetcher(remote)?;
        if let Some(source) = repository(address, keep_git_dir).map_err(refused)? {
            return Ok(RemoteContext::Files(fetcher.checkout(source, remote.commit_times)?));
        }
        let file = fetcher.file(address, NAME, None)?;
        let mut head = Vec::new();
        open(&file)?.take(512).read_to_end(&mut head)?;
        if crate::build::is_archive(&head) {
            let time = downloaded(&file)?;
            return Ok(RemoteContext::Files(self.tar_context(open(&file)?)?.dated(time)));
        }
        Ok(RemoteContext::Dockerfile(read(&file, address)?))
    }

    /// A `--build-context` at an address: a repository's files, or as in BuildKit the one file of a URL as it is.
    pub fn remote_files(&self, address: &str, remote: Remote<'_>) -> Result<TarContext, EngineError> {
        let fetcher = self.fetcher(remote)?;
        if let Some(source) = repository(address, false).map_err(refused)? {
            return fetcher.checkout(source, remote.commit_times);
        }
        let file = fetcher.file(address, &file_name(address), None)?;
        let time = downloaded(&file)?;
        Ok(fetcher.stored(file).dated(time))
    }

    /// A Dockerfile at a URL (`-f https://…`).
    pub fn remote_dockerfile(&self, url: &str, remote: Remote<'_>) -> Result<Vec<u8>, EngineError> {
        let fetcher = self.fetcher(remote)?;
        read(&fetcher.file(url, NAME, None)?, url)
    }

    fn fetcher<'a>(&'a self, remote: Remote<'a>) -> Result<Fetcher<'a>, EngineError> {
        let lease = self.store().leases().acquire()?;
        Ok(Fetcher::new(self, remote.surroundings, remote.secrets, lease, remote.cancel))
    }
}

impl Fetcher<'_> {
    /// When what an ADD takes was made: that of the commit, the server's `Last-Modified`, or else that of the newest file
    /// in an archive. `None` if nothing says.
    pub(in crate::build) fn time_of(&self, source: &CopySource) -> Result<Option<Timestamp>, EngineError> {
        let fetched = self.fetch(source)?;
        let seconds = match source {
            CopySource::Http { .. } => match downloaded(&fetched)? {
                Some(seconds) => Some(seconds),
                None => self.newest_packed(&fetched),
            },
            _ => newest(&fetched)?,
        };
        Ok(seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()))
    }

    /// The newest regular file of an archive; `None` if it is none.
    fn newest_packed(&self, file: &Fetched) -> Option<i64> {
        let mut head = Vec::new();
        open(file).ok()?.take(512).read_to_end(&mut head).ok()?;
        if !crate::build::is_archive(&head) {
            return None;
        }
        let files = self.engine.tar_context(open(file).ok()?).ok()?.files();
        let entries = SourceTree::walk(&*files, b"", None).ok()?;
        entries.iter().filter(|(_, entry)| entry.is_file()).map(|(_, entry)| entry.metadata.mtime).max()
    }

    /// A repository's files; with their commit's time, the context has it too.
    fn checkout(&self, source: GitSource, commit_times: bool) -> Result<TarContext, EngineError> {
        let commit_times = source.commit_times || commit_times;
        let fetched = self.repository(&GitSource { commit_times, ..source })?;
        let time = if commit_times { newest(&fetched)? } else { None };
        Ok(self.stored(fetched).dated(time))
    }

    fn stored(&self, fetched: Fetched) -> TarContext {
        TarContext::new(fetched.diff_id, fetched.files, self.lease.clone())
    }
}

fn refused(error: GitSourceError) -> EngineError {
    EngineError::Invalid(format!("unable to prepare context: {error}"))
}

/// The time of the newest file.
fn newest(fetched: &Fetched) -> Result<Option<i64>, EngineError> {
    let entries = SourceTree::walk(&*fetched.files, b"", None);
    let entries = entries.map_err(|error| EngineError::layer("cannot read what was fetched", error))?;
    Ok(entries.iter().map(|(_, entry)| entry.metadata.mtime).max())
}

/// `Last-Modified` of a downloaded file; `None` if the server did not say.
fn downloaded(file: &Fetched) -> Result<Option<i64>, EngineError> {
    Ok(newest(file)?.filter(|seconds| *seconds != 0))
}

/// A fetched file's bytes.
fn open(file: &Fetched) -> Result<Box<dyn Read + Send + '_>, EngineError> {
    let unreadable = |error| EngineError::layer("cannot read what was fetched", error);
    let found = SourceTree::entry(&*file.files, file.path.as_bytes()).map_err(unreadable)?;
    let entry = found.ok_or_else(|| EngineError::Invalid(format!("{} is not there", file.path)))?;
    SourceTree::open(&*file.files, file.path.as_bytes(), &entry).map_err(unreadable)
}

fn read(file: &Fetched, address: &str) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::new();
    open(file)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(RemoteError::TooLarge { url: strata_http::redact(address), limit: LARGEST }.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for address in [
            "https://h/x.tar.gz",
            "http://h",
            "git@h:p.git",
            "ssh://h/p",
            "git://h/p",
            "github.com/moby/buildkit",
            "https://h/p.git?depth=1",
        ] {
            assert!(is_remote(address), "{address}");
        }
        for path in [".", "..", "a/b", "/x", "./github.com/x", "p.git", "file:///x", "-"] {
            assert!(!is_remote(path), "{path}");
        }
    }

    #[test]
    fn github_may_be_short() {
        let source =
            repository("github.com/moby/buildkit#v1:sub", true).expect("valid").expect("a repository");
        assert_eq!(source.remote, "https://github.com/moby/buildkit.git");
        assert_eq!((source.reference.as_deref(), source.subdir.as_deref()), (Some("v1"), Some("sub")));
        assert!(source.keep_git_dir);
        let source = repository("github.com/moby/buildkit.git", false).expect("valid").expect("a repository");
        assert_eq!(source.remote, "https://github.com/moby/buildkit.git");
    }
}
