//! Flags of instructions, checked (`spec/build.md` 1.3).

use super::words::Flag;
use crate::error::Fault;
use crate::suggest;
use crate::{Span, Word};

/// What kinds of value a flag takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Bool,
    One,
    Many,
}

/// The flags an instruction knows.
pub(crate) type Known = &'static [(&'static str, Kind)];

/// The flags of one instruction, all known, none twice that may not.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    found: Vec<(&'static str, Option<Word>)>,
}

impl Flags {
    pub(crate) fn check(flags: Vec<Flag>, known: Known) -> Result<Self, Fault> {
        let mut checked = Self::default();
        for flag in flags {
            checked.add(flag, known)?;
        }
        Ok(checked)
    }

    fn add(&mut self, flag: Flag, known: Known) -> Result<(), Fault> {
        let Flag { name, value, span } = flag;
        let short = name.strip_prefix("--").unwrap_or(&name);
        let Some((key, kind)) = known.iter().copied().find(|(key, _)| *key == short) else {
            let suggestion = suggest::suffix(short, known.iter().map(|(key, _)| *key), true);
            return Err(Fault::new(format!("unknown flag: {name}{suggestion}")).at(span));
        };
        if kind != Kind::Many && self.found.iter().any(|(found, _)| *found == key) {
            return Err(Fault::new(format!("duplicate flag specified: {name}")).at(span));
        }
        let missing = || Fault::new(format!("missing a value on flag: {name}")).at(span);
        match kind {
            Kind::Bool => check_bool(&name, value.as_ref(), span)?,
            Kind::One | Kind::Many if value.is_none() => return Err(missing()),
            Kind::One | Kind::Many => {}
        }
        self.found.push((key, value));
        Ok(())
    }

    pub(crate) fn one(&self, key: &str) -> Option<Word> {
        self.found.iter().find(|(found, _)| *found == key).and_then(|(_, value)| value.clone())
    }

    /// Like `one`, but an empty value is as good as none.
    pub(crate) fn filled(&self, key: &str) -> Option<Word> {
        self.one(key).filter(|word| !word.text.is_empty())
    }

    pub(crate) fn many(&self, key: &str) -> Vec<Word> {
        self.found.iter().filter(|(found, _)| *found == key).filter_map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn bool(&self, key: &str) -> Option<bool> {
        let (_, value) = self.found.iter().find(|(found, _)| *found == key)?;
        Some(value.as_ref().is_none_or(|word| word.text.eq_ignore_ascii_case("true")))
    }
}

fn check_bool(name: &str, value: Option<&Word>, span: Span) -> Result<(), Fault> {
    match value.map(|word| word.text.to_ascii_lowercase()).as_deref() {
        None | Some("true" | "false") => Ok(()),
        Some("") => Err(Fault::new(format!("missing a value on flag: {name}")).at(span)),
        Some(_) => {
            let value = value.map_or("", |word| &word.text);
            Err(Fault::new(format!("expecting boolean value for flag {name}, not: {value}")).at(span))
        }
    }
}
