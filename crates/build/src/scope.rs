//! Which names a word may use: global ARGs for FROM, ENV and ARG within a stage (`spec/build.md` 1.8).
use crate::error::Site;
use crate::{BuildError, BuildErrorKind, BuildOptions};
use std::collections::{BTreeMap, BTreeSet};
use strata_dockerfile::{ArgDeclaration, Command, Dockerfile, Stage, Word};
use strata_oci::Platform;

/// Variables that RUN gets without a declaration, and that leave no trace in keys or history.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Name of the argument that fixes all times of an image.
const EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Its value that means the time of the main context.
pub(crate) const CONTEXT: &str = "context";

/// An environment: ordered, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Env(Vec<(String, String)>);

impl Env {
    /// From `NAME=value` strings; one without `=` is an empty variable, as in Docker.
    pub(crate) fn parse(lines: &[String]) -> Self {
        let mut env = Self::default();
        for line in lines {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            env.set(name, value);
        }
        env
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What is set last stands last, also where it was set before: as in BuildKit, whose keys have it so.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Expands a word; unset variables are empty.
    pub(crate) fn expand(&self, word: &Word, escape: char, site: Site) -> Result<String, BuildError> {
        strata_dockerfile::expand(&word.text, escape, &|name| self.get(name).map(str::to_owned))
            .map(|expanded| expanded.text)
            .map_err(|error| site.word(word.span, BuildErrorKind::Expand(error)))
    }
}

/// ARGs before the first FROM and the predefined ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Globals {
    /// `--build-arg`, settled.
    given: BTreeMap<String, String>,
    values: Env,
    declared: BTreeSet<String>,
}

impl Globals {
    pub(crate) fn new(dockerfile: &Dockerfile, options: &BuildOptions) -> Result<Self, BuildError> {
        let mut globals = Self { given: options.build_args.clone(), ..Self::default() };
        for (name, value) in predefined(dockerfile, options) {
            let given = options.build_args.get(&name).cloned();
            globals.values.set(&name, &given.unwrap_or(value));
            globals.declared.insert(name);
        }
        for instruction in &dockerfile.global_args {
            let Command::Arg(declarations) = &instruction.command else { continue };
            for declaration in declarations {
                globals.declare(declaration, dockerfile.directives.escape, instruction.span.into())?;
            }
        }
        Ok(globals)
    }

    /// The same, with `SOURCE_DATE_EPOCH` as a number.
    pub(crate) fn settled(dockerfile: &Dockerfile, options: &BuildOptions) -> Result<Self, BuildError> {
        let mut globals = Self::new(dockerfile, options)?;
        globals.settle_epoch(dockerfile, options)?;
        Ok(globals)
    }

    /// What `SOURCE_DATE_EPOCH` names, where it is no number.
    pub(crate) fn named_epoch(&self) -> Option<&str> {
        let value = self.given.get(EPOCH).map(String::as_str).or_else(|| self.get(EPOCH));
        value.filter(|text| !text.is_empty() && text.parse::<i64>().is_err())
    }

    /// What a stage that only fetches something may use: everything but the time that depends on it.
    pub(crate) fn without_epoch(&self) -> Env {
        let mut values = self.values.clone();
        values.remove(EPOCH);
        values
    }

    /// `SOURCE_DATE_EPOCH` may name a source whose time is meant: then it is that time. Files of this machine have none,
    /// and some downloads: it is then as if not given.
    fn settle_epoch(&mut self, dockerfile: &Dockerfile, options: &BuildOptions) -> Result<(), BuildError> {
        let Some(text) = self.named_epoch() else { return Ok(()) };
        if let Some(time) = options.context_times.get(text) {
            let seconds = time.as_second().to_string();
            if self.get(EPOCH).is_some() {
                self.values.set(EPOCH, &seconds);
            }
            self.given.insert(EPOCH.to_owned(), seconds);
            return Ok(());
        }
        if text == CONTEXT || options.contexts.contains_key(text) || stage_named(dockerfile, text).is_some() {
            self.given.remove(EPOCH);
            self.values.remove(EPOCH);
            return Ok(());
        }
        let sentence = format!("invalid {EPOCH}: {text}");
        Err(BuildError { kind: BuildErrorKind::Instruction(sentence), spans: Vec::new() })
    }

    fn declare(&mut self, declaration: &ArgDeclaration, escape: char, site: Site) -> Result<(), BuildError> {
        let name = &declaration.name.text;
        let value = match (self.given(name), &declaration.default) {
            (Some(given), _) => Some(given.to_owned()),
            (None, Some(default)) => Some(self.expand(default, escape, site)?),
            (None, None) => None,
        };
        self.declared.insert(name.clone());
        if let Some(value) = value {
            self.values.set(name, &value);
        }
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)
    }

    pub(crate) fn expand(&self, word: &Word, escape: char, site: Site) -> Result<String, BuildError> {
        self.values.expand(word, escape, site)
    }

    pub(crate) fn declared(&self) -> &BTreeSet<String> {
        &self.declared
    }

    /// What `--build-arg` says.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// The fixed time of the build, from `--build-arg` or a global ARG's default.
    pub(crate) fn epoch(&self) -> Result<Option<jiff::Timestamp>, BuildError> {
        let Some(text) = self.given(EPOCH).or_else(|| self.get(EPOCH)) else { return Ok(None) };
        if text.is_empty() {
            return Ok(None);
        }
        let seconds = text.parse().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let bad = || BuildErrorKind::Instruction(format!("invalid {EPOCH}: {text}"));
        seconds.map(Some).ok_or_else(|| BuildError { kind: bad(), spans: Vec::new() })
    }
}

/// The first stage of a name.
pub(crate) fn stage_named<'d>(dockerfile: &'d Dockerfile, name: &str) -> Option<&'d Stage> {
    let own = |stage: &&Stage| stage.name.as_ref().is_some_and(|own| own.text.eq_ignore_ascii_case(name));
    dockerfile.stages.iter().find(own)
}

/// TARGETPLATFORM and its family, before overriding.
fn predefined(dockerfile: &Dockerfile, options: &BuildOptions) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut family = |prefix: &str, platform: &Platform| {
        let variant = platform.variant.clone().unwrap_or_default();
        for (suffix, value) in [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("OSVERSION", String::new()),
            ("ARCH", platform.architecture.clone()),
            ("VARIANT", variant),
        ] {
            all.push((format!("{prefix}{suffix}"), value));
        }
    };
    family("BUILD", &options.build_platform);
    family("TARGET", &options.platform);
    let last = || dockerfile.stages.last().and_then(|stage| stage.name.as_ref());
    let stage = options.target.clone().or_else(|| last().map(|name| name.text.clone()));
    all.push(("TARGETSTAGE".to_owned(), stage.unwrap_or_else(|| "default".to_owned())));
    all
}

/// The proxy variables of RUN, each in both spellings (`spec/build.md` 1.8).
pub(crate) fn proxies(options: &BuildOptions) -> Vec<(String, String)> {
    let mut env = Env::default();
    for name in PROXIES {
        let given = options.build_args.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
            env.set(name, value);
            env.set(&name.to_ascii_lowercase(), value);
        }
    }
    env.0
}

/// Build arguments that no ARG asked for, as BuildKit's warning lists them.
pub(crate) fn unconsumed(options: &BuildOptions, declared: &BTreeSet<String>) -> Option<String> {
    let left: Vec<&str> = options
        .build_args
        .keys()
        .map(String::as_str)
        .filter(|name| !declared.contains(*name) && !is_known(name))
        .collect();
    (!left.is_empty())
        .then(|| format!("[Warning] One or more build-args [{}] were not consumed", left.join(" ")))
}

fn is_known(name: &str) -> bool {
    name == EPOCH
        || name.starts_with("BUILDKIT_")
        || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}
