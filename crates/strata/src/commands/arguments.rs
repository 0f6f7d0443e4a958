//! What several commands share: argument counts, prompts, `key=value` flags, doing a thing to many names.

use crate::failure::{Failure, Outcome};
use crate::output::emit;
use crate::usage::Invocation;
use std::io::{BufRead, IsTerminal, Write};

/// Docker's sentence and exit code 1 unless there are exactly `count` arguments.
pub(crate) fn exactly(arguments: &[String], count: usize) -> Result<(), Failure> {
    if arguments.len() == count {
        return Ok(());
    }
    Err(wrong_count("requires", count))
}

/// Docker's sentence and exit code 1 unless there are at least `count` arguments.
pub(crate) fn at_least(arguments: &[String], count: usize) -> Result<(), Failure> {
    if arguments.len() >= count {
        return Ok(());
    }
    Err(wrong_count("requires at least", count))
}

/// Docker's sentence and exit code 1 unless there are at most `count` arguments.
pub(crate) fn at_most(arguments: &[String], count: usize) -> Result<(), Failure> {
    if arguments.len() <= count {
        return Ok(());
    }
    Err(wrong_count("requires at most", count))
}

fn wrong_count(requires: &str, count: usize) -> Failure {
    let invocation = Invocation::current();
    let plural = if count == 1 { "" } else { "s" };
    Failure::usage(format!("'{}' {requires} {count} argument{plural}", invocation.name()))
}

/// `key=value` of a `--filter`.
pub(crate) fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("bad format of filter (expected name=value)".to_owned()),
    }
}

/// The values of a flag as `parse` reads them.
pub(crate) fn parsed<T>(
    flag: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Failure> {
    texts.iter().map(|text| parse(text).map_err(|why| Failure::argument(flag, text, why))).collect()
}

/// Refuses `=value` and nothing where `NAME[=VALUE]` is expected.
pub(crate) fn has_names(flag: &str, texts: &[String]) -> Result<(), Failure> {
    let is_nameless = |text: &&String| text.is_empty() || text.starts_with('=');
    match texts.iter().find(is_nameless) {
        Some(text) => Err(Failure::argument(flag, text, "the name is missing: expected NAME[=VALUE]")),
        None => Ok(()),
    }
}

/// `key[=value]` of a label.
pub(crate) fn label(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// Does `action` to every name, prints the name when it worked, and goes on after a failure, as Docker does.
pub(crate) fn each(names: &[String], mut action: impl FnMut(&str) -> Result<(), Failure>) -> Outcome {
    let mut code = 0;
    for name in names {
        match action(name) {
            Ok(()) => emit(&format!("{name}\n"))?,
            Err(failure) => {
                failure.print();
                code = code.max(failure.code());
            }
        }
    }
    Ok(code)
}

/// Asks on the terminal; without one the answer is no.
pub(crate) fn confirmed(warning: &str) -> Result<bool, Failure> {
    emit(&format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if !std::io::stdin().is_terminal() {
        emit("\n")?;
    }
    std::io::stdout().flush()?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}
