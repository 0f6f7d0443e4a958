//! A rough reading of shell text: enough to see which programs it calls.

/// The commands of a script as words, wrappers like `sudo` and assignments in front left out.
pub(super) fn commands(script: &str) -> Vec<Vec<&str>> {
    let mut commands = Vec::new();
    for part in script.split(['\n', ';', '&', '|', '(', ')', '{', '}']) {
        let mut words: Vec<&str> =
            part.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
        let is_prefix = |word: &&str| {
            matches!(*word, "sudo" | "exec" | "env" | "time" | "nice" | "then" | "do" | "else" | "if" | "!")
                || word.split_once('=').is_some_and(|(name, _)| is_name(name))
        };
        let prefixes = words.iter().take_while(|word| is_prefix(word)).count();
        words.drain(..prefixes);
        if words.first().is_some_and(|word| !word.starts_with('#')) {
            commands.push(words);
        }
    }
    commands
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The program without its directory, and its first argument that is no option.
pub(super) fn verb<'w>(command: &[&'w str]) -> (&'w str, &'w str) {
    let program = command.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
    let mut rest = command.iter().skip(1);
    while let Some(word) = rest.next() {
        match *word {
            // Options of apt that take a value.
            "-o" | "-c" | "-t" => drop(rest.next()),
            word if word.starts_with('-') => {}
            word => return (program, word),
        }
    }
    (program, "")
}
