//! `# check=skip=A,B;error=true;experimental=all`.

use super::Rule;
use crate::mount::parse_bool;
use crate::parse::lines::comment_directive;
use crate::{Dockerfile, go_quote};

/// What to look for, and whether a finding fails the build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Rules to leave out.
    pub skip: Choice,
    /// Experimental rules to look for.
    pub experimental: Choice,
    /// Findings fail the build.
    pub error: bool,
}

/// Some rules, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// These.
    Named(Vec<String>),
    /// `all`
    All,
}

impl Default for Choice {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Choice {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => Self::Named(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known == name),
        }
    }
}

/// A `# check=` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// No such option, or one without a value.
    #[error("invalid check option {}", go_quote(.0))]
    Option(String),
    /// `error=` takes a boolean.
    #[error("failed to parse check option {}", go_quote(.0))]
    Boolean(String),
}

impl CheckOptions {
    /// Reads the value of a `# check=` directive.
    pub fn parse(text: &str) -> Result<Self, CheckError> {
        let mut options = Self::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for part in text.trim().splitn(3, ';') {
            let (key, value) = part.split_once('=').ok_or_else(|| CheckError::Option(part.to_owned()))?;
            match key.trim() {
                "skip" => options.skip = Choice::parse(value),
                "experimental" => options.experimental = Choice::parse(value),
                "error" => {
                    options.error =
                        parse_bool(value.trim()).ok_or_else(|| CheckError::Boolean(part.to_owned()))?;
                }
                key => return Err(CheckError::Option(key.to_owned())),
            }
        }
        Ok(options)
    }

    /// The options that a file gives itself. The value ends at the first blank.
    pub fn of(file: &Dockerfile) -> Result<Self, CheckError> {
        match &file.directives.check {
            Some(check) => Self::parse(check.text.split(' ').next().unwrap_or_default()),
            None => Ok(Self::default()),
        }
    }

    pub(super) fn wants(&self, rule: &Rule, here: Option<&Self>) -> bool {
        let any = |has: &dyn Fn(&Self) -> bool| has(self) || here.is_some_and(has);
        if rule.experimental {
            any(&|options| options.experimental.has(rule.name))
        } else {
            !any(&|options| options.skip.has(rule.name))
        }
    }
}

/// The options in the comment above an instruction.
pub(super) fn options_in(doc: &str) -> Option<CheckOptions> {
    let value = doc.lines().find_map(|line| {
        let (key, value) = comment_directive(line)?;
        (key == "check").then_some(value)
    })?;
    CheckOptions::parse(value.split(' ').next().unwrap_or_default()).ok()
}
