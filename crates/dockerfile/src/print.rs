//! A [`Dockerfile`] back to text. Reading that text gives the same instructions; blanks, comments that describe nothing,
//! letter case and quoting that made no difference are not kept. One thing cannot be written: an ONBUILD whose text ends
//! in an escape because the file ends within a continuation gets a blank behind it.

use std::fmt::{self, Write as _};

use crate::expand::{Mode, run};
use crate::parse::heredoc;
use crate::source::Logical;
use crate::{
    Add, Command, CommandLine, Copy, CopySource, Dockerfile, Healthcheck, Heredoc, Instruction, Run, Stage,
    Word, duration,
};

impl fmt::Display for Dockerfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directives = &self.directives;
        if let Some(syntax) = &directives.syntax {
            writeln!(f, "# syntax={}", syntax.text)?;
        }
        if directives.escape != '\\' {
            writeln!(f, "# escape={}", directives.escape)?;
        }
        if let Some(check) = &directives.check {
            writeln!(f, "# check={}", check.text)?;
        }
        // An empty comment parts directives from a description that looks like one.
        writeln!(f, "#")?;
        let printer = Printer { escape: directives.escape };
        for instruction in &self.global_args {
            f.write_str(&printer.instruction(instruction))?;
        }
        for stage in &self.stages {
            f.write_str(&printer.stage(stage))?;
            for instruction in &stage.instructions {
                f.write_str(&printer.instruction(instruction))?;
            }
        }
        Ok(())
    }
}

struct Printer {
    escape: char,
}

impl Printer {
    fn stage(&self, stage: &Stage) -> String {
        let mut line = Line::new("FROM", self.escape);
        line.flag("platform", stage.platform.as_ref());
        line.words(std::slice::from_ref(&stage.base));
        if let Some(name) = &stage.name {
            line.text(&format!("AS {}", name.text));
        }
        line.finish(stage.doc.as_deref(), &[])
    }

    fn instruction(&self, instruction: &Instruction) -> String {
        let doc = instruction.doc.as_deref();
        let line = |keyword| Line::new(keyword, self.escape);
        let (line, heredocs): (Line, Vec<&Heredoc>) = match &instruction.command {
            Command::Arg(declarations) => {
                let words = declarations.iter().map(|arg| match &arg.default {
                    Some(default) => format!("{}={}", arg.name.text, default.text),
                    None => arg.name.text.clone(),
                });
                (line("ARG").rest(&words.collect::<Vec<_>>().join(" ")), Vec::new())
            }
            Command::Env(pairs) => (line("ENV").rest(&self.pairs(pairs)), Vec::new()),
            Command::Label(pairs) => (line("LABEL").rest(&self.pairs(pairs)), Vec::new()),
            Command::Run(run) => (self.run(run), run.heredocs.iter().collect()),
            Command::Cmd(command) => (line("CMD").command(command), Vec::new()),
            Command::Entrypoint(command) => (line("ENTRYPOINT").command(command), Vec::new()),
            Command::Shell(words) => (line("SHELL").json(words.iter().map(String::as_str)), Vec::new()),
            Command::Copy(copy) => (self.copy(copy), bodies(&copy.sources)),
            Command::Add(add) => (self.add(add), bodies(&add.sources)),
            Command::Workdir(word) => (line("WORKDIR").rest(&word.text), Vec::new()),
            Command::User(word) => (line("USER").rest(&word.text), Vec::new()),
            Command::StopSignal(word) => (line("STOPSIGNAL").rest(&word.text), Vec::new()),
            Command::Maintainer(text) => (line("MAINTAINER").rest(text), Vec::new()),
            Command::Expose(words) => {
                let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
                (line("EXPOSE").rest(&words.join(" ")), Vec::new())
            }
            Command::Volume(words) => (line("VOLUME").list(words), Vec::new()),
            Command::Healthcheck(check) => (self.healthcheck(check), Vec::new()),
            Command::Onbuild { text, .. } => (line("ONBUILD").text(text.trim_start()).take(), Vec::new()),
        };
        line.finish(doc, &heredocs)
    }

    /// The old form where a value is no single word.
    fn pairs(&self, pairs: &[(Word, Word)]) -> String {
        let modern: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{}={}", key.text, value.text)).collect();
        match (pairs, &modern[..]) {
            ([(key, value)], [joined]) => {
                let mut line = Logical::default();
                line.push(joined, 0);
                let words = crate::parse::split_quoted(&line, line.all(), self.escape);
                let same = matches!(&words[..], [word] if word.text == *joined);
                if same && !key.text.contains('=') {
                    joined.clone()
                } else {
                    format!("{} {}", key.text, value.text)
                }
            }
            _ => modern.join(" "),
        }
    }

    fn run(&self, run: &Run) -> Line {
        let mut line = Line::new("RUN", self.escape);
        run.mounts.iter().for_each(|mount| line.flag("mount", Some(mount)));
        line.flag("network", run.network.as_ref());
        line.flag("security", run.security.as_ref());
        run.devices.iter().for_each(|device| line.flag("device", Some(device)));
        line.command(&run.command)
    }

    fn copy(&self, copy: &Copy) -> Line {
        let mut line = Line::new("COPY", self.escape);
        line.flag("from", copy.from.as_ref());
        line.flag("chown", copy.chown.as_ref());
        line.flag("chmod", copy.chmod.as_ref());
        line.switch("link", copy.link.then_some(true));
        line.switch("parents", copy.parents.then_some(true));
        copy.exclude.iter().for_each(|exclude| line.flag("exclude", Some(exclude)));
        line.sources(&copy.sources, &copy.destination)
    }

    fn add(&self, add: &Add) -> Line {
        let mut line = Line::new("ADD", self.escape);
        line.flag("chown", add.chown.as_ref());
        line.flag("chmod", add.chmod.as_ref());
        line.switch("link", add.link.then_some(true));
        line.switch("keep-git-dir", add.keep_git_dir.then_some(true));
        line.flag("checksum", add.checksum.as_ref());
        line.switch("unpack", add.unpack);
        add.exclude.iter().for_each(|exclude| line.flag("exclude", Some(exclude)));
        line.sources(&add.sources, &add.destination)
    }

    fn healthcheck(&self, check: &Healthcheck) -> Line {
        let mut line = Line::new("HEALTHCHECK", self.escape);
        match check {
            Healthcheck::None => line.text("NONE").take(),
            Healthcheck::Cmd { command, interval, timeout, start_period, start_interval, retries } => {
                let durations = [
                    ("interval", interval),
                    ("timeout", timeout),
                    ("start-period", start_period),
                    ("start-interval", start_interval),
                ];
                for (name, nanos) in durations.into_iter().filter(|(_, nanos)| **nanos != 0) {
                    line.raw_flag(name, &duration::format(*nanos));
                }
                if *retries != 0 {
                    line.raw_flag("retries", &retries.to_string());
                }
                line.text("CMD");
                match command {
                    CommandLine::Shell(text) => line.text(text).take(),
                    CommandLine::Exec(_) => line.command(command),
                }
            }
        }
    }
}

fn bodies(sources: &[CopySource]) -> Vec<&Heredoc> {
    sources.iter().filter_map(CopySource::heredoc).collect()
}

/// One instruction's line as it grows.
struct Line {
    text: String,
    escape: char,
}

impl Line {
    fn new(keyword: &str, escape: char) -> Self {
        Self { text: keyword.to_owned(), escape }
    }

    fn take(&mut self) -> Self {
        Self { text: std::mem::take(&mut self.text), escape: self.escape }
    }

    fn text(&mut self, text: &str) -> &mut Self {
        if !text.is_empty() {
            self.text.push(' ');
            self.text.push_str(text);
        }
        self
    }

    /// The arguments as they stand; a leading `--` must not become a flag.
    fn rest(mut self, text: &str) -> Self {
        if text.starts_with("--") {
            self.text("--");
        }
        self.text(text).take()
    }

    fn words(&mut self, words: &[Word]) {
        if words.first().is_some_and(|word| word.text.starts_with("--")) {
            self.text("--");
        }
        words.iter().for_each(|word| {
            self.text(&word.text);
        });
    }

    fn json<'w>(mut self, words: impl Iterator<Item = &'w str>) -> Self {
        let quoted: Vec<String> = words.map(|word| serde_json::Value::from(word).to_string()).collect();
        self.text(&format!("[{}]", quoted.join(", "))).take()
    }

    fn command(self, command: &CommandLine) -> Self {
        match command {
            CommandLine::Shell(text) => self.rest(text),
            CommandLine::Exec(words) => self.json(words.iter().map(String::as_str)),
        }
    }

    /// A list: plain if every word stays one word, JSON otherwise.
    fn list(mut self, words: &[Word]) -> Self {
        let plain = |word: &Word| {
            let text = word.text.as_str();
            !text.is_empty()
                && !text.contains(char::is_whitespace)
                && !text.contains("<<")
                && !text.starts_with(['[', '-'])
                && !text.ends_with(self.escape)
        };
        if words.iter().all(plain) {
            self.words(words);
            return self.take();
        }
        self.json(words.iter().map(|word| word.text.as_str()))
    }

    fn sources(mut self, sources: &[CopySource], destination: &Word) -> Self {
        if bodies(sources).is_empty() {
            let paths = sources.iter().filter_map(CopySource::path);
            let words: Vec<Word> = paths.chain([destination]).cloned().collect();
            return self.list(&words);
        }
        if matches!(sources.first(), Some(CopySource::Path(word)) if word.text.starts_with("--")) {
            self.text("--");
        }
        for source in sources {
            match source {
                CopySource::Path(word) => self.text(&word.text),
                CopySource::Heredoc(heredoc) => self.text(&opening(heredoc)),
            };
        }
        self.text(&destination.text).take()
    }

    fn flag(&mut self, name: &str, value: Option<&Word>) {
        let Some(value) = value else { return };
        let special = |c: char| c.is_whitespace() || matches!(c, '"' | '\'') || c == self.escape;
        if !value.text.contains(special) {
            return self.raw_flag(name, &value.text);
        }
        let mut quoted = String::from('"');
        for c in value.text.chars() {
            if c == '"' || c == self.escape {
                quoted.push(self.escape);
            }
            quoted.push(c);
        }
        quoted.push('"');
        self.raw_flag(name, &quoted);
    }

    fn raw_flag(&mut self, name: &str, value: &str) {
        self.text(&format!("--{name}={value}"));
    }

    fn switch(&mut self, name: &str, value: Option<bool>) {
        match value {
            None => {}
            Some(true) => drop(self.text(&format!("--{name}"))),
            Some(false) => self.raw_flag(name, "false"),
        }
    }

    fn finish(self, doc: Option<&str>, heredocs: &[&Heredoc]) -> String {
        let mut out = String::new();
        for comment in doc.into_iter().flat_map(str::lines) {
            writeln!(out, "# {comment}").expect("writing to a String cannot fail");
        }
        out.push_str(&self.text);
        let body = self.text.trim_end_matches([' ', '\t']);
        if body.strip_suffix(self.escape).is_some_and(|rest| !rest.ends_with(self.escape)) {
            // No continuation is meant. A no-break space prevents it and does not become part of the arguments.
            out.push('\u{a0}');
        }
        out.push('\n');
        for heredoc in heredocs {
            out.push_str(&heredoc.raw);
            out.push_str(&heredoc.delimiter);
            out.push('\n');
        }
        out
    }
}

/// `<<EOF` as it must be written to be read as this heredoc.
fn opening(heredoc: &Heredoc) -> String {
    let fd = heredoc.fd.map(|fd| fd.to_string()).unwrap_or_default();
    let dash = if heredoc.strip_tabs { "-" } else { "" };
    let delimiter = heredoc.delimiter.as_str();
    let word = if heredoc.expand {
        let plain =
            run(delimiter, '\\', Mode::default(), &|_| None).is_ok_and(|(word, _)| word.text == delimiter);
        if plain { delimiter.to_owned() } else { delimiter.chars().flat_map(|c| ['\\', c]).collect() }
    } else if delimiter.contains('\'') {
        format!("\"{}\"", delimiter.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"))
    } else {
        format!("'{delimiter}'")
    };
    let text = format!("{fd}<<{dash}{word}");
    debug_assert!(heredoc::opening(&text).is_ok_and(|opening| opening.is_some()), "{text}");
    text
}
