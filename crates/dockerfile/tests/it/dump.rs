//! A parsed file as readable text. Where a word's span holds something else than the word, that is shown behind `<-`.

use std::fmt::Write as _;

use strata_dockerfile::*;

pub(crate) struct Dump<'t> {
    /// The Dockerfile, to show what spans hold; `None` leaves out spans and originals.
    pub(crate) text: Option<&'t str>,
}

pub(crate) fn dump(file: &Dockerfile, text: Option<&str>) -> String {
    let dump = Dump { text };
    let mut out = String::new();
    let directives = &file.directives;
    for (name, value) in [("syntax", &directives.syntax), ("check", &directives.check)] {
        if let Some(value) = value {
            writeln!(out, "# {name} {}", dump.word(value)).unwrap();
        }
    }
    if directives.escape != '\\' {
        writeln!(out, "# escape {}", directives.escape).unwrap();
    }
    file.global_args.iter().for_each(|arg| dump.instruction(arg, "", &mut out));
    for stage in &file.stages {
        dump.doc(stage.doc.as_deref(), "", &mut out);
        write!(out, "FROM {}", dump.word(&stage.base)).unwrap();
        for (name, value) in [("as", &stage.name), ("platform", &stage.platform)] {
            if let Some(value) = value {
                write!(out, " {name}={}", dump.word(value)).unwrap();
            }
        }
        out.push('\n');
        dump.original(&stage.original, stage.span, "  ", &mut out);
        stage.instructions.iter().for_each(|instruction| dump.instruction(instruction, "  ", &mut out));
    }
    if let Some(text) = text {
        let index = LineIndex::new(text);
        for warning in &file.warnings {
            let (line, column) = index.position(warning.span.start);
            writeln!(out, "warning {line}:{column} {}: {}", warning.rule, warning.message).unwrap();
        }
    }
    out
}

impl Dump<'_> {
    fn slice(&self, span: Span) -> Option<&str> {
        self.text.map(|text| &text[span.start..span.end])
    }

    fn word(&self, word: &Word) -> String {
        match self.slice(word.span) {
            Some(slice) if slice != word.text => format!("{:?} <- {slice:?}", word.text),
            _ => format!("{:?}", word.text),
        }
    }

    fn words(&self, words: &[Word]) -> String {
        words.iter().map(|word| self.word(word)).collect::<Vec<_>>().join(" ")
    }

    fn doc(&self, doc: Option<&str>, indent: &str, out: &mut String) {
        doc.into_iter().flat_map(str::lines).for_each(|line| writeln!(out, "{indent}# {line}").unwrap());
    }

    fn original(&self, original: &str, span: Span, indent: &str, out: &mut String) {
        if let Some(slice) = self.slice(span).filter(|slice| *slice != original) {
            writeln!(out, "{indent}original {original:?} <- {slice:?}").unwrap();
        }
    }

    fn instruction(&self, instruction: &Instruction, indent: &str, out: &mut String) {
        self.doc(instruction.doc.as_deref(), indent, out);
        writeln!(out, "{indent}{}", self.command(&instruction.command)).unwrap();
        let deeper = format!("{indent}  ");
        self.original(&instruction.original, instruction.span, &deeper, out);
        let heredocs: Vec<&Heredoc> = match &instruction.command {
            Command::Run(run) => run.heredocs.iter().collect(),
            Command::Copy(copy) => copy.sources.iter().filter_map(CopySource::heredoc).collect(),
            Command::Add(add) => add.sources.iter().filter_map(CopySource::heredoc).collect(),
            Command::Onbuild { trigger, text } => {
                writeln!(out, "{deeper}text {text:?}").unwrap();
                self.instruction(trigger, &deeper, out);
                Vec::new()
            }
            _ => Vec::new(),
        };
        for heredoc in heredocs {
            if let Some(slice) = self.slice(heredoc.span) {
                assert_eq!(slice, heredoc.raw, "a heredoc's span holds its raw body");
            }
            let raw =
                if heredoc.raw == heredoc.body { String::new() } else { format!(" raw={:?}", heredoc.raw) };
            writeln!(out, "{deeper}heredoc {:?} {:?}{raw}", heredoc.delimiter, heredoc.body).unwrap();
        }
        if let Command::Run(run) = &instruction.command
            && !run.heredocs.is_empty()
        {
            writeln!(out, "{deeper}script {:?}", run.script().unwrap()).unwrap();
        }
    }

    fn command(&self, command: &Command) -> String {
        let pairs = |pairs: &[(Word, Word)]| {
            let pair = |(key, value): &(Word, Word)| format!("{} = {}", self.word(key), self.word(value));
            pairs.iter().map(pair).collect::<Vec<_>>().join(", ")
        };
        match command {
            Command::Arg(arguments) => {
                let argument = |arg: &ArgDeclaration| match &arg.default {
                    Some(default) => format!("{} = {}", self.word(&arg.name), self.word(default)),
                    None => self.word(&arg.name),
                };
                format!("ARG {}", arguments.iter().map(argument).collect::<Vec<_>>().join(", "))
            }
            Command::Env(all) => format!("ENV {}", pairs(all)),
            Command::Label(all) => format!("LABEL {}", pairs(all)),
            Command::Run(run) => self.run(run),
            Command::Cmd(line) => format!("CMD {}", command_line(line)),
            Command::Entrypoint(line) => format!("ENTRYPOINT {}", command_line(line)),
            Command::Shell(words) => format!("SHELL {words:?}"),
            Command::Copy(copy) => self.copy(copy),
            Command::Add(add) => self.add(add),
            Command::Workdir(word) => format!("WORKDIR {}", self.word(word)),
            Command::User(word) => format!("USER {}", self.word(word)),
            Command::StopSignal(word) => format!("STOPSIGNAL {}", self.word(word)),
            Command::Expose(words) => format!("EXPOSE {}", self.words(words)),
            Command::Volume(words) => format!("VOLUME {}", self.words(words)),
            Command::Maintainer(text) => format!("MAINTAINER {text:?}"),
            Command::Onbuild { .. } => "ONBUILD".to_owned(),
            Command::Healthcheck(Healthcheck::None) => "HEALTHCHECK NONE".to_owned(),
            Command::Healthcheck(Healthcheck::Cmd {
                command,
                interval,
                timeout,
                start_period,
                start_interval,
                retries,
            }) => {
                let [a, b, c, d] =
                    [interval, timeout, start_period, start_interval].map(|n| duration::format(*n));
                format!("HEALTHCHECK {a} {b} {c} {d} {retries} {}", command_line(command))
            }
        }
    }

    fn flag(&self, name: &str, value: Option<&Word>, out: &mut String) {
        if let Some(value) = value {
            write!(out, " {name}={}", self.word(value)).unwrap();
        }
    }

    fn run(&self, run: &Run) -> String {
        let mut out = "RUN".to_owned();
        run.mounts.iter().for_each(|mount| self.flag("mount", Some(mount), &mut out));
        self.flag("network", run.network.as_ref(), &mut out);
        self.flag("security", run.security.as_ref(), &mut out);
        run.devices.iter().for_each(|device| self.flag("device", Some(device), &mut out));
        format!("{out} {}", command_line(&run.command))
    }

    fn copy(&self, copy: &Copy) -> String {
        let mut out = "COPY".to_owned();
        self.flag("from", copy.from.as_ref(), &mut out);
        self.flag("chown", copy.chown.as_ref(), &mut out);
        self.flag("chmod", copy.chmod.as_ref(), &mut out);
        copy.exclude.iter().for_each(|exclude| self.flag("exclude", Some(exclude), &mut out));
        write!(out, "{}{}", on(copy.link, " link"), on(copy.parents, " parents")).unwrap();
        self.sources(&copy.sources, &copy.destination, out)
    }

    fn add(&self, add: &Add) -> String {
        let mut out = "ADD".to_owned();
        self.flag("chown", add.chown.as_ref(), &mut out);
        self.flag("chmod", add.chmod.as_ref(), &mut out);
        self.flag("checksum", add.checksum.as_ref(), &mut out);
        add.exclude.iter().for_each(|exclude| self.flag("exclude", Some(exclude), &mut out));
        write!(out, "{}{}", on(add.link, " link"), on(add.keep_git_dir, " keep-git-dir")).unwrap();
        if let Some(unpack) = add.unpack {
            write!(out, " unpack={unpack}").unwrap();
        }
        self.sources(&add.sources, &add.destination, out)
    }

    fn sources(&self, sources: &[CopySource], destination: &Word, mut out: String) -> String {
        for source in sources {
            match source {
                CopySource::Path(word) => write!(out, " {}", self.word(word)).unwrap(),
                CopySource::Heredoc(h) => {
                    let fd = h.fd.map(|fd| fd.to_string()).unwrap_or_default();
                    write!(
                        out,
                        " {fd}<<{:?}{}{}",
                        h.delimiter,
                        on(h.expand, " expand"),
                        on(h.strip_tabs, " tabs")
                    )
                    .unwrap();
                }
            }
        }
        format!("{out} -> {}", self.word(destination))
    }
}

fn command_line(line: &CommandLine) -> String {
    match line {
        CommandLine::Shell(text) => format!("shell {text:?}"),
        CommandLine::Exec(words) => format!("exec {words:?}"),
    }
}

fn on(set: bool, text: &'static str) -> &'static str {
    if set { text } else { "" }
}
