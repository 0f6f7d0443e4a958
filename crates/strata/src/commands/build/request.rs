//! Flags to a request: Dockerfile and contexts found, values parsed.

use super::Build;
use super::progress::Mode;
use crate::cli::Global;
use crate::commands::arguments::label;
use crate::commands::run::{bytes, host, ulimit};
use crate::failure::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, IsTerminal, Read};
use std::path::{Path, PathBuf};
use strata_engine::build::{
    BuildOptions, BuildRequest, ContextSource, Entitlement, NamedContext, Network, NoCache, Secret,
    SecretSource, TarContext,
};
use strata_oci::{Platform, Reference};

/// The Dockerfile, and how messages call it.
pub(super) struct Dockerfile {
    pub(super) name: String,
    pub(super) text: String,
}

/// Everything read and parsed.
pub(super) struct Request {
    pub(super) request: BuildRequest,
    pub(super) dockerfile: Dockerfile,
}

type NamedContexts = BTreeMap<String, NamedContext>;

/// A flag's value that means nothing: told like every other failure of a build, as buildx does.
fn bad(message: impl std::fmt::Display) -> Failure {
    Failure::with_code(format!("ERROR: failed to build: {message}"), 1)
}

fn unprepared(message: impl std::fmt::Display) -> Failure {
    Failure::with_code(format!("ERROR: failed to build: {message}"), 1)
}

impl Build {
    pub(super) fn request(&self, mode: Mode, global: &Global) -> Result<Request, Failure> {
        let context = &self.context[0];
        let (dockerfile, path, source) = if context == "-" {
            self.read_stdin(global)?
        } else {
            if context.contains("://") || context.starts_with("git@") {
                return Err(unprepared(format!(
                    "context {context}: remote contexts are not supported yet; clone it first"
                )));
            }
            let directory = PathBuf::from(context);
            if !directory.exists() {
                return Err(unprepared(format!("unable to prepare context: path {context:?} not found")));
            }
            let (dockerfile, path) = self.dockerfile(&directory)?;
            (dockerfile, path, ContextSource::Directory(directory))
        };
        let (named, contexts) = self.named_contexts()?;
        let tags = self.tag.iter().map(|tag| reference(tag)).collect::<Result<_, _>>()?;
        let scope = path.as_deref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let request = BuildRequest {
            context: source,
            dockerfile_path: path,
            contexts,
            keep_image: true,
            pull: self.pull,
            tags,
            options: BuildOptions {
                target: self.target.clone(),
                build_args: self.build_args(),
                labels: self.label.iter().map(|text| label(text)).collect(),
                platform: self.platform()?,
                no_cache: match (self.no_cache, &self.no_cache_filter[..]) {
                    (true, _) => NoCache::All,
                    (false, []) => NoCache::Off,
                    (false, stages) => NoCache::Stages(stages.to_vec()),
                },
                contexts: named,
                network: match self.network.as_str() {
                    "default" | "bridge" => Network::Default,
                    "host" => Network::Host,
                    "none" => Network::None,
                    other => {
                        return Err(bad(format!(
                            "network mode {other:?} not supported: use default, host or none"
                        )));
                    }
                },
                allow: self.allowed()?,
                jobs: match mode {
                    // Classic output tells one step after the other.
                    Mode::Classic => 1,
                    _ => self.jobs.unwrap_or(8),
                },
                scope: scope.map(|scope| scope.display().to_string()).unwrap_or_default(),
                ..BuildOptions::default()
            },
            secrets: self.secret.iter().map(|text| secret(text)).collect::<Result<_, _>>()?,
            add_hosts: self
                .add_host
                .iter()
                .map(|text| host(text).map_err(Failure::flag))
                .collect::<Result<_, _>>()?,
            shm_size: self.shm_size.as_deref().map(|text| bytes(text).map_err(Failure::flag)).transpose()?,
            ulimits: self
                .ulimit
                .iter()
                .map(|text| ulimit(text).map_err(Failure::flag))
                .collect::<Result<_, _>>()?,
        };
        Ok(Request { request, dockerfile })
    }

    /// Who builds with the host's network has allowed it.
    fn allowed(&self) -> Result<BTreeSet<Entitlement>, Failure> {
        let given = self.allow.iter().flat_map(|text| text.split(','));
        let parsed = given.map(|text| text.parse::<Entitlement>());
        let mut allowed: BTreeSet<_> = parsed.collect::<Result<_, _>>().map_err(Failure::flag)?;
        if self.network == "host" {
            allowed.insert(Entitlement::NetworkHost);
        }
        Ok(allowed)
    }

    /// Standard input is a tar with everything, or a Dockerfile alone.
    fn read_stdin(&self, global: &Global) -> Result<(Dockerfile, Option<PathBuf>, ContextSource), Failure> {
        if self.file.as_deref() == Some("-") {
            return Err(unprepared("standard input cannot be both the context and the Dockerfile"));
        }
        refuse_terminal()?;
        let mut head = Vec::new();
        std::io::stdin().take(512).read_to_end(&mut head)?;
        if is_tar(&head) {
            let context =
                global.engine()?.tar_context(Box::new(Cursor::new(head).chain(std::io::stdin())))?;
            let (dockerfile, path) = self.dockerfile_in(&context)?;
            return Ok((dockerfile, path, ContextSource::Tar(context)));
        }
        if self.file.is_some() {
            return Err(unprepared("with the Dockerfile on standard input (-), -f cannot name another one"));
        }
        std::io::stdin().read_to_end(&mut head)?;
        Ok((Dockerfile { name: "Dockerfile".to_owned(), text: utf8(head)? }, None, ContextSource::Empty))
    }

    /// The Dockerfile of a tar; an absolute `-f` is a file of this machine.
    fn dockerfile_in(&self, context: &TarContext) -> Result<(Dockerfile, Option<PathBuf>), Failure> {
        const LARGEST: u64 = 16 << 20;
        if let Some(path) = self.file.as_deref().filter(|path| path.starts_with('/')) {
            return self.dockerfile(Path::new(path));
        }
        let names = match self.file.as_deref() {
            Some(path) => vec![path],
            None => vec!["Dockerfile", "dockerfile"],
        };
        for name in &names {
            if let Some(bytes) = context.read(name, LARGEST)? {
                let base = name.rsplit('/').next().unwrap_or(name);
                return Ok((Dockerfile { name: base.to_owned(), text: utf8(bytes)? }, None));
            }
        }
        Err(unprepared(format!("failed to read dockerfile: open {}: no such file or directory", names[0])))
    }

    /// `-f`, or `Dockerfile`, or `dockerfile`. The path is the file's, for its own `.dockerignore`.
    fn dockerfile(&self, context: &Path) -> Result<(Dockerfile, Option<PathBuf>), Failure> {
        let path = match self.file.as_deref() {
            Some("-") => {
                let text = utf8(stdin()?)?;
                return Ok((Dockerfile { name: "Dockerfile".to_owned(), text }, None));
            }
            Some(path) => PathBuf::from(path),
            None => {
                let usual = context.join("Dockerfile");
                let lower = context.join("dockerfile");
                if !usual.exists() && lower.exists() { lower } else { usual }
            }
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = fs_err::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => unprepared(format!(
                "failed to read dockerfile: open {}: no such file or directory",
                path.display()
            )),
            _ => unprepared(format!("failed to read dockerfile: {error}")),
        })?;
        Ok((Dockerfile { name, text: utf8(text)? }, Some(path)))
    }

    /// A bare name takes the value from the environment; without one there it is left out.
    fn build_args(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
            all.insert("SOURCE_DATE_EPOCH".to_owned(), epoch);
        }
        for text in &self.build_arg {
            match text.split_once('=') {
                Some((name, value)) => drop(all.insert(name.to_owned(), value.to_owned())),
                None => {
                    if let Ok(value) = std::env::var(text) {
                        all.insert(text.clone(), value);
                    }
                }
            }
        }
        all
    }

    fn platform(&self) -> Result<Platform, Failure> {
        match self.platform.as_deref() {
            None | Some("local") => Ok(Platform::host()),
            Some(text) => text.parse().map_err(bad),
        }
    }

    /// What each name means, and where the directories are.
    fn named_contexts(&self) -> Result<(NamedContexts, BTreeMap<String, PathBuf>), Failure> {
        let (mut named, mut directories) = (BTreeMap::new(), BTreeMap::new());
        for text in &self.build_context {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| bad(format!("invalid context value: {text}, expected key=value")))?;
            if let Some(image) = value.strip_prefix("docker-image://") {
                named.insert(name.to_owned(), NamedContext::Image(reference(image)?));
            } else if value.contains("://") {
                return Err(bad(format!(
                    "build context {name}: {value} is not supported yet: use a directory or docker-image://"
                )));
            } else {
                named.insert(name.to_owned(), NamedContext::Files);
                directories.insert(name.to_owned(), PathBuf::from(value));
            }
        }
        Ok((named, directories))
    }
}

fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|error| unprepared(format!("invalid tag {text:?}: {error}")))
}

fn refuse_terminal() -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        return Err(unprepared(
            "the Dockerfile comes from standard input, but that is a terminal: redirect it",
        ));
    }
    Ok(())
}

/// A tar's first header, or the beginning of a compressed file.
fn is_tar(head: &[u8]) -> bool {
    const MAGICS: [&[u8]; 4] =
        [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]];
    if MAGICS.iter().any(|magic| head.starts_with(magic)) {
        return true;
    }
    // Old tars have no magic, but all have the sum of the header's bytes, its own field counted as blanks.
    let Some(field) = head.get(148..156).filter(|_| head.len() == 512) else { return false };
    let text = String::from_utf8_lossy(field);
    let said = u32::from_str_radix(text.trim_matches(['\0', ' ']), 8);
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    said == Ok(sum(&head[..148]) + 8 * u32::from(b' ') + sum(&head[156..]))
}

fn stdin() -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    refuse_terminal()?;
    std::io::stdin().lock().read_to_end(&mut text)?;
    Ok(text)
}

fn utf8(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        unprepared(format!("failed to read dockerfile: line {line} is not UTF-8"))
    })
}

/// `id=x[,src=file|,env=VAR]`; without a source the variable named like the ID, or else the file.
fn secret(text: &str) -> Result<Secret, Failure> {
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
            _ => return Err(bad(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if kind.as_deref() == Some("env") && variable.is_none() {
        variable = file.take();
    }
    let id = id.or_else(|| variable.clone()).ok_or_else(|| bad(format!("secret {text:?} needs an id")))?;
    let from_environment = |name: &str| std::env::var(name).ok();
    let source = match (file, variable) {
        (Some(path), _) => SecretSource::File(path.into()),
        (None, Some(name)) => SecretSource::Value(
            from_environment(&name)
                .ok_or_else(|| bad(format!("secret {id}: environment variable {name} is not set")))?,
        ),
        (None, None) => match from_environment(&id) {
            Some(value) if kind.as_deref() != Some("file") => SecretSource::Value(value),
            _ => SecretSource::File(id.clone().into()),
        },
    };
    if let SecretSource::File(path) = &source
        && !path.exists()
    {
        return Err(bad(format!("failed to stat {}: no such file or directory", path.display())));
    }
    Ok(Secret { id, source })
}
