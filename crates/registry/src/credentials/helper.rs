//! Credential helpers: programs named `docker-credential-*`, asked on their standard input (the protocol of
//! docker-credential-helpers).
use super::{Credential, CredentialsError, Secret, TOKEN_USER};
use crate::text::printable;
use serde::{Deserialize, Serialize};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// What the helpers say, with exit code 1, when they have nothing.
const NOT_FOUND: &str = "credentials not found";
const LONGEST_ANSWER: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server: String,
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// One run of a helper.
struct Call<'a> {
    helper: &'a str,
    verb: &'static str,
    server: &'a str,
    /// The configuration file that names the helper, for messages.
    file: &'a Path,
}

/// What the helper keeps for this registry.
pub(super) fn get(helper: &str, server: &str, file: &Path) -> Result<Option<Credential>, CredentialsError> {
    let call = Call { helper, verb: "get", server, file };
    let (success, answer) = call.run(server.as_bytes())?;
    if !success {
        let message = String::from_utf8_lossy(&answer);
        return if message.contains(NOT_FOUND) { Ok(None) } else { Err(call.failed(&message)) };
    }
    // Not even the position in the text is told: the text holds the secret.
    let entry: Entry = serde_json::from_slice(&answer).map_err(|_| call.failed("its answer is not JSON"))?;
    Ok(match (entry.username.as_str(), entry.secret) {
        (_, secret) if secret.is_empty() => None,
        (TOKEN_USER, secret) => Some(Credential::Identity { username: None, token: Secret::new(secret) }),
        (username, secret) => Some(Credential::password(username, secret)),
    })
}

/// Has the helper keep a login.
pub(super) fn store(
    helper: &str,
    server: &str,
    credential: &Credential,
    file: &Path,
) -> Result<(), CredentialsError> {
    let (username, secret) = match credential {
        Credential::Password { username, password } => (username.as_str(), password),
        Credential::Identity { token, .. } | Credential::Bearer(token) => (TOKEN_USER, token),
    };
    let entry = Entry {
        server: server.to_owned(),
        username: username.to_owned(),
        secret: secret.reveal().to_owned(),
    };
    let input = serde_json::to_vec(&entry).expect("three strings are JSON");
    let call = Call { helper, verb: "store", server, file };
    let (success, answer) = call.run(&input)?;
    if success { Ok(()) } else { Err(call.failed(&String::from_utf8_lossy(&answer))) }
}

/// Has the helper forget a login. That it knew none is no error.
pub(super) fn erase(helper: &str, server: &str, file: &Path) -> Result<(), CredentialsError> {
    let call = Call { helper, verb: "erase", server, file };
    let (success, answer) = call.run(server.as_bytes())?;
    let message = String::from_utf8_lossy(&answer);
    if success || message.contains(NOT_FOUND) { Ok(()) } else { Err(call.failed(&message)) }
}

impl Call<'_> {
    fn run(&self, input: &[u8]) -> Result<(bool, Vec<u8>), CredentialsError> {
        // The name comes from a file: it must not become a path.
        if self.helper.contains('/') {
            return Err(self.failed("a helper's name must not contain /"));
        }
        let program = format!("docker-credential-{}", self.helper);
        let spawned =
            Command::new(&program).arg(self.verb).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CredentialsError::NoHelper {
                    helper: self.helper.to_owned(),
                    file: self.file.to_owned(),
                });
            }
            Err(error) => return Err(self.failed(&error.to_string())),
        };
        let mut stdin = child.stdin.take().expect("it was asked for");
        // A helper that does not read its input says why in its answer.
        let _ = stdin.write_all(input);
        drop(stdin);
        let mut answer = Vec::new();
        let stdout = child.stdout.take().expect("it was asked for");
        let read = stdout.take(LONGEST_ANSWER).read_to_end(&mut answer);
        let status = child.wait();
        let outcome = read.and(status);
        let status = outcome.map_err(|error| self.failed(&error.to_string()))?;
        Ok((status.success(), answer))
    }

    fn failed(&self, message: &str) -> CredentialsError {
        let message = printable(message.trim(), 400);
        CredentialsError::Helper {
            helper: self.helper.to_owned(),
            verb: self.verb,
            server: self.server.to_owned(),
            message: if message.is_empty() { "it failed without a word".to_owned() } else { message },
        }
    }
}
