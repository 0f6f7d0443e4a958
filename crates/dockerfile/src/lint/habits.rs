//! Rules of strata's own: what makes images large, builds slow or results differ.

use super::Found;
use super::context::Finder;
use super::shell_words::{commands, verb};
use crate::{Command, CommandLine, Run, Script, go_quote};

pub(super) fn unpinned_base_image(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (index, stage) in finder.stages() {
        let base = stage.base.text.as_str();
        if base == "scratch" || base.contains(['$', '@']) || finder.parent(index).is_some() {
            continue;
        }
        let name = base.rsplit('/').next().unwrap_or(base);
        let message = match name.split_once(':') {
            None => format!("Base image {} has no tag, which means latest; name a version", go_quote(base)),
            Some((_, "latest")) => {
                format!("Base image {} moves with every release; name a version", go_quote(base))
            }
            Some(_) => continue,
        };
        found.stage(stage, message);
    }
}

/// The commands that a RUN calls.
pub(super) fn calls(run: &Run) -> Vec<Vec<String>> {
    let own = |commands: Vec<Vec<&str>>| -> Vec<Vec<String>> {
        commands.into_iter().map(|words| words.into_iter().map(str::to_owned).collect()).collect()
    };
    match (&run.command, run.script()) {
        (CommandLine::Exec(words), _) => match &words[..] {
            [_, flag, script] if flag.starts_with('-') && flag.ends_with('c') => own(commands(script)),
            words => vec![words.to_vec()],
        },
        (_, Some(Script::Text(text) | Script::File { content: text, .. })) => own(commands(&text)),
        (_, None) => Vec::new(),
    }
}

pub(super) fn any(calls: &[Vec<String>], test: impl Fn(&str, &str, &[&str]) -> bool) -> bool {
    calls.iter().any(|words| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (program, first) = verb(&words);
        test(program, first, &words)
    })
}

pub(super) fn is_apt(program: &str) -> bool {
    matches!(program, "apt" | "apt-get" | "aptitude")
}

/// Installs packages of the distribution.
pub(super) fn installs_packages(program: &str, first: &str) -> bool {
    match program {
        "apk" => first == "add",
        "yum" | "dnf" | "microdnf" | "zypper" => matches!(first, "install" | "groupinstall" | "in"),
        program => is_apt(program) && matches!(first, "install" | "build-dep"),
    }
}

/// Installs what the source tree lists.
pub(super) fn installs_dependencies(program: &str, first: &str, words: &[&str]) -> bool {
    match program {
        "npm" | "pnpm" => matches!(first, "install" | "ci" | "i"),
        "yarn" => matches!(first, "" | "install"),
        "pip" | "pip3" => {
            first == "install" && words.iter().any(|w| w.starts_with("-r") || w.starts_with("--req"))
        }
        "python" | "python3" => words.contains(&"pip") && words.contains(&"install") && words.contains(&"-r"),
        "bundle" | "composer" | "poetry" | "pipenv" | "uv" => matches!(first, "install" | "sync"),
        "go" => first == "mod" && words.contains(&"download"),
        "cargo" => first == "fetch",
        "mvn" => words.iter().any(|word| word.starts_with("dependency:")),
        _ => false,
    }
}

/// Brings or makes many files.
pub(super) fn makes_files(program: &str, first: &str, words: &[&str]) -> bool {
    installs_packages(program, first)
        || installs_dependencies(program, first, words)
        || matches!(program, "curl" | "wget" | "tar" | "unzip" | "git" | "make")
}

/// Deletes what an install left.
fn cleans_up(program: &str, first: &str, words: &[&str]) -> bool {
    match program {
        "rm" => words.iter().any(|word| word.starts_with('-') && word.contains(['r', 'R'])),
        "yum" | "dnf" | "microdnf" | "npm" | "yarn" | "pip" | "pip3" => matches!(first, "clean" | "cache"),
        program => {
            is_apt(program) && matches!(first, "clean" | "autoclean" | "autoremove" | "purge" | "remove")
        }
    }
}

/// Brings every package up to date.
pub(super) fn upgrades(program: &str, first: &str, words: &[&str]) -> bool {
    match program {
        "apk" => first == "upgrade",
        "yum" | "dnf" | "microdnf" => matches!(first, "update" | "upgrade") && words.len() <= 3,
        program => is_apt(program) && matches!(first, "upgrade" | "dist-upgrade" | "full-upgrade"),
    }
}

pub(super) fn split_package_update(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, instruction) in finder.instructions() {
        let Command::Run(run) = &instruction.command else { continue };
        let calls = calls(run);
        let updates = any(&calls, |program, first, _| is_apt(program) && first == "update");
        if updates && !any(&calls, |program, first, _| is_apt(program) && first != "update") {
            let message = "apt-get update in a RUN of its own is cached and goes stale; put it before the install in the same RUN";
            found.instruction(instruction, message.to_owned());
        }
    }
}

pub(super) fn cleanup_in_later_layer(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, stage) in finder.stages() {
        let mut installed_before = false;
        for instruction in &stage.instructions {
            let Command::Run(run) = &instruction.command else { continue };
            let calls = calls(run);
            let installs = any(&calls, makes_files);
            let cleans = any(&calls, cleans_up);
            if cleans && !installs && installed_before {
                let message = "Deleting in a later RUN does not make the image smaller; delete in the RUN that made the files";
                found.instruction(instruction, message.to_owned());
            }
            installed_before |=
                installs || any(&calls, |program, first, _| is_apt(program) && first == "update");
        }
    }
}

/// `COPY . .`
pub(super) fn copies_everything(command: &Command) -> bool {
    let sources = match command {
        Command::Copy(copy) if copy.from.is_none() => &copy.sources,
        Command::Add(add) => &add.sources,
        _ => return false,
    };
    let mut paths = sources.iter().filter_map(|source| source.path());
    paths.any(|word| matches!(word.text.as_str(), "." | "./" | "/" | "*" | "./*"))
}

pub(super) fn missing_dockerignore(finder: &Finder<'_>, found: &mut Found<'_>) {
    let Some(unwanted) = finder.input.unfiltered else { return };
    let Some((_, copy)) = finder.instructions().find(|(_, found)| copies_everything(&found.command)) else {
        return;
    };
    let what = match unwanted {
        [] => "everything in the context".to_owned(),
        names => names.join(", "),
    };
    let message = format!("There is no .dockerignore: this copies {what}");
    found.instruction(copy, message);
}

pub(super) fn copy_all_before_install(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, stage) in finder.stages() {
        let mut copy_all = None;
        for instruction in &stage.instructions {
            match &instruction.command {
                command if copies_everything(command) => {
                    copy_all.get_or_insert(instruction);
                }
                Command::Run(run) if any(&calls(run), installs_dependencies) => {
                    if let Some(copy) = copy_all.take() {
                        let message = "Any changed file installs all dependencies anew; copy the list of dependencies and install them before copying the rest";
                        found.instruction(copy, message.to_owned());
                    }
                }
                _ => {}
            }
        }
    }
}

pub(super) fn package_upgrade(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, instruction) in finder.instructions() {
        let Command::Run(run) = &instruction.command else { continue };
        if any(&calls(run), upgrades) {
            let message = "Upgrading all packages makes a large layer that differs from build to build; use a newer base image";
            found.instruction(instruction, message.to_owned());
        }
    }
}
