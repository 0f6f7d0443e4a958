//! The typed Dockerfile. Words are kept as written; expansion gives new strings and leaves these alone.

/// A range of bytes in the Dockerfile's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A word before expansion: quotes, escapes and `$` as written.
///
/// The value of a flag is the exception: the quotes around it are gone, since flags are read before expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// As written (continuations joined).
    pub text: String,
    /// Where.
    pub span: Span,
}

impl AsRef<str> for Word {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// A parsed file.
#[derive(Clone, Debug, PartialEq)]
pub struct Dockerfile {
    /// `# syntax=`, `# escape=`, `# check=`.
    pub directives: Directives,
    /// ARGs before the first FROM.
    pub global_args: Vec<Instruction>,
    /// Stages, in order.
    pub stages: Vec<Stage>,
    /// Found while parsing (`NoEmptyContinuation` and the like).
    pub warnings: Vec<Warning>,
}

impl Instruction {
    /// The description of a name in the comment above: the line `# NAME text` (`spec/build.md` 1.1).
    pub fn description(&self, name: &str) -> Option<&str> {
        description(self.doc.as_deref()?, name)
    }
}

impl Stage {
    /// The description of the stage in the comment above: the line `# NAME text`.
    pub fn description(&self) -> Option<&str> {
        description(self.doc.as_deref()?, &self.name.as_ref()?.text)
    }
}

fn description<'d>(doc: &'d str, name: &str) -> Option<&'d str> {
    doc.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

/// Parser directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`, accepted and ignored for `docker/dockerfile*`.
    pub syntax: Option<Word>,
    /// Backslash or backtick.
    pub escape: char,
    /// `# check=`.
    pub check: Option<Word>,
}

/// Something worth telling that is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// BuildKit's rule name.
    pub rule: &'static str,
    /// The sentence.
    pub message: String,
    /// Where.
    pub span: Span,
}

/// FROM and what follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The whole FROM instruction.
    pub span: Span,
    /// FROM as written, continuations joined: for messages and progress.
    pub original: String,
    /// Base: image, stage or `scratch`; expanded with global ARGs only.
    pub base: Word,
    /// `AS name`, lower-cased; the span is the name's.
    pub name: Option<Word>,
    /// `--platform`.
    pub platform: Option<Word>,
    /// Comment directly above.
    pub doc: Option<String>,
    /// Instructions, in order.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// From the keyword to the end, heredoc bodies included.
    pub span: Span,
    /// The text as written with continuations joined, for history, progress and ONBUILD.
    pub original: String,
    /// Comment directly above.
    pub doc: Option<String>,
    /// What it says.
    pub command: Command,
}

/// The closed set of instructions. Adding one must break every `match`.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `ARG k[=v] ...`
    Arg(Vec<ArgDeclaration>),
    /// `ENV k=v ...`
    Env(Vec<(Word, Word)>),
    /// `LABEL k=v ...`
    Label(Vec<(Word, Word)>),
    /// `RUN`
    Run(Run),
    /// `CMD`
    Cmd(CommandLine),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `SHELL [...]`
    Shell(Vec<String>),
    /// `COPY`
    Copy(Copy),
    /// `ADD`
    Add(Add),
    /// `WORKDIR`
    Workdir(Word),
    /// `USER`
    User(Word),
    /// `EXPOSE`, words before expansion, sorted as strings: that is the order of BuildKit's history.
    Expose(Vec<Word>),
    /// `VOLUME`
    Volume(Vec<Word>),
    /// `STOPSIGNAL`
    StopSignal(Word),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `ONBUILD`: the trigger, checked, and its text (with heredoc bodies) for the config.
    Onbuild {
        /// Parsed, for checking.
        trigger: Box<Instruction>,
        /// As stored in the config and parsed again by the child's build.
        text: String,
    },
    /// `MAINTAINER`
    Maintainer(String),
}

/// One `ARG` of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// Name.
    pub name: Word,
    /// Default, before expansion.
    pub default: Option<Word>,
}

/// Shell or exec form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// Text for the current SHELL.
    Shell(String),
    /// A JSON array.
    Exec(Vec<String>),
}

/// `RUN`
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The command; in shell form the line without its heredoc bodies (`cat <<EOF | tr a b`).
    pub command: CommandLine,
    /// Heredoc bodies, in order.
    pub heredocs: Vec<Heredoc>,
    /// `--mount` values, before expansion.
    pub mounts: Vec<Word>,
    /// `--network`.
    pub network: Option<Word>,
    /// `--security`.
    pub security: Option<Word>,
    /// `--device` values.
    pub devices: Vec<Word>,
}

/// A heredoc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, unquoted: COPY's file name.
    pub delimiter: String,
    /// File descriptor before `<<`, if written.
    pub fd: Option<u32>,
    /// Unquoted delimiter: COPY and ADD expand the body.
    pub expand: bool,
    /// `<<-`: leading tabs are cut (already done in `body`).
    pub strip_tabs: bool,
    /// The body, with its last newline.
    pub body: String,
    /// The body as written, tabs included.
    pub raw: String,
    /// Where the body stands.
    pub span: Span,
}

/// A source of COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path, pattern or URL, before expansion.
    Path(Word),
    /// A file written in the Dockerfile.
    Heredoc(Heredoc),
}

impl CopySource {
    /// The path, if it is one.
    pub fn path(&self) -> Option<&Word> {
        match self {
            Self::Path(word) => Some(word),
            Self::Heredoc(_) => None,
        }
    }

    /// The heredoc, if it is one.
    pub fn heredoc(&self) -> Option<&Heredoc> {
        match self {
            Self::Path(_) => None,
            Self::Heredoc(heredoc) => Some(heredoc),
        }
    }
}

/// `COPY`
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// Sources.
    pub sources: Vec<CopySource>,
    /// Destination, before expansion.
    pub destination: Word,
    /// `--from`, not expanded.
    pub from: Option<Word>,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, repeatable, not expanded.
    pub exclude: Vec<Word>,
}

/// `ADD`
#[derive(Clone, Debug, PartialEq)]
pub struct Add {
    /// Sources.
    pub sources: Vec<CopySource>,
    /// Destination, before expansion.
    pub destination: Word,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--unpack`: `None` when not given.
    pub unpack: Option<bool>,
    /// `--exclude`.
    pub exclude: Vec<Word>,
}

/// `HEALTHCHECK`
#[derive(Clone, Debug, PartialEq)]
pub enum Healthcheck {
    /// `NONE`
    None,
    /// `CMD`
    Cmd {
        /// What to run.
        command: CommandLine,
        /// Nanoseconds; 0 when not given, for all four.
        interval: i64,
        /// See `interval`.
        timeout: i64,
        /// See `interval`.
        start_period: i64,
        /// See `interval`.
        start_interval: i64,
        /// Failures in a row; 0 when not given.
        retries: i64,
    },
}
