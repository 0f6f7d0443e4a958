//! What a build tells while it goes on.
use std::fmt;
use std::time::Duration;
use strata_dockerfile::{Span, Warning};

/// Number of an instruction within the plan of one build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

/// One instruction of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// Its number; FROM, triggers and metadata instructions count too.
    pub id: StepId,
    /// Stage, as progress shows it: its name or `stage-N`.
    pub stage: String,
    /// `[build 2/4] RUN make`, or the instruction alone when it makes no layer.
    pub name: String,
    /// The instruction as written.
    pub instruction: String,
    /// Whether it makes a layer (or, for FROM, resolves an image): only such steps have further events.
    pub layered: bool,
    /// Where it stands; a trigger's is that of the FROM which brought it.
    pub span: Span,
}

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What kind of difference kept a step from being taken from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The instruction itself is written differently.
    Command,
    /// A variable.
    Variable,
    /// The files that it takes.
    Files,
    /// Some other input of its own.
    Input,
    /// The base image.
    Base,
    /// Nothing of its own: the step before it is another one.
    Parent,
    /// `--no-cache`, `--no-cache-filter`.
    Forced,
    /// Everything is the same, but the result has left the store.
    Gone,
}

/// Why a step was not taken from the cache, in one line and in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What kind of difference it is.
    pub cause: Cause,
    /// The values before and after, where the difference is one of two texts that may be shown.
    pub values: Option<(Option<String>, Option<String>)>,
    /// One line: `ENV VERSION changed from "1" to "2"`.
    pub summary: String,
    /// Further lines, the weightiest first: files, words.
    pub details: Vec<String>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

/// What a build would do with a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// Nothing: it is in the cache, or nothing needs it.
    Cached,
    /// Run it; why, if an earlier build had it.
    Runs(Option<Reason>),
    /// Decided by the files that another stage, or a step before it, will have made.
    Undecided,
}

/// A layer of an image that is elsewhere is on its way, because a step needs it.
#[derive(Clone, Copy, Debug)]
pub struct Fetching<'a> {
    /// The image's name.
    pub image: &'a str,
    /// The first digits of the layer's digest.
    pub layer: &'a str,
    /// How far it is.
    pub state: FetchState,
}

/// How far a layer is that comes from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchState {
    /// It has not begun, or another command is fetching it.
    Waiting,
    /// So many bytes of so many have come.
    Downloading {
        /// Bytes that came.
        done: u64,
        /// Bytes of the blob.
        total: u64,
    },
    /// All of it came.
    Downloaded,
    /// It is being unpacked.
    Unpacking,
    /// It is here.
    Done,
}

/// Something happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The stages are known, in the order in which they are solved. Sent once, first.
    Planned(&'a [StepInfo]),
    /// Something besides the steps of the plan, that has the same events as they: its number is none of theirs, and its
    /// failure is not the build's.
    Aside(&'a StepInfo),
    /// A step begins.
    Started(StepId),
    /// A step's result was already there. Not preceded by `Started`.
    Cached(StepId),
    /// A step must run, and an earlier build had it: why it is not the same.
    Missed(StepId, &'a Reason),
    /// The process wrote this.
    Output(StepId, Stream, &'a [u8]),
    /// A step ended well, after this time.
    Done(StepId, Duration),
    /// A step failed; the error follows as the build's result.
    Failed(StepId, Duration),
    /// A step was stopped: the build was cancelled, or another step failed.
    Stopped(StepId, Duration),
    /// A layer of an image that is elsewhere is on its way.
    Fetching(Fetching<'a>),
    /// What was missing of an image is here, after this time.
    Fetched(&'a str, Duration),
    /// A lint rule found something.
    Lint(&'a Warning),
    /// Something worth telling; the spans may be empty.
    Warning {
        /// The sentence.
        message: &'a str,
        /// Where.
        span: Option<Span>,
    },
}

/// Receives events, from several threads at once. Any `Fn(Event) + Sync` is one.
pub trait EventSink: Sync {
    /// Takes one event; must not block for long.
    fn event(&self, event: Event<'_>);
}

impl<F: Fn(Event<'_>) + Sync> EventSink for F {
    fn event(&self, event: Event<'_>) {
        self(event);
    }
}
