//! Who the user is on which registry: `config.json` as Docker and podman keep it, and credential helpers.
//!
//! Secrets live in [`Secret`], which no message prints. They leave this process on a helper's standard input, in the
//! configuration file, and in an `Authorization` header or token request to the registry they belong to.

mod file;
mod helper;

use crate::Repository;
use file::ConfigFile;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// What Docker Hub's credentials are filed under since its first version.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB: &str = "docker.io";
/// The user name by which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` out of messages from here on.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a user shows who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Name and password (or a personal access token in its place).
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token that a token server gave out at login.
    Identity {
        /// The name it was given to, if that is known.
        username: Option<String>,
        /// The token.
        token: Secret,
    },
    /// A bearer token that is shown to the registry as it is.
    Bearer(Secret),
}

impl Credential {
    /// Name and password.
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Password { username: username.into(), password: Secret::new(password) }
    }

    /// The user's name, where there is one.
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Password { username, .. } => Some(username),
            Self::Identity { username, .. } => username.as_deref(),
            Self::Bearer(_) => None,
        }
    }
}

/// Why credentials could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The configuration file could not be read or written; the error names it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The configuration file is not what it should be.
    #[error("{}: {reason}; correct the file, or move it away and log in again", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A helper that the configuration names is not installed.
    #[error("credential helper docker-credential-{helper} was not found in $PATH: install it, or remove it from {}", file.display())]
    NoHelper {
        /// The helper's name without `docker-credential-`.
        helper: String,
        /// The file that names it.
        file: PathBuf,
    },
    /// A helper failed.
    #[error("docker-credential-{helper} {verb} for {server}: {message}")]
    Helper {
        /// The helper's name without `docker-credential-`.
        helper: String,
        /// `get`, `store` or `erase`.
        verb: &'static str,
        /// The registry it was asked for.
        server: String,
        /// What it said.
        message: String,
    },
    /// There is no file to keep credentials in.
    #[error("there is no place to keep credentials: set DOCKER_CONFIG or HOME")]
    NoFile,
}

/// Where a login was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// In this file, in the clear.
    File(PathBuf),
    /// With the helper of this name.
    Helper(String),
}

/// Sources of credentials, asked in order.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    given: BTreeMap<String, Credential>,
    files: Vec<PathBuf>,
}

impl Credentials {
    /// No credentials at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Configuration files (`~/.docker/config.json`, the value of `REGISTRY_AUTH_FILE`), the first that knows a
    /// registry deciding. A login is kept in the first one. Files that do not exist are empty.
    pub fn from_files(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { given: BTreeMap::new(), files: files.into_iter().collect() }
    }

    /// Also these credentials for `host`, before all files.
    #[must_use]
    pub fn with(mut self, host: &str, credential: Credential) -> Self {
        self.given.insert(canonical(host).to_owned(), credential);
        self
    }

    /// What to show for a repository: what is filed under the longest part of its name, else under its registry.
    pub fn find(&self, repository: &Repository) -> Result<Option<Credential>, CredentialsError> {
        self.search(repository.host(), Some(repository.path()))
    }

    /// What to show a registry.
    pub fn find_host(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        self.search(host, None)
    }

    fn search(&self, host: &str, path: Option<&str>) -> Result<Option<Credential>, CredentialsError> {
        if let Some(given) = self.given.get(canonical(host)) {
            return Ok(Some(given.clone()));
        }
        for file in &self.files {
            if let Some(found) = search_file(file, host, path)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Keeps a login: with the helper the first file names for this registry, else in that file, which keeps every
    /// key it has and gets mode 0600.
    pub fn store(&self, host: &str, credential: &Credential) -> Result<Keeper, CredentialsError> {
        let path = self.files.first().ok_or(CredentialsError::NoFile)?;
        let mut file = ConfigFile::lock(path)?;
        let key = file_key(host);
        let keeper = match file.helper_for(&key) {
            Some(helper) => {
                helper::store(&helper, &key, credential, path)?;
                file.mark(&key);
                Keeper::Helper(helper)
            }
            None => {
                file.put(&key, credential);
                Keeper::File(path.clone())
            }
        };
        file.save()?;
        Ok(keeper)
    }

    /// Forgets a registry in the first file and its helper. Returns whether there was anything to forget.
    pub fn erase(&self, host: &str) -> Result<bool, CredentialsError> {
        let path = self.files.first().ok_or(CredentialsError::NoFile)?;
        let mut file = ConfigFile::lock(path)?;
        let keys = file.keys_of(host);
        let mut found = !keys.is_empty();
        let key = file_key(host);
        if let Some(helper) = file.helper_for(&key) {
            for key in keys.iter().chain(std::iter::once(&key).filter(|key| !keys.contains(key))) {
                found |= helper::get(&helper, key, path)?.is_some();
                helper::erase(&helper, key, path)?;
            }
        }
        if !keys.is_empty() {
            file.remove(&keys);
            file.save()?;
        }
        Ok(found)
    }
}

fn search_file(
    path: &Path,
    host: &str,
    repository: Option<&str>,
) -> Result<Option<Credential>, CredentialsError> {
    let file = ConfigFile::read(path)?;
    if let Some(found) = repository.and_then(|repository| file.find_namespace(host, repository)) {
        return found.map(Some);
    }
    let key = file_key(host);
    if let Some(helper) = file.helper_for(&key)
        && let Some(found) = helper::get(&helper, &key, path)?
    {
        return Ok(Some(found));
    }
    file.find_host(host).transpose()
}

/// Under what a registry is filed: its host, but for Docker Hub its oldest URL.
fn file_key(host: &str) -> String {
    if canonical(host) == HUB { HUB_KEY.to_owned() } else { host.to_owned() }
}

/// One name for a registry that has several.
fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" | HUB_KEY => HUB,
        other => other,
    }
}

#[cfg(test)]
mod tests;
