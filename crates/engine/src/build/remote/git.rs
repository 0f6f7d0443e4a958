//! A repository: which commit is meant, fetched as little as the server allows, checked out, kept.
use super::program::{Git, Said};
use super::record::{Record, key};
use super::{Fetched, Fetcher, RemoteError, shown};
use crate::EngineError;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::path::Path;
use strata_build::GitSource;
use strata_oci::Digest;

impl Fetcher<'_> {
    /// The files of a repository in a layer of their own.
    pub(super) fn repository(&self, source: &GitSource) -> Result<Fetched, EngineError> {
        let scratch = self.engine.store().layers().begin(&self.lease)?;
        let directory = scratch.path().join("repository");
        fs_err::create_dir(&directory)?;
        let pinned = source.reference.as_deref().filter(|_| source.is_pinned()).map(str::to_lowercase);
        let (commit, git) = match pinned {
            Some(commit) => (commit, None),
            None => {
                let git = Git::new(self, &directory, &source.remote)?;
                (resolve(&git, source)?, Some(git))
            }
        };
        check(source, &commit)?;
        let flags = format!(
            "keep-git-dir={} submodules={} commit-times={}",
            source.keep_git_dir, source.submodules, source.commit_times
        );
        let subdir = source.subdir.as_deref().unwrap_or_default();
        let key = key(&["git", &shown(source), &commit, subdir, &flags]);
        // What `.git` holds depends on the day it was fetched; what is meant by it does not.
        let identity = keeps_git_dir(source).then(|| Digest::of(format!("{commit} {flags}").as_bytes()));
        if let Some(known) = self.recorded(&key)? {
            return self.again(&key, &known, "", identity);
        }
        let git = match git {
            Some(git) => git,
            None => Git::new(self, &directory, &source.remote)?,
        };
        let work = Checkout { git: &git, source, commit: &commit, directory: &directory };
        work.fetch()?;
        work.check_out()?;
        let time = if source.commit_times { Some(work.commit_time()?) } else { None };
        work.clean()?;
        if let Some(time) = time {
            set_times(&directory, time)?;
        }
        if !subdir.is_empty() && !is_directory(&directory, subdir) {
            let (url, subdir) = (shown(source), subdir.to_owned());
            return Err(RemoteError::Subdir { url, subdir, commit }.into());
        }
        let layer = self.keep(&directory, subdir, true)?;
        let record = Record { layer, etag: None, modified: None, digest: None };
        self.remember(&key, &record, "", identity)
    }
}

/// BuildKit keeps `.git` only of a whole repository.
fn keeps_git_dir(source: &GitSource) -> bool {
    source.keep_git_dir && source.subdir.is_none()
}

/// Without following links: a repository cannot send us elsewhere.
fn is_directory(root: &Path, subdir: &str) -> bool {
    let mut path = root.to_owned();
    subdir.split('/').all(|part| {
        path.push(part);
        path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
    })
}

fn failed(source: &GitSource, what: &'static str, said: &Said) -> EngineError {
    // git may repeat the address, and in it a password.
    let text = said.stderr.replace(&source.remote, &shown(source));
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(5)..];
    let mut message = last.join("; ");
    if message.contains("Permission denied (publickey") {
        message.push_str(" (give a key or an agent: --ssh default)");
    } else if message.contains("could not read Username") || message.contains("Authentication failed") {
        message.push_str(" (give a token: --secret id=GIT_AUTH_TOKEN,…)");
    }
    RemoteError::Git { url: shown(source), what, message }.into()
}

/// The commit that a reference means now. A branch wins over a tag of the same name, as in a checkout.
fn resolve(git: &Git<'_>, source: &GitSource) -> Result<String, EngineError> {
    let name = source.reference.as_deref().unwrap_or("HEAD");
    let said = git.run(&["ls-remote", "--quiet", "--", &source.remote, name, &format!("{name}^{{}}")])?;
    if !said.success {
        return Err(failed(source, "read references", &said));
    }
    let found = |wanted: &str| {
        let line = said.stdout.lines().filter_map(|line| line.split_once('\t'));
        line.clone().find(|(_, name)| *name == wanted).map(|(commit, _)| commit.to_owned())
    };
    let short = name.strip_prefix("refs/").unwrap_or(name);
    let candidates = [
        format!("refs/heads/{name}"),
        format!("refs/tags/{name}^{{}}"),
        format!("refs/tags/{name}"),
        format!("{name}^{{}}"),
        name.to_owned(),
        format!("refs/{short}"),
    ];
    candidates
        .iter()
        .find_map(|candidate| found(candidate))
        .ok_or_else(|| RemoteError::NoReference { url: shown(source), reference: name.to_owned() }.into())
}

fn check(source: &GitSource, commit: &str) -> Result<(), EngineError> {
    match &source.checksum {
        Some(wanted) if !commit.starts_with(&wanted.to_lowercase()) => {
            Err(RemoteError::Commit { url: shown(source), wanted: wanted.clone(), found: commit.to_owned() }
                .into())
        }
        _ => Ok(()),
    }
}

/// A commit on its way to files.
struct Checkout<'a> {
    git: &'a Git<'a>,
    source: &'a GitSource,
    commit: &'a str,
    directory: &'a Path,
}

impl Checkout<'_> {
    fn ran(&self, what: &'static str, arguments: &[&str]) -> Result<Said, EngineError> {
        let said = self.git.run(arguments)?;
        if said.success { Ok(said) } else { Err(failed(self.source, what, &said)) }
    }

    /// This one commit where the server gives single commits; otherwise (dumb HTTP, old servers) all branches and tags.
    fn fetch(&self) -> Result<(), EngineError> {
        let hash = if self.commit.len() == 64 { "sha256" } else { "sha1" };
        self.ran("prepare", &["init", "--quiet", "--template=", &format!("--object-format={hash}"), "."])?;
        self.ran("prepare", &["remote", "add", "origin", "--", &self.source.remote])?;
        let one =
            ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "origin", self.commit];
        if self.git.run(&one)?.success {
            return Ok(());
        }
        let all = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
            "+refs/tags/*:refs/tags/*",
        ];
        self.ran("fetch", &all)?;
        let there = self.git.run(&["cat-file", "-e", &format!("{}^{{commit}}", self.commit)])?;
        if there.success {
            return Ok(());
        }
        let (url, reference) = (shown(self.source), self.commit.to_owned());
        Err(RemoteError::NoReference { url, reference }.into())
    }

    fn check_out(&self) -> Result<(), EngineError> {
        self.ran("check out", &["checkout", "--quiet", "--force", "--detach", self.commit])?;
        if self.source.submodules && self.directory.join(".gitmodules").symlink_metadata().is_ok() {
            let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
            let shallow = [&update[..], &["--depth=1"]].concat();
            if !self.git.run(&shallow)?.success {
                self.ran("fetch submodules", &update)?;
            }
        }
        Ok(())
    }

    /// Seconds since 1970.
    fn commit_time(&self) -> Result<i64, EngineError> {
        let said = self.ran("read the commit", &["show", "--no-patch", "--format=%ct", self.commit])?;
        Ok(said.stdout.trim().parse().unwrap_or(0))
    }

    /// Leaves nothing in `.git` of how it was fetched, or no `.git` at all.
    fn clean(&self) -> Result<(), EngineError> {
        let own = self.directory.join(".git");
        if !keeps_git_dir(self.source) {
            fs_err::remove_dir_all(&own)?;
            return remove_links_to_repositories(self.directory);
        }
        self.ran("clean up", &["remote", "set-url", "origin", "--", &shown(self.source)])?;
        for name in ["FETCH_HEAD", "ORIG_HEAD"] {
            remove(fs_err::remove_file(own.join(name)))?;
        }
        remove(fs_err::remove_dir_all(own.join("logs")))
    }
}

/// Of everything, when nothing is changed any more.
fn set_times(path: &Path, seconds: i64) -> Result<(), EngineError> {
    if path.symlink_metadata()?.is_dir() {
        for entry in fs_err::read_dir(path)? {
            set_times(&entry?.path(), seconds)?;
        }
    }
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from)?;
    Ok(())
}

/// A submodule's `.git` is a file that names a directory of the one that is gone.
fn remove_links_to_repositories(directory: &Path) -> Result<(), EngineError> {
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            remove_links_to_repositories(&entry.path())?;
        } else if entry.file_name() == ".git" {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove(outcome: std::io::Result<()>) -> Result<(), EngineError> {
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
