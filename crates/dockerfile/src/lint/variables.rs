//! Rules about variables, platforms, secrets and the context.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Found;
use super::context::{Finder, keyword};
use crate::{
    Command, CopySource, Expanded, Instruction, Stage, Verdict, Word, expand, expand_heredoc, go_quote,
    nearest, platform,
};

/// Arguments that every build has before its first FROM.
const PLATFORM_ARGS: [&str; 11] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETSTAGE",
];

/// Arguments that every RUN has without ARG.
const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
];

type Values = BTreeMap<String, Option<String>>;

/// Variables at one place of a stage, as far as the file alone tells. A name without a known value has an empty one.
#[derive(Clone, Default)]
pub(super) struct Scope {
    values: Values,
    globals: Rc<Values>,
    /// Whether every variable of the base is known.
    complete: bool,
    escape: char,
}

impl Scope {
    /// The global arguments with their defaults.
    pub(super) fn global(finder: &Finder<'_>) -> Self {
        let mut scope = Self { escape: finder.escape(), complete: true, ..Self::default() };
        scope.values.extend(PLATFORM_ARGS.map(|name| (name.to_owned(), None)));
        finder.file.global_args.iter().for_each(|instruction| scope.declare(instruction));
        scope
    }

    /// At the beginning of each stage.
    pub(super) fn of_stages(finder: &Finder<'_>) -> Vec<Self> {
        let globals = Rc::new(Self::global(finder).values);
        let mut starts: Vec<Self> = Vec::new();
        // Only a stage that another one begins with is read to its end.
        let mut ends: BTreeMap<usize, Self> = BTreeMap::new();
        let parents: Vec<Option<usize>> = finder.stages().map(|(index, _)| finder.parent(index)).collect();
        for (index, stage) in finder.stages() {
            let start = match parents[index].and_then(|parent| ends.get(&parent)) {
                Some(end) => end.clone(),
                None => Self::of_base(finder, stage, &globals),
            };
            if parents.contains(&Some(index)) {
                let mut end = start.clone();
                stage.instructions.iter().for_each(|instruction| end.declare(instruction));
                ends.insert(index, end);
            }
            starts.push(start);
        }
        starts
    }

    fn of_base(finder: &Finder<'_>, stage: &Stage, globals: &Rc<Values>) -> Self {
        let env = finder.input.base_env.and_then(|base_env| base_env(stage));
        let complete = env.is_some() || stage.base.text == "scratch";
        let mut values = Values::from([("PATH".to_owned(), None)]);
        for variable in env.into_iter().flatten() {
            let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
            values.insert(name.to_owned(), Some(value.to_owned()));
        }
        Self { values, globals: Rc::clone(globals), complete, escape: finder.escape() }
    }

    /// A value; empty if the name is known and its value is not.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned().map(Option::unwrap_or_default)
    }

    /// Whether the value of a name is known, not only the name.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(Option::is_some)
    }

    /// Adds what an ARG or ENV declares.
    pub(super) fn declare(&mut self, instruction: &Instruction) {
        let text = |scope: &Self, word: &Word| {
            expand(word, scope.escape, &|name| scope.value(name)).ok().map(|expanded| expanded.text)
        };
        match &instruction.command {
            Command::Arg(declarations) => {
                for arg in declarations {
                    let name = text(self, &arg.name).unwrap_or_default();
                    let global = || self.globals.get(&name).cloned().flatten();
                    let value = arg.default.as_ref().map_or_else(global, |default| text(self, default));
                    self.values.insert(name, value);
                }
            }
            Command::Env(pairs) => {
                // All pairs of a line see the values from before it.
                let pair =
                    |(key, value): &(Word, Word)| (text(self, key).unwrap_or_default(), text(self, value));
                let new: Vec<_> = pairs.iter().map(pair).collect();
                self.values.extend(new);
            }
            _ => {}
        }
    }
}

pub(super) fn undefined_arg_in_from(finder: &Finder<'_>, found: &mut Found<'_>) {
    let scope = Scope::global(finder);
    for (_, stage) in finder.stages() {
        for word in [Some(&stage.base), stage.platform.as_ref()].into_iter().flatten() {
            let expanded = expand(word, finder.escape(), &|name| scope.value(name)).unwrap_or_default();
            for name in &expanded.unset {
                let mut message = format!("FROM argument '{name}' is not declared");
                if let Some(near) = nearest(name, scope.values.keys().map(String::as_str), true) {
                    message.push_str(&format!(" (did you mean {near}?)"));
                }
                found.stage(stage, message);
            }
        }
    }
}

pub(super) fn undefined_var(finder: &Finder<'_>, found: &mut Found<'_>) {
    for ((_, stage), mut scope) in finder.stages().zip(Scope::of_stages(finder)) {
        for instruction in &stage.instructions {
            for name in unset(instruction, &scope) {
                let near = nearest(&name, scope.values.keys().map(String::as_str), true);
                // The base image may set what this file does not; a slip of the pen is still worth a word.
                if !scope.complete && near.is_none() {
                    continue;
                }
                let mut message = format!("Usage of undefined variable '${name}'");
                if let Some(near) = near {
                    message.push_str(&format!(" (did you mean ${near}?)"));
                }
                found.instruction(instruction, message);
            }
            scope.declare(instruction);
        }
    }
}

/// Names that an instruction uses and that have no value.
fn unset(instruction: &Instruction, scope: &Scope) -> Vec<String> {
    let lookup = |name: &str| scope.value(name);
    let mut names: Vec<String> = Vec::new();
    let mut add = |expanded: Expanded| {
        let fresh = expanded.unset.into_iter().filter(|name| !PROXY_ARGS.contains(&name.as_str()));
        names.extend(fresh);
    };
    for word in words(&instruction.command) {
        add(expand(word, scope.escape, &lookup).unwrap_or_default());
    }
    let sources = match &instruction.command {
        Command::Copy(copy) => copy.sources.as_slice(),
        Command::Add(add) => add.sources.as_slice(),
        _ => &[],
    };
    for heredoc in sources.iter().filter_map(CopySource::heredoc).filter(|heredoc| heredoc.expand) {
        add(expand_heredoc(&heredoc.body, &lookup).unwrap_or_default());
    }
    names.dedup();
    names
}

/// The words of an instruction in which variables are expanded.
fn words(command: &Command) -> Vec<&Word> {
    match command {
        Command::Env(pairs) | Command::Label(pairs) => {
            pairs.iter().flat_map(|(key, value)| [key, value]).collect()
        }
        Command::Arg(declarations) => declarations.iter().filter_map(|arg| arg.default.as_ref()).collect(),
        Command::Copy(copy) => {
            let flags = [copy.chown.as_ref(), copy.chmod.as_ref(), Some(&copy.destination)];
            copy.sources.iter().filter_map(CopySource::path).chain(flags.into_iter().flatten()).collect()
        }
        Command::Add(add) => {
            let flags =
                [add.chown.as_ref(), add.chmod.as_ref(), add.checksum.as_ref(), Some(&add.destination)];
            add.sources.iter().filter_map(CopySource::path).chain(flags.into_iter().flatten()).collect()
        }
        Command::Workdir(word) | Command::User(word) | Command::StopSignal(word) => vec![word],
        Command::Volume(words) => words.iter().collect(),
        _ => Vec::new(),
    }
}

pub(super) fn redundant_target_platform(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, stage) in finder.stages() {
        let Some(platform) = &stage.platform else { continue };
        if matches!(platform.text.as_str(), "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
            let text = &platform.text;
            let message = format!(
                "Setting platform to predefined {text} in FROM is redundant as this is the default behavior"
            );
            found.stage(stage, message);
        }
    }
}

pub(super) fn from_platform_flag_const_disallowed(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, stage) in finder.stages() {
        let Some(word) = stage.platform.as_ref().filter(|word| !word.text.contains('$')) else { continue };
        let Ok(platform) = platform::parse(&word.text) else { continue };
        let name = stage.name.as_ref().map_or("", |name| name.text.as_str());
        let parts = [platform.os.as_deref(), platform.architecture.as_deref()];
        if !parts.into_iter().flatten().any(|part| name.contains(part)) {
            let text = go_quote(&word.text);
            found.stage(stage, format!("FROM --platform flag should not use constant value {text}"));
        }
    }
}

pub(super) fn secrets_used_in_arg_or_env(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, instruction) in finder.instructions() {
        let names: Vec<&str> = match &instruction.command {
            Command::Arg(declarations) => declarations.iter().map(|arg| arg.name.text.as_str()).collect(),
            Command::Env(pairs) => pairs.iter().map(|(key, _)| key.text.as_str()).collect(),
            _ => continue,
        };
        let keyword = keyword(&instruction.original).to_uppercase();
        for name in names.into_iter().filter(|name| is_secret(name)) {
            let name = go_quote(name);
            let message = format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name})");
            found.instruction(instruction, message);
        }
    }
}

/// Whether one of the words that a name is made of speaks of a secret, and none of something public.
fn is_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    let has = |wanted: &[&str]| lower.split('_').any(|word| wanted.contains(&word));
    has(&[
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ]) && !has(&["public", "file", "version"])
}

/// Only names with variables: a constant that is wrong fails anyway, and says so better.
pub(super) fn invalid_default_arg_in_from(finder: &Finder<'_>, found: &mut Found<'_>) {
    let scope = Scope::global(finder);
    for (_, stage) in finder.stages() {
        let base = &stage.base;
        let Ok(expanded) = expand(base, finder.escape(), &|name| scope.value(name)) else { continue };
        if base.text.contains('$') && !is_reference(&expanded.text) {
            let message =
                format!("Default value for ARG {} results in empty or invalid base image name", base.text);
            found.stage(stage, message);
        }
    }
}

/// Whether a text has the form of an image reference.
fn is_reference(text: &str) -> bool {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let tag_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let tag_is_right = tag.is_none_or(|tag| {
        !tag.is_empty() && tag.len() <= 128 && tag.chars().all(tag_char) && !tag.starts_with(['.', '-'])
    });
    let digest_is_right = digest.is_none_or(|digest| {
        let hex = digest.split_once(':').map_or("", |(_, hex)| hex);
        hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
    });
    let path = match name.split_once('/') {
        Some((domain, path))
            if domain.contains(['.', ':']) || domain == "localhost" || domain != domain.to_lowercase() =>
        {
            path
        }
        _ => name,
    };
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let component = |part: &str| {
        part.starts_with(edge)
            && part.ends_with(edge)
            && part.chars().all(|c| edge(c) || matches!(c, '.' | '_' | '-'))
    };
    tag_is_right && digest_is_right && path.split('/').all(component)
}

/// `!` rules make it too hard to tell; then nothing is said.
pub(super) fn copy_ignored_file(finder: &Finder<'_>, found: &mut Found<'_>) {
    let Some(ignore) = finder.input.ignore.filter(|ignore| !ignore.has_exceptions()) else { return };
    for (_, instruction) in finder.instructions() {
        let (verb, sources) = match &instruction.command {
            Command::Copy(copy) if copy.from.is_none() => ("Copy", &copy.sources),
            Command::Add(add) => ("Add", &add.sources),
            _ => continue,
        };
        let literal = |word: &&Word| !word.text.contains('$') && !word.text.contains("://");
        for word in sources.iter().filter_map(CopySource::path).filter(literal) {
            let cleaned = crate::ignore::clean(word.text.as_bytes());
            let path = cleaned.strip_prefix(b"/").unwrap_or(&cleaned);
            let root = path.is_empty() || path == b".";
            let all = || ignore.verdict(b"\x01", false) == Verdict::Exclude;
            if if root { all() } else { ignore.matches_any(path) } {
                let shown = go_quote(&String::from_utf8_lossy(&cleaned));
                found.instruction(
                    instruction,
                    format!("Attempting to {verb} file {shown} that is excluded by .dockerignore"),
                );
            }
        }
    }
}
