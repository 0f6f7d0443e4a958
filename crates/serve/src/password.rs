//! Who may use the registry: a file as `htpasswd -B` writes it.

use crate::threads::blocking;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err::File;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// For a file without names: fits no password.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuQxQ0bGxPkXGZQTEwGsiQPlCv5hTqKDe";
/// Accepted credentials that are remembered.
const REMEMBERED: usize = 1024;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line that is no `name:hash`, or another kind of hash.
    #[error("{} line {line}: expected NAME:HASH as `htpasswd -B` writes it (bcrypt)", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// Names with their hashes, and what was verified of late.
#[derive(Debug)]
pub(crate) struct Passwords(Arc<Inner>);

struct Inner {
    hashes: HashMap<String, String>,
    /// Bcrypt is slow on purpose, and a push has hundreds of requests: what was accepted once is known by a keyed
    /// hash that is good for this process only.
    accepted: Mutex<HashSet<[u8; 32]>>,
    key: [u8; 32],
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("names", &self.hashes.len()).finish_non_exhaustive()
    }
}

impl Passwords {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, PasswordError> {
        let text = fs_err::read_to_string(path)?;
        let mut hashes = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = || PasswordError::Line { path: path.to_owned(), line: number + 1 };
            let (name, hash) = line.split_once(':').ok_or_else(bad)?;
            if !["$2a$", "$2b$", "$2y$"].iter().any(|kind| hash.starts_with(kind)) || hash.len() != 60 {
                return Err(bad());
            }
            hashes.insert(name.to_owned(), hash.to_owned());
        }
        let mut key = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        Ok(Self(Arc::new(Inner { hashes, accepted: Mutex::default(), key })))
    }

    /// Whether the request may go on.
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> bool {
        let Some((name, password)) = credentials(headers) else { return false };
        let inner = self.0.clone();
        if inner.remembers(&inner.token(&name, &password)) {
            return true;
        }
        blocking(move || Ok::<_, io::Error>(inner.verify(&name, &password))).await.unwrap_or(false)
    }
}

impl Inner {
    fn token(&self, name: &str, password: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(password);
        hash.finalize().into()
    }

    fn remembers(&self, token: &[u8; 32]) -> bool {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).contains(token)
    }

    fn verify(&self, name: &str, password: &str) -> bool {
        let hash = self.hashes.get(name);
        // A name that is not in the file takes as long as one that is.
        let compared = hash.or_else(|| self.hashes.values().next()).map_or(NOBODY, String::as_str);
        let fits = bcrypt::verify(password, compared).unwrap_or(false);
        if !fits || hash.is_none() {
            return false;
        }
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        if accepted.len() >= REMEMBERED {
            accepted.clear();
        }
        accepted.insert(self.token(name, password));
        true
    }
}

/// Name and password of a `Basic` authorization.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(token.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `htpasswd -nbB alice secret`, at the lowest cost.
    const ALICE: &str = "alice:$2b$04$";

    #[test]
    fn lines_that_are_no_bcrypt_are_refused_by_number() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let refused = |text: &str| {
            fs_err::write(file.path(), text).expect("writable");
            Passwords::read(file.path()).expect_err(text).to_string()
        };
        for (text, line) in [("alice", 1), ("# x\n\nalice:{SHA}abc", 3), (ALICE, 1), ("a:$apr1$x$y", 1)] {
            assert!(refused(text).contains(&format!("line {line}:")), "{text}");
        }
    }

    #[test]
    fn only_the_right_password_of_a_known_name_fits() {
        let hash = bcrypt::hash("secret", 4).expect("a hash");
        let inner = Inner {
            hashes: HashMap::from([("alice".to_owned(), hash)]),
            accepted: Mutex::default(),
            key: [7; 32],
        };
        assert!(!inner.verify("alice", "wrong") && !inner.verify("bob", "secret"));
        let token = inner.token("alice", "secret");
        assert!(!inner.remembers(&token));
        assert!(inner.verify("alice", "secret") && inner.remembers(&token));
        assert_ne!(token, inner.token("alices", "ecret"));
        assert!(bcrypt::verify("x", NOBODY).is_ok(), "the hash of nobody is a hash");
    }
}
