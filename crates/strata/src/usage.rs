//! The command line as Docker reads it, where clap does not: boolean flags with a value (`--rm=true`), which
//! command was meant, its `Usage:` line, and the sentences about wrong flags and argument counts.

use clap::{Arg, ArgAction, Command};
use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

static DEFINITION: OnceLock<fn() -> Command> = OnceLock::new();

/// The command that the arguments name, and the arguments as clap takes them.
pub(crate) struct Invocation<'a> {
    /// Its definition.
    command: Cow<'a, Command>,
    /// `image ls`; empty for the program itself.
    path: String,
    /// Everything after the program's name.
    arguments: Vec<OsString>,
    /// What is no value of a boolean flag: the flag and the value.
    bad_boolean: Option<(String, String)>,
}

/// Says what commands there are; before anything else of this module is used.
pub(crate) fn define(commands: fn() -> Command) {
    DEFINITION.get_or_init(|| commands);
}

/// The command tree, called as the user called it. Docker's usage lines have the commands whose names are among the
/// arguments of this process: nobody sees the others', and to write them all takes as long as many a command does.
pub(crate) fn tree() -> Command {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    tree_with(&|name| words.iter().any(|word| word == name))
}

/// The command tree with the usage lines of those commands, and whatever they are in, whose name is `wanted`.
fn tree_with(wanted: &dyn Fn(&str) -> bool) -> Command {
    let program = program_name();
    // None are there where a test calls a single function that refuses something.
    let commands = DEFINITION.get().map_or_else(|| Command::new(program), |commands| commands());
    describe(commands.name(program).bin_name(program).args_override_self(true), program, wanted)
}

/// `docker` when called by that name, `strata` otherwise.
pub(crate) fn program_name() -> &'static str {
    let name = std::env::args_os().next().map(PathBuf::from);
    match name.as_deref().and_then(|path| path.file_name()) {
        Some(name) if name == "docker" => "docker",
        _ => "strata",
    }
}

fn describe(command: Command, path: &str, wanted: &dyn Fn(&str) -> bool) -> Command {
    let is_wanted = |sub: &&Command| wanted(sub.get_name()) || sub.get_all_aliases().any(wanted);
    let names: Vec<String> =
        command.get_subcommands().filter(is_wanted).map(|sub| sub.get_name().to_owned()).collect();
    let usage = usage_of(&command, path);
    let command = command.override_usage(usage).mut_args(as_docker_lists);
    names.into_iter().fold(command, |command, name| {
        let path = format!("{path} {name}");
        command.mut_subcommand(name, |sub| describe(sub, &path, wanted))
    })
}

fn usage_of(command: &Command, path: &str) -> String {
    if command.has_subcommands() {
        return if path.contains(' ') {
            format!("{path} COMMAND")
        } else {
            format!("{path} [OPTIONS] COMMAND")
        };
    }
    let mut usage = format!("{path} [OPTIONS]");
    for argument in command.get_positionals() {
        let names = argument.get_value_names().unwrap_or_default();
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        let name = names.join(" ");
        let is_whole = takes_many(argument) || name.starts_with('[');
        usage = if is_whole { format!("{usage} {name}") } else { format!("{usage} [{name}]") };
    }
    usage
}

/// Flags stand in alphabetical order. Arguments are not listed: the usage line names them.
fn as_docker_lists(arg: Arg) -> Arg {
    if arg.is_positional() { arg.hide(true) } else { arg.display_order(0) }
}

fn takes_many(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// Whether the command seems to be one that starts processes in containers. A word that only looks like it costs a
/// millisecond.
pub(crate) fn will_start_processes(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.skip(1).take(6).any(|word| ["run", "exec", "build"].iter().any(|name| word == *name))
}

impl Invocation<'static> {
    /// Of this process.
    pub(crate) fn current() -> Self {
        Self::of(Cow::Owned(tree()), std::env::args_os().skip(1))
    }
}

impl<'a> Invocation<'a> {
    /// Of this process, in the command tree that is there already.
    pub(crate) fn of_process(tree: &'a Command) -> Self {
        Self::of(Cow::Borrowed(tree), std::env::args_os().skip(1))
    }

    /// Follows the arguments down the command tree.
    fn of(tree: Cow<'a, Command>, arguments: impl Iterator<Item = OsString>) -> Self {
        let mut invocation =
            Self { command: tree, path: String::new(), arguments: Vec::new(), bad_boolean: None };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let Some(text) = argument.to_str().map(str::to_owned) else {
                invocation.arguments.push(argument);
                break;
            };
            if text == "--"
                || (!text.starts_with('-') && !invocation.descend(&text) && invocation.stops_at_positional())
            {
                invocation.arguments.push(argument);
                break;
            }
            let takes_next = text.starts_with('-') && invocation.takes_next(&text);
            invocation.arguments.extend(invocation.rewritten(&text).map(OsString::from));
            if takes_next {
                invocation.arguments.extend(arguments.next());
            }
            invocation.bad_boolean =
                invocation.bad_boolean.take().or_else(|| invocation.wrong_boolean(&text));
        }
        invocation.arguments.extend(arguments);
        invocation
    }

    fn descend(&mut self, name: &str) -> bool {
        let Some(sub) = self.command.find_subcommand(name).cloned() else { return false };
        self.path = format!("{} {name}", self.path).trim_start().to_owned();
        // Flags of every command are defined at the top only.
        // One that means something else here (`registry serve --root`) hides them.
        let hidden = |arg: &Arg| sub.get_arguments().any(|own| own.get_id() == arg.get_id());
        let global: Vec<Arg> =
            self.command.get_arguments().filter(|arg| arg.is_global_set() && !hidden(arg)).cloned().collect();
        self.command = Cow::Owned(sub.args(global));
        true
    }

    /// What follows IMAGE belongs to the container.
    fn stops_at_positional(&self) -> bool {
        self.command.get_positionals().any(Arg::is_trailing_var_arg_set) && !self.command.has_subcommands()
    }

    fn flag(&self, long: &str) -> Option<&Arg> {
        self.command.get_arguments().find(|arg| {
            arg.get_long() == Some(long)
                || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
        })
    }

    /// Whether the flag's value is the next argument.
    fn takes_next(&self, text: &str) -> bool {
        let takes_value = |arg: &Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
        if let Some(long) = text.strip_prefix("--") {
            return !long.contains('=') && self.flag(long).is_some_and(takes_value);
        }
        let mut letters = text[1..].chars();
        while let Some(letter) = letters.next() {
            let arg = self.command.get_arguments().find(|arg| arg.get_short() == Some(letter));
            if arg.is_some_and(takes_value) {
                return letters.as_str().is_empty();
            }
        }
        false
    }

    /// A switch of this command in the form `--name=value`.
    fn switch<'t>(&'t self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let is_switch = |arg: &&Arg| matches!(arg.get_action(), ArgAction::SetTrue);
        let (name, value) = text.strip_prefix('-')?.split_once('=')?;
        if let Some(name) = name.strip_prefix('-') {
            return self.flag(name).filter(is_switch).map(|_| (name, value));
        }
        // `-d=true`, one letter alone.
        let mut letters = name.chars();
        let (letter, None) = (letters.next()?, letters.next()) else { return None };
        let arg = self.command.get_arguments().find(|arg| arg.get_short() == Some(letter));
        Some((arg.filter(is_switch)?.get_long()?, value))
    }

    /// `--rm=true` is `--rm`, `--rm=false` is nothing.
    fn rewritten(&self, text: &str) -> Option<String> {
        match self.switch(text) {
            None => Some(text.to_owned()),
            Some((name, value)) => (boolean(value) == Some(true)).then(|| format!("--{name}")),
        }
    }

    fn wrong_boolean(&self, text: &str) -> Option<(String, String)> {
        let (name, value) = self.switch(text)?;
        boolean(value).is_none().then(|| (name.to_owned(), value.to_owned()))
    }

    /// The arguments for clap, the program's name first; or the sentence about a boolean that is none.
    pub(crate) fn arguments(&self) -> Result<Vec<OsString>, String> {
        if let Some((name, value)) = &self.bad_boolean {
            return Err(format!(
                "invalid argument {value:?} for {:?} flag: use true or false",
                self.flag_name(name)
            ));
        }
        Ok(std::iter::once(OsString::from(program_name())).chain(self.arguments.iter().cloned()).collect())
    }

    /// `strata image ls`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", program_name(), self.path).trim_end().to_owned()
    }

    /// `-f, --filter`, as Docker's messages call a flag.
    pub(crate) fn flag_name(&self, long: &str) -> String {
        match self.flag(long).and_then(Arg::get_short) {
            Some(short) => format!("-{short}, --{long}"),
            None => format!("--{long}"),
        }
    }

    /// `flag needs an argument: ...`: `'t' in -t` when it was written short.
    pub(crate) fn missing_value(&self, long: &str) -> String {
        let last = self.arguments.last().and_then(|text| text.to_str()).unwrap_or_default();
        let short = self.flag(long).and_then(Arg::get_short).filter(|_| !last.starts_with("--"));
        match short {
            Some(short) if last.ends_with(short) => format!("flag needs an argument: '{short}' in {last}"),
            _ => format!("flag needs an argument: --{long}"),
        }
    }

    /// `unknown flag: --x` and `unknown shorthand flag: 'x' in -ax`; `near` names a flag that looks like it.
    pub(crate) fn unknown_flag(&self, flag: &str, near: &str) -> String {
        if let Some(long) = flag.strip_prefix("--") {
            let name = long.split('=').next().unwrap_or(long);
            let is_dockers = crate::docker::has_flag(&self.path, name);
            return format!(
                "unknown flag: --{name}{}",
                if is_dockers { crate::docker::NOT_YET } else { near }
            );
        }
        let letter = flag.chars().nth(1).unwrap_or('-');
        let written = self.arguments.iter().filter_map(|text| text.to_str());
        let written = written.filter(|text| text.starts_with('-') && !text.starts_with("--"));
        let cluster = written.into_iter().find(|text| text.contains(letter)).unwrap_or(flag);
        format!("unknown shorthand flag: '{letter}' in {cluster}")
    }

    /// Whether Docker has this command below the one that was named.
    pub(crate) fn is_dockers_command(&self, name: &str) -> bool {
        crate::docker::has_command(format!("{} {name}", self.path).trim_start())
    }

    /// Docker's sentence about too many arguments.
    pub(crate) fn too_many(&self) -> String {
        match self.command.get_positionals().count() {
            0 => format!("'{}' accepts no arguments", self.name()),
            1 => format!("'{}' requires at most 1 argument", self.name()),
            n => format!("'{}' requires at most {n} arguments", self.name()),
        }
    }

    /// The lines that end every message about the command line.
    pub(crate) fn hint(&self) -> String {
        let usage = usage_of(&self.command, &self.name());
        format!("Usage:  {usage}\n\n{}", self.help_hint())
    }

    /// `Run 'strata run --help' for more information`.
    pub(crate) fn help_hint(&self) -> String {
        format!("Run '{} --help' for more information", self.name())
    }

    /// The command's help.
    pub(crate) fn help(&mut self) -> String {
        self.command.to_mut().render_help().to_string()
    }
}

/// As Go reads a boolean.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Invocation<'static> {
        define(<crate::cli::Cli as clap::CommandFactory>::command);
        Invocation::of(Cow::Owned(tree_with(&|_| true)), line.split(' ').map(OsString::from))
    }

    fn rewritten(line: &str) -> String {
        let arguments = of(line).arguments.into_iter().map(|text| text.into_string().expect("written above"));
        arguments.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn switches_take_a_value_until_the_image() {
        assert_eq!(
            rewritten("run --rm=true --init=false -e A=1 img --rm=true"),
            "run --rm --init -e A=1 img --rm=true".replace(" --init", "")
        );
        assert_eq!(rewritten("run --name --rm=true img"), "run --name --rm=true img");
        assert_eq!(rewritten("run -d=true -i=false -t img"), "run --detach -t img");
        assert_eq!(rewritten("build --no-cache=true --pull=0 ."), "build --no-cache .");
        assert_eq!(rewritten("history --human=false img"), "history --human=false img");
        let message = of("rm --force=maybe x").arguments().expect_err("no boolean");
        assert_eq!(message, "invalid argument \"maybe\" for \"-f, --force\" flag: use true or false");
    }

    #[test]
    fn the_command_is_found_behind_global_flags() {
        assert_eq!(of("--root /x image ls -q").path, "image ls");
        assert_eq!(of("--root=/x ps").path, "ps");
        assert_eq!(of("run -it busybox ps").path, "run");
        assert_eq!(of("image nosuch").path, "image");
    }

    #[test]
    fn a_command_that_is_named_has_dockers_usage_line() {
        define(<crate::cli::Cli as clap::CommandFactory>::command);
        let all = tree_with(&|_| true);
        let named = tree_with(&|name| ["image", "ls"].contains(&name));
        let line = |tree: &Command| {
            let image = tree.find_subcommand("image").expect("there");
            image.find_subcommand("ls").expect("there").clone().render_usage().to_string()
        };
        assert!(line(&named).contains("image ls [OPTIONS] [REPOSITORY[:TAG]]"), "{}", line(&named));
        assert_eq!(line(&named), line(&all));
    }

    #[test]
    fn flags_are_named_as_they_were_written() {
        assert_eq!(of("images -qz").unknown_flag("-z", ""), "unknown shorthand flag: 'z' in -qz");
        assert_eq!(of("images --bo=1").unknown_flag("--bo=1", ""), "unknown flag: --bo");
        assert_eq!(of("run -it --name").missing_value("name"), "flag needs an argument: --name");
        assert_eq!(of("run -itv").missing_value("volume"), "flag needs an argument: 'v' in -itv");
    }
}
