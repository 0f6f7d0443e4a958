//! Which way a build shows what it does.

use super::classic::Classic;
use super::explain::colours;
use super::plain::Plain;
use super::raw_json::RawJson;
use super::request::Dockerfile;
use super::terminal::Terminal;
use crate::failure::Failure;
use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use strata_engine::EngineError;
use strata_engine::build::{BuildReport, Contexts, Event, EventSink, Fetching, StepId, StepInfo, Stream};

/// `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Terminal,
    Plain,
    Classic,
    RawJson,
    Quiet,
}

impl Mode {
    pub(super) fn choose(text: &str) -> Result<Self, Failure> {
        match text {
            "auto" | "" if std::io::stderr().is_terminal() => Ok(Self::Terminal),
            "auto" | "" | "plain" => Ok(Self::Plain),
            "tty" => Ok(Self::Terminal),
            "classic" => Ok(Self::Classic),
            "rawjson" => Ok(Self::RawJson),
            "quiet" | "none" => Ok(Self::Quiet),
            other => Err(Failure::flag(format!(
                "invalid progress mode {other:?}: use auto, tty, plain, classic, rawjson or quiet"
            ))),
        }
    }
}

/// A way of showing.
pub(super) trait Style: Send {
    /// The size of the context after `.dockerignore`, where the style tells it.
    fn context(&mut self, _bytes: u64) {}
    fn planned(&mut self, steps: &[StepInfo]);
    fn started(&mut self, step: &StepInfo);
    fn cached(&mut self, step: &StepInfo);
    fn missed(&mut self, step: &StepInfo, reason: &str);
    fn output(&mut self, step: &StepInfo, stream: Stream, text: &[u8]);
    fn done(&mut self, step: &StepInfo, time: Duration);
    fn failed(&mut self, step: &StepInfo, time: Duration);
    /// Ended because the build was cancelled, or because another step failed.
    fn stopped(&mut self, step: &StepInfo, time: Duration);
    fn warning(&mut self, message: &str, line: Option<usize>);
    /// A layer of an image that is elsewhere is on its way.
    fn fetching(&mut self, _: &Fetching<'_>) {}
    /// What was missing of that image is here.
    fn fetched(&mut self, _image: &str, _time: Duration) {}
    fn finished(&mut self, report: &BuildReport);
    /// Time has passed: running steps show it. False when there is nothing more to come.
    fn tick(&mut self) -> bool {
        false
    }
    fn close(&mut self) {}
}

/// Nothing but the result.
struct Quiet;

impl Style for Quiet {
    fn planned(&mut self, _: &[StepInfo]) {}
    fn started(&mut self, _: &StepInfo) {}
    fn cached(&mut self, _: &StepInfo) {}
    fn missed(&mut self, _: &StepInfo, _: &str) {}
    fn output(&mut self, _: &StepInfo, _: Stream, _: &[u8]) {}
    fn done(&mut self, _: &StepInfo, _: Duration) {}
    fn failed(&mut self, _: &StepInfo, _: Duration) {}
    fn stopped(&mut self, _: &StepInfo, _: Duration) {}
    fn warning(&mut self, _: &str, _: Option<usize>) {}
    fn finished(&mut self, _: &BuildReport) {}
}

/// Takes the events of a build, from several threads, and shows them.
pub(super) struct Progress {
    mode: Mode,
    text: String,
    state: Arc<Mutex<State>>,
}

struct State {
    style: Box<dyn Style>,
    steps: HashMap<StepId, StepInfo>,
    /// Those of them that are no steps of the plan.
    asides: HashSet<StepId>,
    /// Output of every step that has not ended well, for the report of a failure. Never clipped.
    outputs: HashMap<StepId, Vec<u8>>,
    failed: Option<StepId>,
}

impl Progress {
    pub(super) fn start(mode: Mode, dockerfile: &Dockerfile) -> Self {
        let now = Instant::now();
        let style: Box<dyn Style> = match mode {
            Mode::Terminal => Box::new(Terminal::new(now, colours(&std::io::stderr()))),
            Mode::Plain => Box::new(Plain::new(&dockerfile.name, dockerfile.text.len())),
            Mode::Classic => Box::new(Classic::default()),
            Mode::RawJson => Box::new(RawJson::default()),
            Mode::Quiet => Box::new(Quiet),
        };
        let state = State {
            style,
            steps: HashMap::new(),
            asides: HashSet::new(),
            outputs: HashMap::new(),
            failed: None,
        };
        let state = Arc::new(Mutex::new(state));
        if mode == Mode::Terminal {
            let state = Arc::downgrade(&state);
            std::thread::spawn(move || tick(&state));
        }
        Self { mode, text: dockerfile.text.clone(), state }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the size of the context where the style shows it (`spec/engine.md`, D6).
    pub(super) fn context(&self, contexts: &Contexts) {
        if matches!(self.mode, Mode::Plain | Mode::Classic)
            && let Some(bytes) = contexts.size()
        {
            self.lock().style.context(bytes);
        }
    }

    /// Ends the display. For a failed step gives what it printed.
    pub(super) fn finish(&self, outcome: &Result<BuildReport, EngineError>) -> Option<String> {
        if let Ok(report) = outcome
            && report.kept
        {
            self.lock().style.finished(report);
        }
        self.close()
    }

    /// Ends the display. For a failed step gives what it printed.
    pub(super) fn close(&self) -> Option<String> {
        let mut state = self.lock();
        state.style.close();
        let failed = state.failed?;
        let step = state.steps.get(&failed)?;
        let output = state.outputs.get(&failed).map(Vec::as_slice).unwrap_or_default();
        let mut text = format!("------\n > {}:\n{}", step.name, String::from_utf8_lossy(output));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str("------\n");
        Some(text)
    }
}

/// Lets the display go on while no event comes, until the build is over.
fn tick(state: &Weak<Mutex<State>>) {
    while let Some(state) = state.upgrade() {
        if !state.lock().unwrap_or_else(PoisonError::into_inner).style.tick() {
            return;
        }
        drop(state);
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl EventSink for Progress {
    fn event(&self, event: Event<'_>) {
        let mut state = self.lock();
        let State { style, steps, asides, outputs, failed } = &mut *state;
        match event {
            Event::Planned(plan) => {
                steps.extend(plan.iter().map(|step| (step.id, step.clone())));
                style.planned(plan);
            }
            Event::Aside(aside) => {
                steps.insert(aside.id, aside.clone());
                asides.insert(aside.id);
            }
            Event::Started(id) => with(steps, id, |step| style.started(step)),
            Event::Cached(id) => with(steps, id, |step| style.cached(step)),
            Event::Missed(id, reason) => with(steps, id, |step| style.missed(step, &reason.summary)),
            Event::Output(id, stream, text) => {
                outputs.entry(id).or_default().extend_from_slice(text);
                with(steps, id, |step| style.output(step, stream, text));
            }
            Event::Done(id, time) => {
                outputs.remove(&id);
                with(steps, id, |step| style.done(step, time));
            }
            Event::Failed(id, time) => {
                if !asides.contains(&id) {
                    failed.get_or_insert(id);
                }
                with(steps, id, |step| style.failed(step, time));
            }
            Event::Stopped(id, time) => with(steps, id, |step| style.stopped(step, time)),
            Event::Fetching(fetching) => style.fetching(&fetching),
            Event::Fetched(image, time) => style.fetched(image, time),
            // Counted and told at the end.
            Event::Lint(_) => {}
            Event::Warning { message, span } => {
                let line = span.map(|span| strata_engine::build::position(&self.text, span.start).0);
                style.warning(message, line);
            }
        }
    }
}

fn with(steps: &HashMap<StepId, StepInfo>, id: StepId, action: impl FnOnce(&StepInfo)) {
    if let Some(step) = steps.get(&id) {
        action(step);
    }
}
