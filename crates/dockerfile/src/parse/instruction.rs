//! One logical line to one typed instruction (`spec/build.md` 1.4). Each instruction checks in BuildKit's order, so that
//! a line with two faults fails with the same sentence.

use super::flags::Kind;
use super::parts::{Parts, Source};
use super::words::split_quoted;
use super::{copy, health, pairs};
use crate::error::Fault;
use crate::mount::{self, Mount};
use crate::{ArgDeclaration, Command, CommandLine, Instruction, Run, Word, go_quote, suggest};

/// All instructions, for suggestions.
pub(crate) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl Source<'_> {
    /// Reads the instruction. `FROM` is none: it begins a stage.
    pub(crate) fn command(mut self) -> Result<Command, Fault> {
        match self.parts.name.as_str() {
            "ADD" => copy::add(self).map(Command::Add),
            "ARG" => self.arg(),
            "CMD" => self.flags(&[]).map(|_| Command::Cmd(self.command_line())),
            "COPY" => copy::copy(self).map(Command::Copy),
            "ENTRYPOINT" => self.flags(&[]).map(|_| Command::Entrypoint(self.command_line())),
            "ENV" => pairs::read(&mut self).map(Command::Env),
            "EXPOSE" => self.expose(),
            "HEALTHCHECK" => health::read(self).map(Command::Healthcheck),
            "LABEL" => pairs::read(&mut self).map(Command::Label),
            "MAINTAINER" => {
                self.one().and_then(|word| self.flags(&[]).map(|_| Command::Maintainer(word.text)))
            }
            "ONBUILD" => self.onbuild(),
            "RUN" => self.run(),
            "SHELL" => self.shell(),
            "STOPSIGNAL" => self.one().map(Command::StopSignal),
            "USER" => self.one().and_then(|word| self.flags(&[]).map(|_| Command::User(word))),
            "VOLUME" => self.volume(),
            "WORKDIR" => self.one().and_then(|word| self.flags(&[]).map(|_| Command::Workdir(word))),
            _ => Err(unknown(&self.parts.keyword)),
        }
    }

    fn arg(self) -> Result<Command, Fault> {
        let words = split_quoted(self.line, self.parts.args.clone(), self.escape);
        if words.is_empty() {
            return Err(self.at_least_one());
        }
        let declaration = |word: Word| {
            let Some((name, default)) = pairs::cut(&word) else {
                return Ok(ArgDeclaration { name: word, default: None });
            };
            if name.text.is_empty() {
                return Err(Fault::new("ARG names can not be blank").at(word.span));
            }
            Ok(ArgDeclaration { name, default: Some(default) })
        };
        words.into_iter().map(declaration).collect::<Result<_, _>>().map(Command::Arg)
    }

    fn expose(mut self) -> Result<Command, Fault> {
        let mut words = self.list();
        if words.is_empty() {
            return Err(self.at_least_one());
        }
        self.flags(&[])?;
        words.sort_by(|a, b| a.text.cmp(&b.text));
        Ok(Command::Expose(words))
    }

    fn volume(mut self) -> Result<Command, Fault> {
        let words = self.list();
        if words.is_empty() {
            return Err(self.at_least_one());
        }
        self.flags(&[])?;
        let trimmed = |word: Word| match word.text.trim() {
            "" => Err(Fault::new("VOLUME specified can not be an empty string").at(word.span)),
            text => Ok(Word { text: text.to_owned(), span: word.span }),
        };
        words.into_iter().map(trimmed).collect::<Result<_, _>>().map(Command::Volume)
    }

    fn shell(mut self) -> Result<Command, Fault> {
        self.flags(&[])?;
        match (self.command_line(), self.text()) {
            (CommandLine::Exec(words), _) if !words.is_empty() => Ok(Command::Shell(words)),
            (CommandLine::Exec(_), _) | (_, "") => Err(self.at_least_one()),
            (CommandLine::Shell(_), _) => {
                let fault = Fault::new("SHELL requires the arguments to be in JSON form");
                Err(fault
                    .at(self.line.span(&self.parts.args))
                    .hint("write it as SHELL [\"executable\", \"argument\"]"))
            }
        }
    }

    fn run(mut self) -> Result<Command, Fault> {
        let flags = self.flags(&[
            ("mount", Kind::Many),
            ("network", Kind::One),
            ("security", Kind::One),
            ("device", Kind::Many),
        ])?;
        let mounts = flags.many("mount");
        for word in &mounts {
            Mount::check(&word.text).map_err(|error| Fault::new(error.to_string()).at(word.span))?;
        }
        let devices = flags.many("device");
        for word in &devices {
            mount::Device::parse(&word.text).map_err(|error| Fault::new(error.to_string()).at(word.span))?;
        }
        let network = flags.one("network");
        if let Some(word) =
            network.as_ref().filter(|w| !matches!(w.text.as_str(), "default" | "none" | "host"))
        {
            return Err(Fault::new(format!("invalid network mode {}", go_quote(&word.text))).at(word.span));
        }
        let security = flags.one("security");
        if let Some(word) = security.as_ref().filter(|w| !matches!(w.text.as_str(), "sandbox" | "insecure")) {
            return Err(Fault::new(format!("security {} is not valid", go_quote(&word.text))).at(word.span));
        }
        let command = self.command_line();
        Ok(Command::Run(Run { command, heredocs: self.bodies.heredocs, mounts, network, security, devices }))
    }

    fn onbuild(mut self) -> Result<Command, Fault> {
        if self.parts.args.is_empty() {
            return Err(self.at_least_one());
        }
        self.flags(&[])?;
        let args = self.parts.args.clone();
        let parts = Parts::read(self.line, args.clone(), self.escape)?;
        match parts.name.as_str() {
            "ONBUILD" => {
                let fault = Fault::new("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
                return Err(fault.at(parts.keyword.span));
            }
            name @ ("MAINTAINER" | "FROM") => {
                return Err(
                    Fault::new(format!("{name} isn't allowed as an ONBUILD trigger")).at(parts.keyword.span)
                );
            }
            _ => {}
        }
        // The config keeps the text up to the very end of the line.
        let mut text = self.line.text[args.start..].to_owned();
        for heredoc in &self.bodies.heredocs {
            text.push('\n');
            text.push_str(&heredoc.raw);
            text.push_str(&heredoc.delimiter);
        }
        let span = self.bodies.extend(self.line.span(&args));
        let original = self.line.text[args].to_owned();
        let inner = Source { line: self.line, parts, bodies: self.bodies, escape: self.escape };
        let trigger = Instruction { span, original, doc: None, command: inner.command()? };
        Ok(Command::Onbuild { trigger: Box::new(trigger), text })
    }
}

pub(crate) fn unknown(keyword: &Word) -> Fault {
    let suggestion = suggest::suffix(&keyword.text, KEYWORDS, false);
    Fault::new(format!("unknown instruction: {}{suggestion}", keyword.text)).at(keyword.span)
}
