//! What metadata instructions do to the config and the history: two pure functions of one value.
use super::{Draft, says};
use crate::error::Site;
use crate::scope::Env;
use crate::{BuildError, BuildErrorKind};
use serde_json::json;
use strata_dockerfile::ports::{self, PortError};
use strata_dockerfile::{Command, CommandLine, Healthcheck, Word, duration, go_quote, signal};
use strata_oci::{Healthcheck as Check, RuntimeConfig};

/// A metadata instruction with its words expanded.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Cmd(Vec<String>),
    Entrypoint { argv: Vec<String>, keep_cmd: bool },
    Shell(Vec<String>),
    Expose(Vec<String>),
    Volume(Vec<String>),
    User(String),
    StopSignal(String),
    Healthcheck(Check),
    Onbuild(String),
    Maintainer(String),
}

impl Effect {
    /// Expands a metadata instruction. All words see the values from before it.
    pub(super) fn of(
        command: &Command,
        draft: &Draft,
        cmd_given: bool,
        escape: char,
        site: Site,
    ) -> Result<Self, BuildError> {
        let expand = |word: &Word| draft.env.expand(word, escape, site);
        let pairs = |pairs: &[(Word, Word)]| {
            pairs.iter().map(|(key, value)| Ok((expand(key)?, expand(value)?))).collect::<Result<_, _>>()
        };
        Ok(match command {
            Command::Env(words) => Self::Env(pairs(words)?),
            Command::Label(words) => Self::Label(pairs(words)?),
            Command::Cmd(line) => Self::Cmd(argv(line, draft)),
            Command::Entrypoint(line) => Self::Entrypoint { argv: argv(line, draft), keep_cmd: cmd_given },
            Command::Shell(shell) => Self::Shell(shell.clone()),
            Command::Expose(words) => Self::Expose(exposed(words, &draft.env, escape, site)?),
            Command::Volume(words) => {
                let paths = words.iter().map(expand).collect::<Result<Vec<_>, _>>()?;
                if paths.iter().any(String::is_empty) {
                    return Err(site.says("VOLUME specified can not be an empty string"));
                }
                Self::Volume(paths)
            }
            Command::User(word) => Self::User(expand(word)?),
            Command::StopSignal(word) => {
                let name = expand(word)?;
                signal::parse(&name).map_err(|error| site.word(word.span, says(error.to_string())))?;
                Self::StopSignal(name)
            }
            Command::Healthcheck(check) => Self::Healthcheck(healthcheck(check)),
            Command::Onbuild { text, .. } => Self::Onbuild(text.clone()),
            Command::Maintainer(author) => Self::Maintainer(author.clone()),
            Command::Arg(_) | Command::Run(_) | Command::Copy(_) | Command::Add(_) | Command::Workdir(_) => {
                unreachable!("lowered by functions of their own")
            }
        })
    }

    /// The config after it (`spec/build.md` 5.1).
    pub(super) fn apply(&self, config: &mut RuntimeConfig) {
        match self {
            Self::Env(pairs) => {
                pairs.iter().for_each(|(name, value)| set(&mut config.env, name, value));
            }
            Self::Label(pairs) => config.labels.extend(pairs.iter().cloned()),
            Self::Cmd(argv) => {
                config.cmd = filled(argv);
                config.args_escaped = true;
            }
            Self::Entrypoint { argv, keep_cmd } => {
                config.entrypoint = filled(argv);
                if !keep_cmd {
                    config.cmd = None;
                }
            }
            Self::Shell(shell) => config.shell = Some(shell.clone()),
            Self::Expose(ports) => {
                config.exposed_ports.extend(ports.iter().map(|port| (port.clone(), json!({}))));
            }
            Self::Volume(paths) => config.volumes.extend(paths.iter().map(|path| (path.clone(), json!({})))),
            Self::User(user) => config.user.clone_from(user),
            Self::StopSignal(name) => config.stop_signal = Some(name.clone()),
            Self::Healthcheck(check) => config.healthcheck = Some(check.clone()),
            Self::Onbuild(text) => config.on_build.push(text.clone()),
            Self::Maintainer(_) => {}
        }
    }

    /// Its row (`spec/build.md` 5.2).
    pub(super) fn history(&self) -> Option<String> {
        Some(match self {
            Self::Env(pairs) => format!("ENV {}", assignments(pairs)),
            Self::Label(pairs) => format!("LABEL {}", assignments(pairs)),
            Self::Cmd(argv) => format!("CMD {}", quoted(argv)),
            Self::Entrypoint { argv, .. } => format!("ENTRYPOINT {}", quoted(argv)),
            Self::Shell(shell) => format!("SHELL [{}]", shell.join(" ")),
            Self::Expose(ports) => format!("EXPOSE [{}]", ports.join(" ")),
            Self::Volume(paths) => format!("VOLUME [{}]", paths.join(" ")),
            Self::User(user) => format!("USER {user}"),
            Self::StopSignal(name) => format!("STOPSIGNAL {name}"),
            Self::Healthcheck(check) => healthcheck_row(check),
            Self::Maintainer(author) => format!("MAINTAINER {author}"),
            Self::Onbuild(_) => return None,
        })
    }
}

/// The ports of all words, in their order; one that is named twice stands there twice, as in BuildKit's history.
fn exposed(words: &[Word], env: &Env, escape: char, site: Site) -> Result<Vec<String>, BuildError> {
    let mut all = Vec::new();
    for word in words {
        let lookup = |name: &str| env.get(name).map(str::to_owned);
        let found = ports::expose(std::slice::from_ref(word), escape, &lookup).map_err(|error| {
            let kind = match error {
                PortError::Expand(error) => BuildErrorKind::Expand(error),
                error => says(error.to_string()),
            };
            site.word(word.span, kind)
        })?;
        all.extend(found);
    }
    Ok(all)
}

/// Replaces a variable in place, or appends it.
fn set(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
        Some(old) => *old = line,
        None => env.push(line),
    }
}

/// `None` where Go would leave an empty list out of the JSON.
fn filled(argv: &[String]) -> Option<Vec<String>> {
    (!argv.is_empty()).then(|| argv.to_vec())
}

/// Shell form through SHELL, exec form as it is.
fn argv(line: &CommandLine, draft: &Draft) -> Vec<String> {
    match line {
        CommandLine::Exec(argv) => argv.clone(),
        CommandLine::Shell(text) => draft.shell().into_iter().chain([text.clone()]).collect(),
    }
}

fn assignments(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// As Go prints a list with `%q`.
fn quoted(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| go_quote(word)).collect::<Vec<_>>().join(" "))
}

fn healthcheck(check: &Healthcheck) -> Check {
    match check {
        Healthcheck::None => Check { test: vec!["NONE".to_owned()], ..Check::default() },
        Healthcheck::Cmd { command, interval, timeout, start_period, start_interval, retries } => {
            let test = match command {
                CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                CommandLine::Exec(argv) => [vec!["CMD".to_owned()], argv.clone()].concat(),
            };
            Check {
                test,
                interval: *interval,
                timeout: *timeout,
                start_period: *start_period,
                start_interval: *start_interval,
                retries: *retries,
            }
        }
    }
}

fn healthcheck_row(check: &Check) -> String {
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        duration::format(check.interval),
        duration::format(check.timeout),
        duration::format(check.start_period),
        duration::format(check.start_interval),
        check.retries
    )
}
