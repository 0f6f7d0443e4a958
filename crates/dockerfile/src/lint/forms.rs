//! Rules about the forms of instructions.

use super::Found;
use super::context::{Finder, keyword};
use super::variables::Scope;
use crate::ports::PortSpec;
use crate::{Command, CommandLine, Instruction, expand, go_quote, parse};

pub(super) fn no_empty_continuation(finder: &Finder<'_>, found: &mut Found<'_>) {
    for warning in finder.file.warnings.iter().filter(|warning| warning.rule == "NoEmptyContinuation") {
        found.add(None, warning.span, warning.message.clone());
    }
}

pub(super) fn json_args_recommended(finder: &Finder<'_>, found: &mut Found<'_>) {
    let mut shells: Vec<bool> = Vec::new();
    for (index, stage) in finder.stages() {
        let mut shell = finder.parent(index).is_some_and(|parent| shells[parent]);
        for instruction in &stage.instructions {
            match &instruction.command {
                Command::Shell(_) => shell = true,
                Command::Cmd(CommandLine::Shell(_)) | Command::Entrypoint(CommandLine::Shell(_))
                    if !shell =>
                {
                    let name = keyword(&instruction.original);
                    found.instruction(
                        instruction,
                        format!("JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"),
                    );
                }
                _ => {}
            }
        }
        shells.push(shell);
    }
}

pub(super) fn maintainer_deprecated(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, instruction) in finder.instructions() {
        if matches!(instruction.command, Command::Maintainer(_)) {
            found.instruction(
                instruction,
                "Maintainer instruction is deprecated in favor of using label".to_owned(),
            );
        }
    }
}

/// Only the first WORKDIR counts: if that is absolute, relative ones behind it are meant so.
pub(super) fn workdir_relative_path(finder: &Finder<'_>, found: &mut Found<'_>) {
    let mut set: Vec<bool> = Vec::new();
    for ((index, stage), mut scope) in finder.stages().zip(Scope::of_stages(finder)) {
        let mut known = finder.parent(index).is_some_and(|parent| set[parent]);
        for instruction in &stage.instructions {
            if let Command::Workdir(path) = &instruction.command {
                let expanded = expand(path, finder.escape(), &|name| scope.value(name)).unwrap_or_default();
                let sure = expanded.unset.is_empty() && expanded.used.iter().all(|name| scope.is_known(name));
                if !known && sure && !expanded.text.starts_with('/') {
                    let path = go_quote(&expanded.text);
                    let message = format!(
                        "Relative workdir {path} can have unexpected results if the base image changes"
                    );
                    found.instruction(instruction, message);
                }
                known = true;
            }
            scope.declare(instruction);
        }
        set.push(known);
    }
}

/// The warning stands at the one that is overridden.
pub(super) fn multiple_instructions_disallowed(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, stage) in finder.stages() {
        let mut last: [Option<&Instruction>; 3] = [None; 3];
        for instruction in &stage.instructions {
            let slot = match instruction.command {
                Command::Cmd(_) => 0,
                Command::Entrypoint(_) => 1,
                Command::Healthcheck(_) => 2,
                _ => continue,
            };
            if let Some(overridden) = last[slot].replace(instruction) {
                let name = keyword(&instruction.original);
                found.instruction(
                    overridden,
                    format!("Multiple {name} instructions should not be used in the same stage because only the last one will be used"),
                );
            }
        }
    }
}

pub(super) fn legacy_key_value_format(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, instruction) in finder.instructions() {
        let pairs = matches!(instruction.command, Command::Env(_) | Command::Label(_));
        if pairs && parse::is_legacy(&instruction.original, finder.escape()) {
            let name = keyword(&instruction.original);
            let message =
                format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
            found.instruction(instruction, message);
        }
    }
}

/// Port specifications as far as they can be read without variables.
fn ports<'a>(finder: &Finder<'a>) -> impl Iterator<Item = (&'a Instruction, &'a str, PortSpec)> {
    finder.instructions().flat_map(|(_, instruction)| {
        let words = if let Command::Expose(words) = &instruction.command { words.as_slice() } else { &[] };
        let spec = move |text: &'a str| Some((instruction, text, PortSpec::parse(text).ok()?));
        words.iter().filter_map(move |word| spec(&word.text))
    })
}

pub(super) fn expose_proto_casing(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (instruction, text, _) in ports(finder).filter(|(_, _, spec)| spec.odd_case) {
        found.instruction(
            instruction,
            format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase"),
        );
    }
}

pub(super) fn expose_invalid_format(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (instruction, text, _) in ports(finder).filter(|(_, _, spec)| spec.has_host) {
        found.instruction(
            instruction,
            format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
            ),
        );
    }
}

pub(super) fn invalid_definition_description(finder: &Finder<'_>, found: &mut Found<'_>) {
    let odd = |doc: Option<&str>, names: &[&str]| {
        let last = doc.and_then(|doc| doc.lines().last())?;
        let described = last.split(' ').next().unwrap_or_default();
        (!names.is_empty() && !names.contains(&described)).then(|| match names {
            [name] => (*name).to_owned(),
            _ => "<arg_key>".to_owned(),
        })
    };
    let message = |keyword: &str, name: String| {
        format!("Comment for {keyword} should follow the format: `# {name} <description>`")
    };
    for (_, stage) in finder.stages() {
        let names: Vec<&str> = stage.name.iter().map(|name| name.text.as_str()).collect();
        if let Some(name) = odd(stage.doc.as_deref(), &names) {
            found.stage(stage, message("FROM", name));
        }
    }
    let arguments = finder.file.global_args.iter().chain(finder.instructions().map(|(_, found)| found));
    for instruction in arguments {
        let Command::Arg(declarations) = &instruction.command else { continue };
        let names: Vec<&str> = declarations.iter().map(|arg| arg.name.text.as_str()).collect();
        if let Some(name) = odd(instruction.doc.as_deref(), &names) {
            found.instruction(instruction, message("ARG", name));
        }
    }
}
