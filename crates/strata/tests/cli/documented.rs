//! docs/commands.md and `--help` speak of the same commands and flags.

use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");

/// A flag: its short form, if any, and its long ones.
type Flag = BTreeSet<String>;

/// The flags of every command that does something, from its help.
fn from_help(world: &World, path: &str, found: &mut BTreeMap<String, Vec<Flag>>) {
    let mut arguments: Vec<&str> = path.split_whitespace().collect();
    arguments.push("--help");
    let help = String::from_utf8(world.output(&arguments).stdout).expect("help is UTF-8");
    let mut section = "";
    let mut flags = Vec::new();
    let mut is_group = false;
    for line in help.lines() {
        if !line.starts_with(' ') {
            section = line;
        } else if section == "Commands:" {
            is_group = true;
            // The name stands two spaces in; what is further in goes on with a description.
            let name = line.strip_prefix("  ").and_then(|line| line.split(' ').next()).unwrap_or_default();
            if !name.is_empty() && name != "help" {
                from_help(world, &format!("{path} {name}"), found);
            }
        } else if section == "Options:" && is_flag_line(line) {
            flags.push(flags_in(line.trim_start().split("  ").next().unwrap_or_default()));
        } else if let (Some((_, alias)), Some(flag)) = (line.split_once("[alias: "), flags.last_mut()) {
            flag.extend(flags_in(alias));
        }
    }
    if !is_group {
        flags.retain(|flag| !flag.contains("--help"));
        found.insert(path.trim().to_owned(), flags);
    }
}

/// Where a flag begins; what is further in goes on with a description.
fn is_flag_line(line: &str) -> bool {
    line.strip_prefix("  ").is_some_and(|line| line.starts_with('-') || line.starts_with("    --"))
}

/// `-x` and `--long` in a text.
fn flags_in(text: &str) -> Flag {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let is_flag = |word: &str| match word.strip_prefix("--") {
        Some(long) => long.starts_with(|c: char| c.is_ascii_lowercase()),
        None => word.len() == 2 && word.starts_with('-') && !word.ends_with(|c: char| c.is_ascii_digit()),
    };
    words.filter(|word| is_flag(word)).map(str::to_owned).collect()
}

/// The code in a text: what stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `volume create|ls` names two commands; what is no lower-case word ends a name.
fn commands_in(usage: &str) -> Vec<String> {
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '|');
    let words: Vec<&str> = usage.split(' ').take_while(is_name).collect();
    let Some((last, group)) = words.split_last() else { return Vec::new() };
    let names = last.split('|').map(|name| [group, &[name]].concat().join(" "));
    // To the parser `ls` is an argument of `tag`, as an image may be called so.
    names.map(|name| if name == "tag ls" { "tag".to_owned() } else { name }).collect()
}

/// Every row of the tables of commands: the commands it is about, and the flags it speaks of.
fn from_document() -> Vec<(Vec<String>, Flag)> {
    let text = fs_err::read_to_string(DOCUMENT).expect("the document is there").replace("\\|", "|");
    let mut rows = Vec::new();
    let mut is_table_of_commands = false;
    for line in text.lines() {
        if line == "| command | what it does |" {
            is_table_of_commands = true;
        } else if !line.starts_with('|') {
            is_table_of_commands = false;
        } else if is_table_of_commands && line.starts_with("| `") {
            let (usage, _) = line[2..].split_once("` | ").expect("a row has two cells");
            let commands = code(&format!("{usage}`")).flat_map(commands_in).collect();
            rows.push((commands, code(line).flat_map(flags_in).collect()));
        }
    }
    rows
}

/// `docker image ls` is `docker images`, and so on: one description serves both.
fn described_as(command: &str) -> String {
    match command {
        "image ls" => "images".to_owned(),
        "image rm" => "rmi".to_owned(),
        "container ls" => "ps".to_owned(),
        "container inspect" => "inspect".to_owned(),
        "system info" => "info".to_owned(),
        other => {
            let (group, name) = other.split_once(' ').unwrap_or_default();
            let alone = ["build", "history", "tag", "pull", "push", "save", "load", "import"];
            let is_alias = group == "container" && name != "prune" || alone.contains(&name);
            if is_alias && group != "manifest" { name.to_owned() } else { other.to_owned() }
        }
    }
}

#[test]
fn the_document_and_the_help_have_the_same_commands_and_flags() {
    let world = World::new();
    let mut helps = BTreeMap::new();
    from_help(&world, "", &mut helps);
    assert!(helps.len() > 50, "only {} commands found in the help", helps.len());
    let rows = from_document();
    let rows_about = |command: &str| {
        let is_it = |name: &String| name == command || described_as(command) == *name;
        rows.iter().filter(|(commands, _)| commands.iter().any(is_it)).collect::<Vec<_>>()
    };
    let mut faults = Vec::new();
    for (command, flags) in &helps {
        let about = rows_about(command);
        if about.is_empty() {
            faults.push(format!("{command} is in no table of commands"));
            continue;
        }
        let is_told = |flag: &Flag| about.iter().any(|(_, told)| !flag.is_disjoint(told));
        faults.extend(
            flags.iter().filter(|flag| !is_told(flag)).map(|flag| format!("{command}: {flag:?} is not told")),
        );
    }
    for (commands, told) in &rows {
        let known: Flag =
            commands.iter().filter_map(|command| helps.get(command)).flatten().flatten().cloned().collect();
        faults.extend(
            commands
                .iter()
                .filter(|command| !helps.contains_key(*command))
                .map(|name| format!("there is no command {name}")),
        );
        faults.extend(told.difference(&known).map(|flag| format!("{commands:?} do not have {flag}")));
    }
    assert!(faults.is_empty(), "docs/commands.md and --help differ:\n{}", faults.join("\n"));
}
