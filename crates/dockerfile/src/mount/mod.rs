//! `RUN --mount` and `RUN --device`: comma separated options (`spec/build.md` section 3).

#[cfg(test)]
mod tests;

use std::fmt;

use crate::{ExpandError, go_quote, suggest};

/// A mount of one RUN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// What kind.
    pub kind: MountKind,
    /// Stage, context or image; never expanded.
    pub from: Option<String>,
    /// Path in `from`; for a secret, its id.
    pub source: Option<String>,
    /// Where it appears; relative to the working directory.
    pub target: Option<String>,
    /// Whether writing is refused; by default for bind, secret and ssh mounts.
    pub read_only: bool,
    /// tmpfs: size in bytes.
    pub size: Option<i64>,
    /// Id of a cache, a secret or an ssh agent.
    pub id: Option<String>,
    /// cache: who may use it at the same time.
    pub sharing: Option<Sharing>,
    /// secret, ssh: an error if it is not given.
    pub required: bool,
    /// secret: the environment variable to set; an empty name stands for the id.
    pub env: Option<String>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// The five kinds of mounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MountKind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// `sharing=` of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Several at once.
    Shared,
    /// A copy of one's own if it is in use.
    Private,
    /// One after the other.
    Locked,
}

const KINDS: [(&str, MountKind); 5] = [
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];

const SHARINGS: [(&str, Sharing); 3] =
    [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl fmt::Display for MountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KINDS.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

/// A `--mount` or `--device` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The list is broken.
    #[error("failed to parse csv {what}: {reason}")]
    Csv {
        /// `mounts` or `devices`.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No such type.
    #[error("unsupported mount type {}{}", go_quote(.0), suggest::suffix(.0, KINDS.map(|(name, _)| name), true))]
    Kind(String),
    /// No such sharing.
    #[error("unsupported sharing value {}{}", go_quote(.0), suggest::suffix(.0, SHARINGS.map(|(name, _)| name), true))]
    Sharing(String),
    /// An option that this type does not have.
    #[error("unexpected key '{key}' for mount type '{kind}'")]
    KeyForKind {
        /// The option.
        key: String,
        /// The type so far; `type` must stand first.
        kind: MountKind,
    },
    /// An option that no type has.
    #[error("unexpected key '{key}' in '{field}'{}", suggest::suffix(key, known.iter().copied(), true))]
    Key {
        /// The option.
        key: String,
        /// With its value.
        field: String,
        /// Those that there are.
        known: &'static [&'static str],
    },
    /// An option without the value it needs.
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    /// Not a boolean, not a size.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// The option.
        key: String,
        /// What it was given.
        value: String,
    },
    /// Not a number.
    #[error("invalid value {value} for {key}")]
    Number {
        /// The option.
        key: String,
        /// What it was given.
        value: String,
    },
    /// `from=$x`.
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    FromExpansion,
    /// `mode`, `uid` or `gid` on a type that has none.
    #[error("{key} not allowed for {} type mounts", go_quote(&kind.to_string()))]
    NotAllowed {
        /// The option.
        key: &'static str,
        /// The type.
        kind: MountKind,
    },
    /// `sharing` on another type than cache.
    #[error("invalid cache sharing set for {0} mount")]
    SharingForKind(MountKind),
    /// `from` on a secret.
    #[error("secret mount should not have a from")]
    SecretFrom,
    /// `sharing` on a secret.
    #[error("secret mount should not define sharing")]
    SecretSharing,
    /// A secret without a name.
    #[error("invalid secret mount. one of source, target required")]
    SecretUnnamed,
    /// A secret with two names.
    #[error("both source and id can't be set")]
    SecretTwice,
    /// Two names for one device.
    #[error("device name already set to {0}")]
    DeviceName(String),
    /// A value that cannot be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

impl Mount {
    /// Reads a `--mount` whose values hold no variables.
    pub fn parse(text: &str) -> Result<Self, MountError> {
        Self::parse_with(text, &|value| Ok(value.to_owned()))
    }

    /// Reads a `--mount` and expands each value.
    pub fn parse_with(
        text: &str,
        expand: &dyn Fn(&str) -> Result<String, ExpandError>,
    ) -> Result<Self, MountError> {
        let mut mount = Self::default();
        let mut read_only = None;
        for field in fields(text, "mounts")? {
            match field.split_once('=') {
                Some((key, value)) => {
                    let key = key.to_lowercase();
                    let value = expand(value)?;
                    mount.set(&key, value, &field, &mut read_only)?;
                }
                None => mount.set_bare(&field, &mut read_only)?,
            }
        }
        mount.read_only = read_only.unwrap_or(!matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs));
        mount.validate()?;
        Ok(mount)
    }

    /// What can be known before the values are expanded: the list is well formed and `from` holds no variable.
    pub fn check(text: &str) -> Result<(), MountError> {
        for field in fields(text, "mounts")? {
            let Some((key, value)) = field.split_once('=') else { continue };
            if key.eq_ignore_ascii_case("from") && value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(MountError::FromExpansion);
            }
        }
        Ok(())
    }

    fn set_bare(&mut self, field: &str, read_only: &mut Option<bool>) -> Result<(), MountError> {
        let key = field.to_lowercase();
        match key.as_str() {
            "readonly" | "ro" => *read_only = Some(true),
            "readwrite" | "rw" => *read_only = Some(false),
            "required" => {
                self.only(&key, &[MountKind::Secret, MountKind::Ssh])?;
                self.required = true;
            }
            _ => return Err(MountError::NoValue(field.to_owned())),
        }
        Ok(())
    }

    fn set(
        &mut self,
        key: &str,
        value: String,
        field: &str,
        read_only: &mut Option<bool>,
    ) -> Result<(), MountError> {
        match key {
            "type" => self.kind = choose(&KINDS, &value).ok_or(MountError::Kind(value))?,
            "from" => self.from = filled(value),
            "source" | "src" => self.source = filled(value),
            "target" | "dst" | "destination" => self.target = filled(value),
            "readonly" | "ro" => *read_only = Some(boolean(key, &value)?),
            "readwrite" | "rw" => *read_only = Some(!boolean(key, &value)?),
            "required" => {
                self.only(key, &[MountKind::Secret, MountKind::Ssh])?;
                self.required = boolean(key, &value)?;
            }
            "size" => {
                self.only(key, &[MountKind::Tmpfs])?;
                let wrong = || MountError::Value { key: key.to_owned(), value: value.clone() };
                self.size = Some(ram_in_bytes(&value).ok_or_else(wrong)?);
            }
            "id" => self.id = filled(value),
            "sharing" => {
                self.sharing = Some(choose(&SHARINGS, &value).ok_or(MountError::Sharing(value))?);
            }
            "mode" => self.mode = Some(number(key, value, 8)?),
            "uid" => self.uid = Some(number(key, value, 10)?),
            "gid" => self.gid = Some(number(key, value, 10)?),
            "env" => self.env = Some(value),
            _ => {
                let (key, field) = (key.to_owned(), field.to_owned());
                return Err(MountError::Key { key, field, known: &KEYS });
            }
        }
        Ok(())
    }

    fn only(&self, key: &str, kinds: &[MountKind]) -> Result<(), MountError> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        Err(MountError::KeyForKind { key: key.to_owned(), kind: self.kind })
    }

    fn validate(&self) -> Result<(), MountError> {
        let kind = self.kind;
        if matches!(kind, MountKind::Bind | MountKind::Tmpfs) {
            let owner = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((key, _)) = owner.into_iter().find(|(_, value)| value.is_some()) {
                return Err(MountError::NotAllowed { key, kind });
            }
        }
        if kind == MountKind::Secret {
            if self.from.is_some() {
                return Err(MountError::SecretFrom);
            }
            if self.sharing.is_some() {
                return Err(MountError::SecretSharing);
            }
            if self.source.is_none() && self.target.is_none() && self.id.is_none() {
                return Err(MountError::SecretUnnamed);
            }
            if self.source.is_some() && self.id.is_some() {
                return Err(MountError::SecretTwice);
            }
        }
        if self.sharing.is_some() && kind != MountKind::Cache {
            return Err(MountError::SharingForKind(kind));
        }
        Ok(())
    }
}

/// A CDI device of one RUN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// `vendor.com/class=name`.
    pub name: String,
    /// An error if it is not there.
    pub required: bool,
}

impl Device {
    /// Reads a `--device`.
    pub fn parse(text: &str) -> Result<Self, MountError> {
        let mut device = Self::default();
        for field in fields(text, "devices")? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_lowercase(), None),
            };
            match (key.as_str(), value) {
                ("required", None) => device.required = true,
                ("required", Some(value)) => device.required = boolean(&key, value)?,
                ("name", Some(_)) if !device.name.is_empty() => {
                    return Err(MountError::DeviceName(device.name));
                }
                ("name", Some(value)) => device.name = value.to_owned(),
                _ if device.name.is_empty() => device.name = field,
                (_, None) => return Err(MountError::NoValue(field)),
                (_, Some(_)) => return Err(MountError::Key { key, field, known: &["name", "required"] }),
            }
        }
        Ok(device)
    }
}

/// One line of CSV.
fn fields(text: &str, what: &'static str) -> Result<Vec<String>, MountError> {
    let fail = |reason| Err(MountError::Csv { what, reason });
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let Some(at) = quoted.find('"') else {
                    return fail("extraneous or missing \" in quoted-field");
                };
                field.push_str(&quoted[..at]);
                quoted = &quoted[at + 1..];
                let Some(more) = quoted.strip_prefix('"') else { break };
                field.push('"');
                quoted = more;
            }
            rest = quoted;
            if !rest.is_empty() && !rest.starts_with(',') {
                return fail("extraneous or missing \" in quoted-field");
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return fail("bare \" in non-quoted-field");
            }
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

fn filled(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

fn choose<T: Copy>(options: &[(&str, T)], value: &str) -> Option<T> {
    options.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, option)| *option)
}

/// Go's `strconv.ParseBool`.
fn boolean(key: &str, value: &str) -> Result<bool, MountError> {
    parse_bool(value).ok_or_else(|| MountError::Value { key: key.to_owned(), value: value.to_owned() })
}

/// The booleans that Go reads.
pub(crate) fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn number(key: &str, value: String, radix: u32) -> Result<u32, MountError> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let parsed = digits.then(|| u32::from_str_radix(&value, radix).ok()).flatten();
    parsed.ok_or(MountError::Number { key: key.to_owned(), value })
}

/// Docker's sizes: a number, possibly with a fraction, and one of `b k m g t p` in powers of 1024 (`128m`, `1.5GiB`).
pub fn ram_in_bytes(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = text[digits.len()..].to_ascii_lowercase();
    let number = digits.strip_suffix(' ').unwrap_or(digits);
    if !number.starts_with(|c: char| c.is_ascii_digit())
        || !number.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let power = match suffix.as_bytes() {
        [] | [b'b'] => 0,
        [unit] | [unit, b'b'] | [unit, b'i', b'b'] => 1 + b"kmgtp".iter().position(|u| u == unit)? as i32,
        _ => return None,
    };
    Some((number * 1024f64.powi(power)) as i64)
}
