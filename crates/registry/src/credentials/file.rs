//! `config.json`: read for what it says about registries, written with everything else in it untouched.
use super::{Credential, CredentialsError, Secret, canonical};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde_json::{Map, Value};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// No such file is larger; what is, is not one.
const LARGEST: u64 = 8 << 20;

/// The file's content, whole.
pub(super) struct ConfigFile {
    path: PathBuf,
    values: Map<String, Value>,
    /// Held while the file is being changed, so that two logins do not undo each other.
    _lock: Option<std::fs::File>,
}

impl ConfigFile {
    /// Reads the file. One that does not exist, or has nothing in it, says nothing.
    pub(super) fn read(path: &Path) -> Result<Self, CredentialsError> {
        let mut text = String::new();
        match fs::File::open(path) {
            Ok(file) => {
                file.take(LARGEST).read_to_string(&mut text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let invalid = |reason: String| CredentialsError::Invalid { path: path.to_owned(), reason };
        let values = match serde_json::from_str(&text) {
            _ if text.trim().is_empty() => Map::new(),
            Ok(Value::Object(values)) => values,
            Ok(_) => return Err(invalid("not a JSON object".to_owned())),
            // Line and column, without the text: there may be a password in it.
            Err(error) => {
                return Err(invalid(format!(
                    "invalid JSON in line {}, column {}",
                    error.line(),
                    error.column()
                )));
            }
        };
        Ok(Self { path: path.to_owned(), values, _lock: None })
    }

    /// Reads the file in order to change it: its directory is made if need be, and locked.
    pub(super) fn lock(path: &Path) -> Result<Self, CredentialsError> {
        // A dotfile manager's link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !directory.is_dir() {
            fs::create_dir_all(directory)?;
            fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        }
        let lock = fs::File::open(directory)?.into_parts().0;
        lock.lock()?;
        Ok(Self { _lock: Some(lock), ..Self::read(&path)? })
    }

    /// Replaces the file in one step.
    pub(super) fn save(&self) -> Result<(), CredentialsError> {
        let mut text = Vec::new();
        let mut json = serde_json::Serializer::with_formatter(
            &mut text,
            serde_json::ser::PrettyFormatter::with_indent(b"\t"),
        );
        serde::Serialize::serialize(&self.values, &mut json).expect("a map of JSON values can be written");
        let temporary = self.path.with_extension(format!("json.{}", std::process::id()));
        let written = write_private(&temporary, &text).and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        Ok(written?)
    }

    /// The helper that keeps this registry's credentials.
    pub(super) fn helper_for(&self, key: &str) -> Option<String> {
        let own = self.object("credHelpers").and_then(|helpers| {
            let exact = helpers.get(key);
            let found = exact.or_else(|| {
                helpers
                    .iter()
                    .find(|(name, _)| canonical(host_of(name)) == canonical(host_of(key)))
                    .map(|(_, v)| v)
            });
            found.and_then(Value::as_str)
        });
        let helper = own.or_else(|| self.values.get("credsStore").and_then(Value::as_str))?;
        (!helper.is_empty()).then(|| helper.to_owned())
    }

    /// What is filed under part of a repository's name (`host/team`, as podman writes it), the longest part first.
    pub(super) fn find_namespace(
        &self,
        host: &str,
        path: &str,
    ) -> Option<Result<Credential, CredentialsError>> {
        let name = format!("{}/{path}", canonical(host));
        let fits = |key: &str| {
            let (domain, rest) = key.split_once('/')?;
            let key = format!("{}/{rest}", canonical(domain));
            let within = name.strip_prefix(&key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            within.then_some(key.len())
        };
        let entries = self.object("auths")?.iter();
        let (_, key, entry) = entries
            .filter(|(key, _)| is_namespace(key))
            .filter_map(|(key, entry)| Some((fits(key)?, key, entry)))
            .max_by_key(|(length, ..)| *length)?;
        self.credential(key, entry).transpose()
    }

    /// What is filed under the registry itself, in whichever spelling.
    pub(super) fn find_host(&self, host: &str) -> Option<Result<Credential, CredentialsError>> {
        let entries = self.object("auths")?;
        self.keys_of(host).iter().find_map(|key| self.credential(key, &entries[key.as_str()]).transpose())
    }

    /// All keys that name the registry: the one Docker writes first.
    pub(super) fn keys_of(&self, host: &str) -> Vec<String> {
        let Some(entries) = self.object("auths") else { return Vec::new() };
        let mut keys: Vec<String> = entries
            .keys()
            .filter(|key| !is_namespace(key) && canonical(host_of(key)) == canonical(host))
            .cloned()
            .collect();
        keys.sort_by_key(|key| *key != super::file_key(host));
        keys
    }

    /// Files a credential under `key`, in the clear.
    pub(super) fn put(&mut self, key: &str, credential: &Credential) {
        let mut entry = Map::new();
        let mut set = |name: &str, value: String| entry.insert(name.to_owned(), Value::String(value));
        match credential {
            Credential::Password { username, password } => {
                set("auth", STANDARD.encode(format!("{username}:{}", password.reveal())));
            }
            Credential::Identity { username, token } => {
                if let Some(username) = username {
                    set("auth", STANDARD.encode(format!("{username}:")));
                }
                set("identitytoken", token.reveal().to_owned());
            }
            Credential::Bearer(token) => {
                set("registrytoken", token.reveal().to_owned());
            }
        }
        self.auths().insert(key.to_owned(), Value::Object(entry));
    }

    /// Notes that a helper keeps this registry's credentials.
    pub(super) fn mark(&mut self, key: &str) {
        self.auths().insert(key.to_owned(), Value::Object(Map::new()));
    }

    /// Forgets these keys.
    pub(super) fn remove(&mut self, keys: &[String]) {
        let auths = self.auths();
        for key in keys {
            auths.shift_remove(key);
        }
    }

    fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.values.get(name).and_then(Value::as_object)
    }

    fn auths(&mut self) -> &mut Map<String, Value> {
        let auths = self.values.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        if !auths.is_object() {
            *auths = Value::Object(Map::new());
        }
        auths.as_object_mut().expect("it was made one")
    }

    fn credential(&self, key: &str, entry: &Value) -> Result<Option<Credential>, CredentialsError> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let invalid = |reason: &str| CredentialsError::Invalid {
            path: self.path.clone(),
            reason: format!("auths[{key:?}].auth {reason}"),
        };
        let pair = match text("auth") {
            Some(encoded) => {
                let encoded = encoded.trim();
                let bytes = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded));
                let decoded = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let decoded = decoded.ok_or_else(|| invalid("is not base64"))?;
                let (name, password) =
                    decoded.split_once(':').ok_or_else(|| invalid("is not name:password"))?;
                // Docker's first versions padded with zero bytes.
                Some((name.to_owned(), password.trim_end_matches('\0').to_owned()))
            }
            None => text("username")
                .map(|name| (name.to_owned(), text("password").unwrap_or_default().to_owned())),
        };
        if let Some(token) = text("identitytoken") {
            let username = pair.map(|(name, _)| name).filter(|name| !name.is_empty());
            return Ok(Some(Credential::Identity { username, token: Secret::new(token) }));
        }
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credential::Bearer(Secret::new(token))));
        }
        Ok(pair
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, password)| Credential::password(name, password)))
    }
}

/// `host/team`: a key that has a path and is not one of the URLs under which Docker filed registries.
fn is_namespace(key: &str) -> bool {
    !key.contains("://")
        && key
            .split_once('/')
            .is_some_and(|(_, path)| !matches!(path.trim_end_matches('/'), "" | "v1" | "v2"))
}

fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}
