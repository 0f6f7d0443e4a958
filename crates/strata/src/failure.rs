//! What the user reads when something went wrong, and the exit code (`spec/engine.md`, section 2, "Exit codes").

use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::io::Write;
use strata_engine::EngineError;

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

    /// A wrong number of arguments, a bad value: exit code 1, usage hint.
    pub(crate) fn usage(command: &str, message: impl std::fmt::Display) -> Self {
        let program = crate::cli::program_name();
        Self { text: format!("{program}: {message}\n\nRun '{program} {command} --help' for more information"), code: 1 }
    }

    /// A bad flag value: exit code 125.
    pub(crate) fn flag(command: &str, message: impl std::fmt::Display) -> Self {
        Self { code: 125, ..Self::usage(command, message) }
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

/// Help and version go to standard output with code 0; a flag that does not exist is 125 on any command.
pub(crate) fn from_clap(error: &clap::Error, program: &str) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = write!(std::io::stdout(), "{}", error.render());
            Failure::silent(0)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = write!(std::io::stderr(), "{}", error.render());
            Failure::silent(1)
        }
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let hint = context(ContextKind::SuggestedSubcommand)
                .map(|near| format!(" (did you mean {near}?)"))
                .unwrap_or_default();
            let text = format!(
                "{program}: unknown command: {program} {name}{hint}\n\nRun '{program} --help' for more information"
            );
            Failure::with_code(text, 1)
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::TooManyValues | ErrorKind::TooFewValues => {
            Failure::with_code(error.render().to_string().trim_end().to_owned(), 1)
        }
        ErrorKind::UnknownArgument => {
            let name = context(ContextKind::InvalidArg).unwrap_or_default();
            let near = context(ContextKind::SuggestedArg)
                .map(|near| format!(" (did you mean {near}?)"))
                .unwrap_or_default();
            if name.starts_with('-') {
                let what = if name.starts_with("--") { "unknown flag" } else { "unknown shorthand flag" };
                Failure::with_code(format!("{what}: {name}{near}\n\n{}", usage_line(error)), 125)
            } else {
                Failure::with_code(error.render().to_string().trim_end().to_owned(), 1)
            }
        }
        _ => Failure::with_code(error.render().to_string().trim_end().to_owned(), 125),
    }
}

fn usage_line(error: &clap::Error) -> String {
    error.render().to_string().lines().skip_while(|line| !line.starts_with("Usage")).collect::<Vec<_>>().join("\n")
}
