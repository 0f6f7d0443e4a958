//! `--secret` and `--ssh`, and what of the environment reaches the network.

use super::request::bad;
use crate::failure::Failure;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use strata_engine::build::{Proxies, Secret, SecretSource, SshForward, SshSource, Surroundings};

/// BuildKit's limit.
const LARGEST_SECRET: u64 = 500 * 1024;

/// Proxies, programs and agents, as the user's environment has them.
pub(super) fn surroundings(ssh: &[String]) -> Result<Surroundings, Failure> {
    Ok(Surroundings {
        proxies: Proxies::from_variables(|name| std::env::var(name).ok()),
        search_path: std::env::var_os("PATH"),
        home: std::env::var_os("HOME").map(PathBuf::from),
        certificates: std::env::var_os("SSL_CERT_FILE").map(PathBuf::from),
        ssh: ssh.iter().map(|text| forward(text)).collect::<Result<_, _>>()?,
    })
}

/// `default`, `id`, `id=SOCKET`, `id=KEY[,KEY...]`; without a value the agent of this terminal.
fn forward(text: &str) -> Result<SshForward, Failure> {
    let (id, value) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { "default" } else { id }.to_owned();
    let paths: Vec<PathBuf> = value.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    if paths.is_empty() {
        let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
        let socket = socket.ok_or_else(|| {
            bad(format!(
                "invalid empty ssh agent socket for --ssh {text}: make sure SSH_AUTH_SOCK is set, or name a key: {id}=KEY"
            ))
        })?;
        return Ok(SshForward { id, source: SshSource::Agent(socket.into()) });
    }
    let is_socket = |path: &Path| path.metadata().map(|metadata| metadata.file_type().is_socket());
    let mut sockets = 0;
    for path in &paths {
        match is_socket(path) {
            Ok(socket) => sockets += usize::from(socket),
            Err(_) => {
                return Err(bad(format!("failed to stat {}: no such file or directory", path.display())));
            }
        }
    }
    let source = match (sockets, &paths[..]) {
        (1, [socket]) => SshSource::Agent(socket.clone()),
        (0, keys) => SshSource::Keys(keys.to_vec()),
        _ => {
            return Err(bad(format!(
                "--ssh {text}: only a single socket is allowed, without keys beside it"
            )));
        }
    };
    Ok(SshForward { id, source })
}

/// `id=x[,src=file|,env=VAR]`; without a source the variable named like the ID, or else the file.
pub(super) fn secret(text: &str) -> Result<Secret, Failure> {
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| bad(format!("invalid field '{field}' must be a key=value pair")))?;
        match key.to_lowercase().as_str() {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => file = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            "type" if matches!(value, "file" | "env") => kind = Some(value.to_owned()),
            "type" => return Err(bad(format!("unsupported secret type {value:?}: use file or env"))),
            _ => return Err(bad(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if kind.as_deref() == Some("env") && variable.is_none() {
        variable = file.take();
    }
    let id = id.or_else(|| variable.clone()).filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| bad(format!("secret {text:?} needs an id")))?;
    let from_environment = |name: &str| std::env::var(name).ok();
    let source = match (file, variable, kind.as_deref()) {
        (Some(path), _, _) => SecretSource::File(path.into()),
        // A variable that is not set is an empty secret, as it is for buildx.
        (None, Some(name), _) => SecretSource::Value(from_environment(&name).unwrap_or_default()),
        (None, None, Some("file")) => SecretSource::File(id.clone().into()),
        (None, None, _) => match from_environment(&id) {
            Some(value) => SecretSource::Value(value),
            None => SecretSource::File(id.clone().into()),
        },
    };
    if let SecretSource::File(path) = &source {
        let metadata = path
            .metadata()
            .map_err(|_| bad(format!("failed to stat {}: no such file or directory", path.display())))?;
        if metadata.len() > LARGEST_SECRET {
            return Err(bad(format!("secret {id} is too big: at most {LARGEST_SECRET} bytes are allowed")));
        }
    }
    Ok(Secret { id, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(outcome: Result<impl std::fmt::Debug, Failure>) -> String {
        outcome.expect_err("refused").to_string()
    }

    #[test]
    fn secrets() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_owned();
        let (shown, known) = (path.display().to_string(), SecretSource::File(path));
        for text in [
            format!("id=a,src={shown}"),
            format!("type=file,id=a,source={shown}"),
            format!("ID=a,SRC={shown}"),
        ] {
            let wanted = Secret { id: "a".to_owned(), source: known.clone() };
            assert_eq!(secret(&text).expect("valid"), wanted, "{text}");
        }
        let value = SecretSource::Value(std::env::var("PATH").expect("PATH is set"));
        for text in ["id=PATH", "id=x,env=PATH", "id=x,type=env,src=PATH", "type=env,id=PATH"] {
            assert_eq!(secret(text).expect("valid").source, value, "{text}");
        }
        let unset = secret("id=x,env=STRATA_IS_NOT_SET").expect("valid");
        assert_eq!(unset.source, SecretSource::Value(String::new()));
        assert!(fault(secret("id=/no/such/file")).contains("failed to stat /no/such/file"));
        assert!(fault(secret("type=file,id=PATH")).contains("failed to stat PATH"));
        assert!(fault(secret("id=a,type=vault")).contains("unsupported secret type \"vault\""));
        assert!(fault(secret("id")).contains("must be a key=value pair"));
        assert!(fault(secret("id=a,sauce=b")).contains("unexpected key 'sauce'"));
        file.as_file().set_len(LARGEST_SECRET + 1).expect("room");
        assert!(fault(secret(&format!("id=a,src={shown}"))).contains("too big"));
    }

    #[test]
    fn agents_and_keys() {
        let directory = tempfile::tempdir().expect("a directory");
        let (socket, key) = (directory.path().join("agent"), directory.path().join("key"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        fs_err::write(&key, "key").expect("a file");
        let (socket_text, key_text) = (socket.display().to_string(), key.display().to_string());
        let agent = forward(&format!("work={socket_text}")).expect("valid");
        assert_eq!(agent, SshForward { id: "work".to_owned(), source: SshSource::Agent(socket) });
        let keys = forward(&format!("default={key_text},{key_text}")).expect("valid");
        assert_eq!(keys.source, SshSource::Keys(vec![key.clone(), key]));
        assert!(fault(forward(&format!("x={key_text},{socket_text}"))).contains("only a single socket"));
        assert!(fault(forward("x=/no/such/key")).contains("failed to stat /no/such/key"));
    }
}
