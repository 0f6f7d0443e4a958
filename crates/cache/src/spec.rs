//! What `--cache-to` and `--cache-from` are told: BuildKit's keys, in its notation.
use crate::Form;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use strata_oci::{Digest, Reference};

/// A source to import from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As it was given, without anything secret.
    pub text: String,
    /// Where it is.
    pub location: Location,
    /// `mounts=`: cache mounts that are filled from it.
    pub mounts: Mounts,
}

/// A destination to export to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// As it was given, without anything secret.
    pub text: String,
    /// Where it is; `None` for `type=inline`, which is in the image.
    pub location: Option<Location>,
    /// `mode=max`: every step of every stage; else those of the image.
    pub max: bool,
    /// `compression=`, as given; layers that have a compressed form already keep it unless `force` is set.
    pub compression: Option<String>,
    /// `compression-level=`.
    pub level: Option<i32>,
    /// `force-compression=`.
    pub force: bool,
    /// `oci-mediatypes=` and `image-manifest=`.
    pub form: Form,
    /// `ignore-error=`: a failed export is a warning.
    pub ignore_error: bool,
    /// `mounts=`: cache mounts that go along.
    pub mounts: Mounts,
}

/// Which cache mounts (`RUN --mount=type=cache`) go with a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mounts {
    /// As BuildKit has it.
    #[default]
    None,
    /// `mounts=true`
    All,
    /// `mounts=ID;ID`
    Some(BTreeSet<String>),
}

impl Mounts {
    /// Whether the mount of this id is meant.
    pub fn include(&self, id: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(ids) => ids.contains(id),
        }
    }
}

/// Where a cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `type=registry`.
    Registry(Reference),
    /// A bare name, for reading: an image of the store, or else of its registry.
    Image(Reference),
    /// `type=local`.
    Local(Directory),
    /// `type=s3`: its keys, for whoever knows them.
    S3(BTreeMap<String, String>),
}

/// An OCI layout with a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// `src=` or `dest=`.
    pub path: PathBuf,
    /// `tag=`.
    pub tag: String,
    /// `digest=`, for reading: wins over the tag.
    pub digest: Option<Digest>,
    /// `reset=`, for writing: what else is in there goes.
    pub reset: bool,
}

/// What is wrong with a flag. The flag is for the caller to name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: {why}")]
pub struct SpecError {
    text: String,
    why: String,
}

/// The keys of a flag that nobody has asked for yet.
struct Keys {
    text: String,
    left: BTreeMap<String, String>,
}

impl Source {
    /// Parses one `--cache-from`. Without any `=` it is a list of names.
    ///
    /// # Errors
    /// [`SpecError`] with a sentence of what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Vec<Self>, SpecError> {
        let fields = fields(text)?;
        if let Some(names) = bare(&fields) {
            return names
                .map(|name| {
                    let location = Location::Image(reference(text, name)?);
                    Ok(Self { text: name.to_owned(), location, mounts: Mounts::None })
                })
                .collect();
        }
        let mut keys = Keys::of(text, fields)?;
        let mounts = keys.mounts()?;
        let location = match keys.kind()?.as_str() {
            "registry" => Location::Registry(keys.reference()?),
            "local" => {
                let path = keys.needed("src", "src=DIRECTORY")?.into();
                Location::Local(keys.directory(path, false)?)
            }
            "s3" => keys.s3(),
            "inline" => {
                return Err(keys
                    .bad("an inline cache is inside an image: name the image with type=registry,ref=NAME"));
            }
            other => return Err(keys.unsupported(other)),
        };
        let text = keys.text.clone();
        keys.end()?;
        Ok(vec![Self { text, location, mounts }])
    }
}

impl Destination {
    /// Parses one `--cache-to`. Without any `=` it is a name.
    ///
    /// # Errors
    /// [`SpecError`] with a sentence of what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Vec<Self>, SpecError> {
        let fields = fields(text)?;
        if let Some(names) = bare(&fields) {
            return names
                .map(|name| {
                    let location = Location::Registry(reference(text, name)?);
                    Ok(Self::new(name.to_owned(), Some(location)))
                })
                .collect();
        }
        let mut keys = Keys::of(text, fields)?;
        let location = match keys.kind()?.as_str() {
            "registry" => Some(Location::Registry(keys.reference()?)),
            "local" => {
                let path = keys.needed("dest", "dest=DIRECTORY")?.into();
                Some(Location::Local(keys.directory(path, true)?))
            }
            "inline" => None,
            // Its own keys are taken out last.
            "s3" => Some(Location::S3(BTreeMap::new())),
            other => return Err(keys.unsupported(other)),
        };
        let inline = location.is_none();
        let mut destination = Self::new(keys.text.clone(), location);
        destination.mounts = keys.mounts()?;
        if inline && destination.mounts != Mounts::None {
            return Err(
                keys.bad("an inline cache has no room for cache mounts: use type=registry, local or s3")
            );
        }
        destination.max = match keys.take("mode").as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("min") => false,
            Some("max") if inline => {
                return Err(keys.bad(
                    "an inline cache holds the layers of the image only (mode=min); for mode=max use type=registry",
                ));
            }
            Some("max") => true,
            Some(other) => return Err(keys.bad(format!("mode={other}: use min or max"))),
        };
        destination.compression = keys.compression()?;
        if let Some(level) = keys.take("compression-level") {
            let level =
                level.parse().map_err(|_| keys.bad(format!("compression-level={level}: not a number")))?;
            destination.level = Some(level);
        }
        destination.force = keys.boolean("force-compression", false)?;
        destination.ignore_error = keys.boolean("ignore-error", false)?;
        let oci = keys.boolean("oci-mediatypes", true)?;
        let manifest = keys.boolean("image-manifest", oci)?;
        if manifest && !oci {
            return Err(keys.bad(
                "image-manifest=true needs oci-mediatypes=true: no Docker type stands for a manifest of a cache",
            ));
        }
        destination.form = Form { manifest, oci };
        if let Some(Location::S3(_)) = destination.location {
            destination.location = Some(keys.s3());
            return Ok(vec![destination]);
        }
        keys.end()?;
        Ok(vec![destination])
    }

    fn new(text: String, location: Option<Location>) -> Self {
        let (max, compression, level, force) = (false, None, None, false);
        let (form, ignore_error, mounts) = (Form::default(), false, Mounts::None);
        Self { text, location, max, compression, level, force, form, ignore_error, mounts }
    }
}

impl Keys {
    fn of(text: &str, fields: Vec<String>) -> Result<Self, SpecError> {
        let mut left = BTreeMap::new();
        for field in fields {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| error(text, format!("invalid value {field}: expected key=value")))?;
            left.insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
        const SECRET: [&str; 3] = ["access_key_id", "secret_access_key", "session_token"];
        let shown = left.iter().filter(|(key, _)| !SECRET.contains(&key.as_str()));
        // In a fixed order, the type first, and nothing secret.
        let mut shown: Vec<String> = shown.map(|(key, value)| format!("{key}={value}")).collect();
        shown.sort_by_key(|field| !field.starts_with("type="));
        Ok(Self { text: shown.join(","), left })
    }

    fn bad(&self, why: impl Into<String>) -> SpecError {
        error(&self.text, why)
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.left.remove(key)
    }

    fn kind(&mut self) -> Result<String, SpecError> {
        match self.take("type") {
            Some(kind) => Ok(kind),
            None if self.left.contains_key("ref") => Ok("registry".to_owned()),
            None => {
                Err(self
                    .bad("type is missing: use type=registry, local, inline or s3, or the name of an image"))
            }
        }
    }

    fn unsupported(&self, kind: &str) -> SpecError {
        let instead = "use registry, local, inline or s3";
        self.bad(match kind {
            "gha" => {
                "type \"gha\" is not supported (it works inside GitHub's runners only): use type=registry \
                      with ghcr.io, or type=local with a directory that the workflow keeps"
                    .to_owned()
            }
            "azblob" => {
                format!("type \"azblob\" is not supported: {instead}; Azure's registry takes type=registry")
            }
            other => format!("unknown type {other:?}: {instead}"),
        })
    }

    fn needed(&mut self, key: &str, form: &str) -> Result<String, SpecError> {
        let value = self.take(key).filter(|value| !value.is_empty());
        value.ok_or_else(|| self.bad(format!("{form} is missing")))
    }

    fn reference(&mut self) -> Result<Reference, SpecError> {
        let name = self.needed("ref", "ref=NAME")?;
        reference(&self.text, &name)
    }

    fn directory(&mut self, path: PathBuf, writing: bool) -> Result<Directory, SpecError> {
        let tag = self.take("tag").filter(|tag| !tag.is_empty()).unwrap_or_else(|| "latest".to_owned());
        let mut directory = Directory { path, tag, digest: None, reset: false };
        if writing {
            directory.reset = self.boolean("reset", false)?;
        } else if let Some(digest) = self.take("digest") {
            let parsed = digest.parse().map_err(|why| self.bad(format!("digest={digest}: {why}")))?;
            directory.digest = Some(parsed);
        }
        Ok(directory)
    }

    fn s3(&mut self) -> Location {
        Location::S3(std::mem::take(&mut self.left))
    }

    fn mounts(&mut self) -> Result<Mounts, SpecError> {
        let Some(text) = self.take("mounts") else { return Ok(Mounts::None) };
        match text.as_str() {
            "" | "false" | "0" => Ok(Mounts::None),
            "true" | "1" => Ok(Mounts::All),
            ids if ids.split(';').any(str::is_empty) => Err(self
                .bad(format!("mounts={ids}: use true, or ids of cache mounts with semicolons between them"))),
            ids => Ok(Mounts::Some(ids.split(';').map(str::to_owned).collect())),
        }
    }

    fn compression(&mut self) -> Result<Option<String>, SpecError> {
        match self.take("compression").as_deref() {
            None => Ok(None),
            Some(known @ ("uncompressed" | "gzip" | "zstd")) => Ok(Some(known.to_owned())),
            Some("estargz") => {
                Err(self.bad("compression=estargz is read, but not written: use gzip, zstd or uncompressed"))
            }
            Some(other) => Err(self.bad(format!("compression={other}: use gzip, zstd or uncompressed"))),
        }
    }

    /// As Go reads booleans.
    fn boolean(&mut self, key: &str, default: bool) -> Result<bool, SpecError> {
        match self.take(key).as_deref() {
            None => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(self.bad(format!("{key}={other}: use true or false"))),
        }
    }

    fn end(self) -> Result<(), SpecError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(key) => Err(self.bad(format!("unknown key {key:?} for this type"))),
        }
    }
}

/// The names of a flag without any key.
fn bare(fields: &[String]) -> Option<impl Iterator<Item = &str>> {
    fields.iter().all(|field| !field.contains('=')).then(|| fields.iter().map(String::as_str))
}

fn reference(text: &str, name: &str) -> Result<Reference, SpecError> {
    name.parse().map_err(|why| error(text, format!("invalid name {name:?}: {why}")))
}

fn error(text: &str, why: impl Into<String>) -> SpecError {
    SpecError { text: text.to_owned(), why: why.into() }
}

/// One record of comma-separated values, with quotes as in RFC 4180.
fn fields(text: &str) -> Result<Vec<String>, SpecError> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (field, after) = unquoted(quoted).ok_or_else(|| error(text, "a quote is not closed"))?;
                if !after.is_empty() && !after.starts_with(',') {
                    return Err(error(text, "something follows a closing quote"));
                }
                (field, after)
            }
            None => {
                let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if field.contains('"') {
                    return Err(error(text, "a quote stands inside a field: quote the whole field"));
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if fields.iter().all(String::is_empty) => return Err(error(text, "it is empty")),
            None => return Ok(fields),
        }
    }
}

/// What stands before the closing quote, and what after it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, after)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) | Self::Image(reference) => write!(f, "{reference}"),
            Self::Local(directory) => write!(f, "{}", directory.path.display()),
            Self::S3(_) => f.write_str("s3"),
        }
    }
}

#[cfg(test)]
mod tests;
