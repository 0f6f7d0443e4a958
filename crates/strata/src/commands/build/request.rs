//! Flags to a request: Dockerfile and contexts found, values parsed.

use super::Build;
use super::credentials::{secret, surroundings};
use super::entitlements::entitlements;
use super::progress::Mode;
use crate::commands::arguments::{has_names, label, parsed};
use crate::commands::run::{bytes, host, ulimit};
use crate::failure::Failure;
use crate::global::Global;
use std::collections::BTreeMap;
use std::io::{Cursor, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use strata_engine::archive::LayoutImage;
use strata_engine::build::{
    BuildOptions, BuildRequest, ContextSource, NamedContext, Network, NoCache, Remote, RemoteContext, Secret,
    Surroundings, TarContext, is_archive, is_remote,
};
use strata_oci::{Digest, Platform, Reference};

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

/// Dockerfile, its path if it is a file of the context, and the context.
type Found = (Dockerfile, Option<PathBuf>, ContextSource);

/// What fetching needs.
struct Elsewhere<'a> {
    global: &'a Global,
    surroundings: &'a Surroundings,
    secrets: &'a [Secret],
    cancel: &'a AtomicBool,
    /// `SOURCE_DATE_EPOCH` was given.
    commit_times: bool,
}

impl Elsewhere<'_> {
    fn remote(&self) -> Remote<'_> {
        Remote {
            surroundings: self.surroundings,
            secrets: self.secrets,
            cancel: self.cancel,
            commit_times: self.commit_times,
        }
    }
}

/// A directory wins over an address that looks like one: `github.com/x` may be a path.
fn is_elsewhere(context: &str) -> bool {
    is_remote(context) && !Path::new(context).exists()
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn unfetched(error: strata_engine::EngineError) -> Failure {
    unprepared(crate::failure::with_causes(&error))
}

/// What each name of `--build-context` means, where its files are, and images held for the build.
type NamedContexts = (BTreeMap<String, NamedContext>, BTreeMap<String, ContextSource>, Vec<LayoutImage>);

/// A flag's value that means nothing: told like every other failure of a build, as buildx does.
pub(super) fn bad(message: impl std::fmt::Display) -> Failure {
    Failure::with_code(format!("ERROR: failed to build: {message}"), 1)
}

fn unprepared(message: impl std::fmt::Display) -> Failure {
    Failure::with_code(format!("ERROR: failed to build: {message}"), 1)
}

impl Build {
    /// Whether something has to be fetched before the build can be planned.
    pub(super) fn fetches(&self) -> bool {
        let named = self.build_context.iter().filter_map(|text| text.split_once('='));
        is_elsewhere(&self.context[0])
            || self.file.as_deref().is_some_and(is_url)
            || named.clone().any(|(_, value)| is_remote(value))
    }

    pub(super) fn request(
        &self,
        mode: Mode,
        global: &Global,
        cancel: &AtomicBool,
    ) -> Result<Request, Failure> {
        let context = &self.context[0];
        self.refuse_wrong_values()?;
        let add_hosts = parsed("add-host", &self.add_host, host)?;
        let shm_size = parsed("shm-size", self.shm_size.as_slice(), bytes)?.first().copied();
        let ulimits = parsed("ulimit", &self.ulimit, ulimit)?;
        let secrets: Vec<Secret> = self.secret.iter().map(|text| secret(text)).collect::<Result<_, _>>()?;
        let surroundings = surroundings(&self.ssh)?;
        let build_args = self.build_args();
        let inline_cache = build_args
            .get("BUILDKIT_INLINE_CACHE")
            .is_some_and(|value| matches!(value.as_str(), "1" | "t" | "true"));
        let commit_times = build_args.get("SOURCE_DATE_EPOCH").is_some_and(|epoch| !epoch.is_empty());
        let elsewhere =
            Elsewhere { global, surroundings: &surroundings, secrets: &secrets, cancel, commit_times };
        let (dockerfile, path, source) = if context == "-" {
            self.read_stdin(&elsewhere)?
        } else if is_elsewhere(context) {
            self.fetch_context(context, &elsewhere)?
        } else {
            let directory = PathBuf::from(context);
            if !directory.exists() {
                return Err(unprepared(format!("unable to prepare context: path {context:?} not found")));
            }
            let (dockerfile, path) = self.dockerfile(&directory, &elsewhere)?;
            (dockerfile, path, ContextSource::Directory(directory))
        };
        let (named, contexts, layout_images) = self.named_contexts(&elsewhere)?;
        let tags = self.tag.iter().map(|tag| reference(tag)).collect::<Result<_, _>>()?;
        let scope = match path.as_deref() {
            Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string(),
            // Earlier builds of the same address are those to compare with.
            None if is_elsewhere(context) => context.clone(),
            None => String::new(),
        };
        let (allow, device_grants) = entitlements(&self.allow, &self.network)?;
        let request = BuildRequest {
            context: source,
            dockerfile_path: path,
            contexts,
            layout_images,
            keep_image: true,
            pull: self.pull,
            tags,
            options: BuildOptions {
                // A script's variable that is not set is no stage.
                target: self.target.clone().filter(|target| !target.is_empty()),
                build_args,
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
                allow,
                device_grants,
                jobs: match mode {
                    // Classic output tells one step after the other.
                    Mode::Classic => 1,
                    _ => self.jobs.unwrap_or(8),
                },
                scope,
                ..BuildOptions::default()
            },
            secrets,
            surroundings,
            add_hosts,
            shm_size,
            ulimits,
            limits: self.resources.limits()?,
            device_directories: crate::registries::device_directories()?,
            // Decided by the outputs.
            annotations: BTreeMap::new(),
            annotated: BTreeMap::new(),
            shape: Default::default(),
            needs_layers: false,
            cache_from: self.cache.sources()?,
            cache_to: self.cache.destinations(inline_cache)?,
        };
        Ok(Request { request, dockerfile })
    }

    /// What is wrong whatever the Dockerfile says.
    fn refuse_wrong_values(&self) -> Result<(), Failure> {
        has_names("build-arg", &self.build_arg)?;
        has_names("label", &self.label)?;
        for (flag, value) in [("provenance", &self.provenance), ("sbom", &self.sbom)] {
            if !matches!(value.as_str(), "false" | "0" | "disabled=true") {
                return Err(Failure::argument(flag, value, "attestations are not made yet: leave it out"));
            }
        }
        Ok(())
    }

    /// Standard input is a tar with everything, or a Dockerfile alone.
    fn read_stdin(&self, elsewhere: &Elsewhere<'_>) -> Result<Found, Failure> {
        if self.file.as_deref() == Some("-") {
            return Err(unprepared("standard input cannot be both the context and the Dockerfile"));
        }
        refuse_terminal()?;
        let mut head = Vec::new();
        std::io::stdin().take(512).read_to_end(&mut head)?;
        if is_archive(&head) {
            let context = elsewhere
                .global
                .engine()?
                .tar_context(Box::new(Cursor::new(head).chain(std::io::stdin())))?;
            let (dockerfile, path) = self.dockerfile_in(&context, elsewhere)?;
            return Ok((dockerfile, path, ContextSource::Tar(context)));
        }
        if self.file.is_some() {
            return Err(unprepared("with the Dockerfile on standard input (-), -f cannot name another one"));
        }
        std::io::stdin().read_to_end(&mut head)?;
        Ok((Dockerfile { name: "Dockerfile".to_owned(), text: utf8(head)? }, None, ContextSource::Empty))
    }

    /// A repository, an archive, or a Dockerfile without a context.
    fn fetch_context(&self, address: &str, elsewhere: &Elsewhere<'_>) -> Result<Found, Failure> {
        let keep = self
            .build_args()
            .get("BUILDKIT_CONTEXT_KEEP_GIT_DIR")
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "t" | "true"));
        let engine = elsewhere.global.engine()?;
        match engine.remote_context(address, keep, elsewhere.remote()).map_err(unfetched)? {
            RemoteContext::Files(context) => {
                let (dockerfile, path) = self.dockerfile_in(&context, elsewhere)?;
                Ok((dockerfile, path, ContextSource::Tar(context)))
            }
            RemoteContext::Dockerfile(bytes) => {
                let (dockerfile, path) = match self.file.as_deref() {
                    None => (Dockerfile { name: "Dockerfile".to_owned(), text: utf8(bytes)? }, None),
                    Some(_) => self.dockerfile(Path::new(""), elsewhere)?,
                };
                Ok((dockerfile, path, ContextSource::Empty))
            }
        }
    }

    /// The Dockerfile of a tar; an absolute `-f` is a file of this machine.
    fn dockerfile_in(
        &self,
        context: &TarContext,
        elsewhere: &Elsewhere<'_>,
    ) -> Result<(Dockerfile, Option<PathBuf>), Failure> {
        const LARGEST: u64 = 16 << 20;
        let outside = |path: &&str| path.starts_with('/') || *path == "-" || is_url(path);
        if self.file.as_deref().filter(outside).is_some() {
            return self.dockerfile(Path::new(""), elsewhere);
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
    fn dockerfile(
        &self,
        context: &Path,
        elsewhere: &Elsewhere<'_>,
    ) -> Result<(Dockerfile, Option<PathBuf>), Failure> {
        let path = match self.file.as_deref() {
            Some("-") => {
                let text = utf8(stdin()?)?;
                return Ok((Dockerfile { name: "Dockerfile".to_owned(), text }, None));
            }
            Some(url) if is_url(url) => {
                let engine = elsewhere.global.engine()?;
                let bytes = engine.remote_dockerfile(url, elsewhere.remote()).map_err(unfetched)?;
                return Ok((Dockerfile { name: "Dockerfile".to_owned(), text: utf8(bytes)? }, None));
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
            Some(list) if list.contains(',') => Err(bad(format!(
                "--platform {list}: one platform can be built at a time; build each and join them with another tool"
            ))),
            Some(text) => text.parse().map_err(bad),
        }
    }

    /// What each name means, and where its files are.
    fn named_contexts(&self, elsewhere: &Elsewhere<'_>) -> Result<NamedContexts, Failure> {
        let (mut named, mut directories, mut layouts) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for text in &self.build_context {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| bad(format!("invalid context value: {text}, expected key=value")))?;
            if let Some(image) = value.strip_prefix("docker-image://") {
                named.insert(name.to_owned(), NamedContext::Image(reference(image)?));
            } else if let Some(layout) = value.strip_prefix("oci-layout://") {
                let (directory, tag, digest) = layout_parts(layout)?;
                let engine = elsewhere.global.engine()?;
                let image =
                    engine.layout_image(Path::new(directory), tag, digest.as_ref()).map_err(unfetched)?;
                named.insert(name.to_owned(), NamedContext::Image(reference(&image.id().short())?));
                layouts.push(image);
            } else {
                let files = if is_remote(value) {
                    let engine = elsewhere.global.engine()?;
                    let files = engine.remote_files(value, elsewhere.remote()).map_err(unfetched)?;
                    ContextSource::Tar(files)
                } else if let Some((scheme, _)) = value.split_once("://") {
                    return Err(bad(format!(
                        "build context {name}: unsupported scheme {scheme}: use a directory, docker-image://, \
                         oci-layout://, http(s):// or a git repository"
                    )));
                } else {
                    ContextSource::Directory(PathBuf::from(value))
                };
                named.insert(name.to_owned(), NamedContext::Files);
                directories.insert(name.to_owned(), files);
            }
        }
        Ok((named, directories, layouts))
    }
}

/// `DIRECTORY[:TAG][@DIGEST]`
fn layout_parts(text: &str) -> Result<(&str, Option<&str>, Option<Digest>), Failure> {
    let (text, digest) = match text.rsplit_once('@') {
        Some((text, digest)) => {
            let digest =
                digest.parse().map_err(|error| bad(format!("oci-layout://{text}@{digest}: {error}")))?;
            (text, Some(digest))
        }
        None => (text, None),
    };
    match text.rsplit_once(':') {
        Some((directory, tag)) if !tag.contains('/') => Ok((directory, Some(tag), digest)),
        _ => Ok((text, None, digest)),
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
