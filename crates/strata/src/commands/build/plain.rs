//! `--progress=plain`: a line per event, numbered like BuildKit's vertices.

use super::progress::Style;
use crate::render::units;
use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};
use strata_engine::build::{BuildReport, FetchState, Fetching, StepId, StepInfo, Stream};

pub(super) struct Plain {
    numbers: HashMap<StepId, usize>,
    next: usize,
    started: HashMap<StepId, Instant>,
    /// Output of a step after its last newline.
    partial: HashMap<StepId, Vec<u8>>,
    /// Images whose layers come from elsewhere.
    fetches: HashMap<String, Fetch>,
}

/// An image that is being fetched.
struct Fetch {
    number: usize,
    /// When each of its layers was last told about.
    told: HashMap<String, Instant>,
}

/// A layer that takes long is told about so often.
const FETCH_PAUSE: Duration = Duration::from_secs(2);

impl Plain {
    pub(super) fn new(dockerfile: &str, length: usize) -> Self {
        line(&format!("#1 [internal] load build definition from {dockerfile}"));
        line(&format!("#1 transferring dockerfile: {}", units::size(length as u64)));
        line("#1 DONE 0.0s");
        let (numbers, started) = (HashMap::new(), HashMap::new());
        Self { numbers, next: 2, started, partial: HashMap::new(), fetches: HashMap::new() }
    }

    /// The step's number; its name is printed with the first line.
    fn number(&mut self, step: &StepInfo) -> usize {
        if let Some(number) = self.numbers.get(&step.id) {
            return *number;
        }
        let number = self.next;
        self.next += 1;
        self.numbers.insert(step.id, number);
        line(&format!("\n#{number} {}", step.name));
        number
    }

    fn flush(&mut self, step: &StepInfo) {
        if let Some(rest) = self.partial.remove(&step.id).filter(|rest| !rest.is_empty()) {
            self.print_output(step, &rest);
        }
    }

    fn print_output(&mut self, step: &StepInfo, text: &[u8]) {
        let number = self.number(step);
        let time = self.started.get(&step.id).map_or(0.0, |start| start.elapsed().as_secs_f64());
        line(&format!("#{number} {time:.3} {}", String::from_utf8_lossy(text)));
    }
}

impl Style for Plain {
    fn context(&mut self, bytes: u64) {
        line(&format!("Sending build context to strata  {}", units::size(bytes)));
    }

    fn planned(&mut self, _: &[StepInfo]) {}

    fn started(&mut self, step: &StepInfo) {
        self.number(step);
        self.started.insert(step.id, Instant::now());
    }

    fn cached(&mut self, step: &StepInfo) {
        let number = self.number(step);
        line(&format!("#{number} CACHED"));
    }

    fn missed(&mut self, step: &StepInfo, reason: &str) {
        let number = self.number(step);
        line(&format!("#{number} not cached: {reason}"));
    }

    fn output(&mut self, step: &StepInfo, _: Stream, text: &[u8]) {
        let mut pending = self.partial.remove(&step.id).unwrap_or_default();
        pending.extend_from_slice(text);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let rest = pending.split_off(end + 1);
            pending.pop();
            self.print_output(step, &pending);
            pending = rest;
        }
        self.partial.insert(step.id, pending);
    }

    fn done(&mut self, step: &StepInfo, time: Duration) {
        self.flush(step);
        let number = self.number(step);
        line(&format!("#{number} DONE {:.1}s", time.as_secs_f64()));
    }

    fn failed(&mut self, step: &StepInfo, time: Duration) {
        self.flush(step);
        let number = self.number(step);
        line(&format!("#{number} ERROR after {:.1}s", time.as_secs_f64()));
    }

    fn stopped(&mut self, step: &StepInfo, time: Duration) {
        self.flush(step);
        let number = self.number(step);
        line(&format!("#{number} CANCELED after {:.1}s", time.as_secs_f64()));
    }

    fn warning(&mut self, message: &str, at: Option<usize>) {
        let place = at.map_or_else(String::new, |number| format!(" (line {number})"));
        line(&format!("WARNING: {message}{place}"));
    }

    fn fetching(&mut self, fetching: &Fetching<'_>) {
        let Fetching { image, layer, state } = *fetching;
        if !self.fetches.contains_key(image) {
            let number = self.next;
            self.next += 1;
            line(&format!("\n#{number} fetch {image}"));
            self.fetches.insert(image.to_owned(), Fetch { number, told: HashMap::new() });
        }
        let Some(fetch) = self.fetches.get_mut(image) else { return };
        let number = fetch.number;
        let now = Instant::now();
        match state {
            FetchState::Downloading { done, total } => {
                let told = fetch.told.entry(layer.to_owned()).or_insert(now);
                if now.duration_since(*told) >= FETCH_PAUSE {
                    *told = now;
                    line(&format!("#{number} {layer} {} / {}", units::size(done), units::size(total)));
                }
            }
            FetchState::Downloaded => line(&format!("#{number} {layer} downloaded")),
            FetchState::Done => line(&format!("#{number} {layer} done")),
            FetchState::Waiting | FetchState::Unpacking => {}
        }
    }

    fn fetched(&mut self, image: &str, time: Duration) {
        if let Some(fetch) = self.fetches.remove(image) {
            line(&format!("#{} DONE {:.1}s", fetch.number, time.as_secs_f64()));
        }
    }

    fn finished(&mut self, report: &BuildReport) {
        let number = self.next;
        self.next += 1;
        line(&format!("\n#{number} exporting to image"));
        line(&format!("#{number} writing image {} done", report.id));
        for tag in &report.tags {
            line(&format!("#{number} naming to {tag} done"));
        }
        line(&format!("#{number} DONE 0.0s"));
    }
}

/// Progress goes to standard error; whether anybody reads it is not the build's business.
pub(super) fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
