//! The corrected lines for a warning, as far as the file says what they are.

use super::habits::{
    any, calls, copies_everything, installs_dependencies, installs_packages, is_apt, makes_files, upgrades,
};
use super::shell_words::{commands, verb};
use crate::{Command, CommandLine, Copy, Dockerfile, Instruction, Run, Span, Stage, Warning, Word, go_quote};

/// The lines that would be right in place of those a warning is about; `None` where that is for a human to decide.
pub fn correction(file: &Dockerfile, warning: &Warning) -> Option<String> {
    let at = place(file, warning.span);
    match (warning.rule, at) {
        ("UnpinnedBaseImage", Place::From(stage)) => Some(pinned(stage)),
        ("StageNameCasing" | "FromAsCasing", Place::From(stage)) => from_casing(stage),
        ("SplitPackageUpdate", Place::In(stage, at)) => split_update(stage, at),
        ("CleanupInLaterLayer", Place::In(stage, at)) => late_cleanup(stage, at),
        ("CopyAllBeforeInstall", Place::In(stage, at)) => list_first(stage, at),
        ("PackageUpgrade", Place::In(stage, at)) => without_upgrade(&stage.instructions[at]),
        ("MissingDockerignore", _) => {
            Some("# .dockerignore\n.git\n.env\nnode_modules\n**/__pycache__\n*.log\nDockerfile\n".to_owned())
        }
        ("MaintainerDeprecated", Place::In(stage, at)) => match &stage.instructions[at].command {
            Command::Maintainer(who) => {
                Some(format!("LABEL org.opencontainers.image.authors={}\n", go_quote(who)))
            }
            _ => None,
        },
        ("LegacyKeyValueFormat", Place::In(stage, at)) => modern_pairs(&stage.instructions[at]),
        ("JSONArgsRecommended", Place::In(stage, at)) => exec_form(&stage.instructions[at]),
        _ => None,
    }
}

enum Place<'a> {
    From(&'a Stage),
    In(&'a Stage, usize),
    Elsewhere,
}

fn place(file: &Dockerfile, span: Span) -> Place<'_> {
    let holds = |outer: Span| outer.start <= span.start && span.start < outer.end.max(outer.start + 1);
    for stage in &file.stages {
        if holds(stage.span) {
            return Place::From(stage);
        }
        if let Some(at) = stage.instructions.iter().position(|instruction| holds(instruction.span)) {
            return Place::In(stage, at);
        }
    }
    Place::Elsewhere
}

fn pinned(stage: &Stage) -> String {
    let base = &stage.base.text;
    let name = base.strip_suffix(":latest").unwrap_or(base);
    format!("{}\n", stage.original.replacen(base.as_str(), &format!("{name}:<version>"), 1))
}

fn from_casing(stage: &Stage) -> Option<String> {
    let name = stage.name.as_ref()?;
    let mut words: Vec<String> = stage.original.split_whitespace().map(str::to_owned).collect();
    let [.., keyword, last] = &mut words[..] else { return None };
    let upper = stage.original.starts_with('F');
    *keyword = if upper { "AS" } else { "as" }.to_owned();
    last.clone_from(&name.text);
    Some(format!("{}\n", words.join(" ")))
}

/// A RUN in shell form without heredocs: its text.
fn shell_text(run: &Run) -> Option<&str> {
    match &run.command {
        CommandLine::Shell(text) if run.heredocs.is_empty() => Some(text.trim()),
        _ => None,
    }
}

fn run_of(instruction: &Instruction) -> Option<&Run> {
    match &instruction.command {
        Command::Run(run) => Some(run),
        _ => None,
    }
}

/// One RUN of several commands, a line for each.
fn joined(parts: &[&str]) -> String {
    format!("RUN {}\n", parts.join(" \\\n && "))
}

const CLEAN_LISTS: &str = "rm -rf /var/lib/apt/lists/*";

fn split_update(stage: &Stage, at: usize) -> Option<String> {
    let update = shell_text(run_of(&stage.instructions[at])?)?;
    let later = stage.instructions[at + 1..].iter().filter_map(run_of);
    let install = later.into_iter().find(|run| {
        any(&calls(run), |program, first, _| is_apt(program) && installs_packages(program, first))
    })?;
    let install = shell_text(install)?;
    let cleaned = install.contains("/var/lib/apt/lists");
    let parts = [update, install, CLEAN_LISTS];
    Some(joined(if cleaned { &parts[..2] } else { &parts }))
}

fn late_cleanup(stage: &Stage, at: usize) -> Option<String> {
    let cleanup = shell_text(run_of(&stage.instructions[at])?)?;
    let mut before = stage.instructions[..at].iter().rev().filter_map(run_of);
    let maker = before.find(|run| any(&calls(run), makes_files))?;
    Some(joined(&[shell_text(maker)?, cleanup]))
}

/// The files that name the dependencies which a command installs.
fn dependency_lists(words: &[&str]) -> Vec<String> {
    let (program, _) = verb(words);
    let named = |files: &[&str]| files.iter().map(|&file| file.to_owned()).collect();
    match program {
        "npm" => named(&["package.json", "package-lock.json"]),
        "pnpm" => named(&["package.json", "pnpm-lock.yaml"]),
        "yarn" => named(&["package.json", "yarn.lock"]),
        "bundle" => named(&["Gemfile", "Gemfile.lock"]),
        "composer" => named(&["composer.json", "composer.lock"]),
        "poetry" => named(&["pyproject.toml", "poetry.lock"]),
        "uv" => named(&["pyproject.toml", "uv.lock"]),
        "pipenv" => named(&["Pipfile", "Pipfile.lock"]),
        "go" => named(&["go.mod", "go.sum"]),
        "cargo" => named(&["Cargo.toml", "Cargo.lock"]),
        "mvn" => named(&["pom.xml"]),
        _ => {
            let mut rest = words.iter().skip_while(|word| !matches!(**word, "-r" | "--requirement"));
            rest.nth(1).map(|file| (*file).to_owned()).into_iter().collect()
        }
    }
}

fn list_first(stage: &Stage, at: usize) -> Option<String> {
    let copy = &stage.instructions[at];
    let destination = match &copy.command {
        command if !copies_everything(command) => return None,
        Command::Copy(Copy { destination, .. }) => &destination.text,
        _ => return None,
    };
    let later = stage.instructions[at + 1..].iter();
    let install = later
        .into_iter()
        .find(|later| run_of(later).is_some_and(|run| any(&calls(run), installs_dependencies)))?;
    let words = calls(run_of(install)?)
        .into_iter()
        .find(|words| any(std::slice::from_ref(words), installs_dependencies))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let lists = dependency_lists(&words);
    if lists.is_empty() {
        return None;
    }
    let mut directory = destination.clone();
    if !directory.ends_with('/') {
        directory.push('/');
    }
    Some(format!("COPY {} {directory}\n{}\n{}\n", lists.join(" "), install.original, copy.original))
}

/// The commands of a `a && b && c` that remain without those that upgrade.
fn without_upgrade(instruction: &Instruction) -> Option<String> {
    let text = shell_text(run_of(instruction)?)?;
    let parts: Vec<&str> = text.split("&&").map(str::trim).collect();
    let calls_of = |part: &str, test: &dyn Fn(&str, &str, &[&str]) -> bool| {
        commands(part).iter().any(|words| {
            let (program, first) = verb(words);
            test(program, first, words)
        })
    };
    let kept: Vec<&str> = parts.into_iter().filter(|part| !calls_of(part, &upgrades)).collect();
    let useful = |part: &&str| !calls_of(part, &|program, first, _| is_apt(program) && first == "update");
    if kept.iter().any(useful) {
        return Some(joined(&kept));
    }
    Some("(leave this RUN out, and name a newer base image in FROM)\n".to_owned())
}

fn modern_pairs(instruction: &Instruction) -> Option<String> {
    let (keyword, pairs) = match &instruction.command {
        Command::Env(pairs) => ("ENV", pairs),
        Command::Label(pairs) => ("LABEL", pairs),
        _ => return None,
    };
    let quoted = |value: &Word| {
        let text = value.text.trim();
        let plain = !text.is_empty() && !text.contains([' ', '\t']);
        if plain || text.starts_with(['"', '\'']) { text.to_owned() } else { go_quote(text) }
    };
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{}={}", name.text, quoted(value))).collect();
    Some(format!("{keyword} {}\n", pairs.join(" ")))
}

/// The exec form, when the text is nothing but words; otherwise a shell that `exec`s is a choice of its own.
fn exec_form(instruction: &Instruction) -> Option<String> {
    let (keyword, text) = match &instruction.command {
        Command::Cmd(CommandLine::Shell(text)) => ("CMD", text),
        Command::Entrypoint(CommandLine::Shell(text)) => ("ENTRYPOINT", text),
        _ => return None,
    };
    let words: Vec<String> =
        if text.contains(['$', '`', '|', '&', ';', '<', '>', '*', '?', '(', '"', '\'', '\\', '~', '=']) {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), format!("exec {}", text.trim())]
        } else {
            text.split_whitespace().map(str::to_owned).collect()
        };
    let compound = text.contains(['|', '&', ';']);
    let words: Vec<_> = words.iter().map(|word| go_quote(word)).collect();
    (!compound).then(|| format!("{keyword} [{}]\n", words.join(", ")))
}
