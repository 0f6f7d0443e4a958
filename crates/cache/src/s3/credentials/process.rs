//! `credential_process`: a command of the user's that prints credentials.
use super::{Credentials, document};
use crate::s3::error::ProviderError;
use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Printed documents are small.
const LONGEST_ANSWER: u64 = 64 << 10;

/// A program may ask somebody for a finger on a key.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs it by the shell, as Amazon's kit for Go does. What it writes to its standard error is its user's to read, at once.
pub(super) fn run(command: &str) -> Result<Credentials, ProviderError> {
    let failed = |why: String| ProviderError::Process { why };
    let cannot = |error: io::Error| failed(format!("cannot be run: {error}"));
    let mut shell = Command::new("/bin/sh");
    let shell = shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = shell.spawn().map_err(cannot)?;
    let stdout = child.stdout.take().expect("it was asked for");
    let (done, answer) = mpsc::channel();
    // Something it has started may hold the pipe for longer than it lives itself.
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.take(LONGEST_ANSWER).read_to_end(&mut text);
        let _ = done.send(read.map(|_| text));
    });
    let answer = answer.recv_timeout(PATIENCE);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(cannot)?;
    let text = match answer {
        Ok(text) => text.map_err(cannot)?,
        Err(_) => return Err(failed(format!("printed nothing for {} seconds", PATIENCE.as_secs()))),
    };
    if !status.success() {
        return Err(failed(format!("failed ({status})")));
    }
    document::parse(&text, "the program of credential_process")
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn what_a_program_prints() {
        let found =
            run("echo '{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"s\"}'").unwrap();
        assert_eq!(found.access_key_id, "A");
        let said = |command| run(command).unwrap_err().to_string();
        assert_eq!(said("echo hidden; exit 3"), "the program of credential_process failed (exit status: 3)");
        let none = "the program of credential_process: what it gives is not the JSON of credentials";
        assert_eq!(said("echo hidden"), none);
    }
}
