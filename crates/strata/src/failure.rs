//! What the user reads when something went wrong, and the exit code (`spec/engine.md`, section 2, "Exit codes").

use crate::usage::{Invocation, program_name};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::io::Write;
use strata_engine::EngineError;
use strata_engine::login::LoginError;
use strata_engine::transfer::TransferError;

/// A failed command: what to print on standard error, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The result of a command: its exit code.
pub(crate) type Outcome = Result<u8, Failure>;

impl Failure {
    /// Docker's general failure: exit code 1.
    pub(crate) fn new(message: impl std::fmt::Display) -> Self {
        Self { text: format!("Error: {message}"), code: 1 }
    }

    /// Text printed as it is, with a code of its own.
    pub(crate) fn with_code(text: impl Into<String>, code: u8) -> Self {
        Self { text: text.into(), code }
    }

    /// Nothing more to say: the code alone.
    pub(crate) fn silent(code: u8) -> Self {
        Self { text: String::new(), code }
    }

    /// A wrong number of arguments: exit code 1, with the command's usage.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        let program = program_name();
        Self { text: format!("{program}: {message}\n\n{}", Invocation::current().hint()), code: 1 }
    }

    /// A flag that does not exist or has a bad value: exit code 125, with the command's usage.
    pub(crate) fn flag(message: impl std::fmt::Display) -> Self {
        Self { text: format!("{message}\n\n{}", Invocation::current().hint()), code: 125 }
    }

    /// `invalid argument "x" for "-m, --memory" flag: why`.
    pub(crate) fn argument(flag: &str, value: &str, why: impl std::fmt::Display) -> Self {
        let name = Invocation::current().flag_name(flag);
        Self::flag(format!("invalid argument {value:?} for {name:?} flag: {why}"))
    }

    /// `run` failed before the container's process was there, or could not start it.
    pub(crate) fn run(message: impl std::fmt::Display, code: u8) -> Self {
        let program = program_name();
        let message = message.to_string();
        let message = message.strip_prefix("Error: ").unwrap_or(&message);
        Self { text: format!("{program}: {message}\n\n{}", Invocation::current().help_hint()), code }
    }

    /// Ended because of a signal: Docker's exit code for that.
    pub(crate) fn with_signal(self, signal: usize) -> Self {
        Self { code: u8::try_from(128 + signal).unwrap_or(1), ..self }
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn print(&self) {
        if !self.text.is_empty() {
            // Nobody is left to tell when standard error itself is gone.
            let _ = writeln!(std::io::stderr(), "{}", self.text);
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let mut text = with_causes(&error);
        if error.is_disk_full() {
            text.push_str(
                "; make room there: `strata system df --disk` shows what is stored, `strata image prune -a` and \
                 `strata builder prune -a` remove what nothing uses",
            );
        }
        if matches!(error, EngineError::Transfer(TransferError::Cancelled)) {
            return Self::with_code(text, 130);
        }
        // A sentence that says of itself that it is an error needs no second word for it.
        if text.starts_with("Error ") { Self::with_code(text, 1) } else { Self::new(text) }
    }
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        Self::new(with_causes(&error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // A closed pipe (`strata images | head`) is the reader's choice, not a failure.
        if error.kind() == std::io::ErrorKind::BrokenPipe { Self::silent(0) } else { Self::new(error) }
    }
}

/// The error and its causes in one line, leaving out a cause whose text the line already ends with.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Why a value was refused, in words that do not come from a library.
fn reason(source: Option<&(dyn std::error::Error + 'static)>) -> String {
    match source {
        None => "not allowed".to_owned(),
        Some(error) if error.is::<std::num::ParseIntError>() => "expected a whole number".to_owned(),
        Some(error) if error.is::<std::num::ParseFloatError>() => "expected a number".to_owned(),
        Some(error) => error.to_string(),
    }
}

/// Help and version go to standard output with code 0; a flag that does not exist is 125 on any command.
pub(crate) fn from_clap(error: &clap::Error, mut invocation: Invocation<'_>) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    // `--filter <FILTER>`: the name alone.
    let flag = context(ContextKind::InvalidArg).unwrap_or_default();
    let flag = flag.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
    let long = flag.trim_start_matches('-');
    let near = |kind| context(kind).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = write!(std::io::stdout(), "{}", error.render());
            Failure::silent(0)
        }
        // A group without a command shows what there is, and that is no failure.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            let _ = write!(std::io::stderr(), "{}", invocation.help());
            Failure::silent(0)
        }
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let (program, group) = (program_name(), invocation.name());
            let near = match invocation.is_dockers_command(&name) {
                true => crate::docker::NOT_YET.to_owned(),
                false => near(ContextKind::SuggestedSubcommand),
            };
            let text =
                format!("{program}: unknown command: {group} {name}{near}\n\n{}", invocation.help_hint());
            Failure::with_code(text, 1)
        }
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            Failure::flag(invocation.unknown_flag(&flag, &near(ContextKind::SuggestedArg)))
        }
        // As Docker's parser says it.
        ErrorKind::MissingRequiredArgument if flag.starts_with('-') => {
            Failure::usage(format!("required flag(s) {long:?} not set"))
        }
        ErrorKind::UnknownArgument => Failure::usage(invocation.too_many()),
        ErrorKind::InvalidValue
            if context(ContextKind::InvalidValue).is_none_or(|value| value.is_empty()) =>
        {
            Failure::flag(invocation.missing_value(long))
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            Failure::argument(long, &value, reason(std::error::Error::source(error)))
        }
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            Failure::flag(first.trim_start_matches("error: "))
        }
    }
}
