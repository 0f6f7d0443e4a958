//! `--progress=classic`: the lines of Docker's first builder, one step after the other.

use super::plain::line;
use super::progress::Style;
use crate::render::units;
use std::io::Write;
use std::time::Duration;
use strata_engine::build::{BuildReport, FetchState, Fetching, StepInfo, Stream};

#[derive(Default)]
pub(super) struct Classic {
    steps: Vec<StepInfo>,
    /// Steps whose line has been printed.
    printed: usize,
}

impl Classic {
    /// Prints the lines of this step and of those before it, which make no layer and so have no events.
    fn reach(&mut self, step: &StepInfo) {
        let Some(at) = self.steps.iter().position(|known| known.id == step.id) else { return };
        while self.printed <= at {
            self.print_next();
        }
    }

    fn print_next(&mut self) {
        if let Some(step) = self.steps.get(self.printed) {
            line(&format!("Step {}/{} : {}", self.printed + 1, self.steps.len(), step.instruction));
        }
        self.printed += 1;
    }
}

impl Style for Classic {
    fn context(&mut self, bytes: u64) {
        line(&format!("Sending build context to strata  {}", units::size(bytes)));
    }

    fn planned(&mut self, steps: &[StepInfo]) {
        self.steps = steps.to_vec();
    }

    fn started(&mut self, step: &StepInfo) {
        self.reach(step);
    }

    fn cached(&mut self, step: &StepInfo) {
        self.reach(step);
        if !step.instruction.to_uppercase().starts_with("FROM") {
            line(" ---> Using cache");
        }
    }

    fn missed(&mut self, step: &StepInfo, reason: &str) {
        self.reach(step);
        line(&format!(" ---> Not cached: {reason}"));
    }

    fn output(&mut self, step: &StepInfo, _: Stream, text: &[u8]) {
        self.reach(step);
        let _ = std::io::stderr().lock().write_all(text);
    }

    fn done(&mut self, step: &StepInfo, _: Duration) {
        self.reach(step);
    }

    fn failed(&mut self, step: &StepInfo, _: Duration) {
        self.reach(step);
    }

    fn stopped(&mut self, step: &StepInfo, _: Duration) {
        self.reach(step);
    }

    fn warning(&mut self, message: &str, _: Option<usize>) {
        line(&format!("[Warning] {message}"));
    }

    fn fetching(&mut self, fetching: &Fetching<'_>) {
        let what = match fetching.state {
            FetchState::Downloaded => "Download complete",
            FetchState::Done => "Pull complete",
            _ => return,
        };
        line(&format!("{}: {what}", fetching.layer));
    }

    fn finished(&mut self, report: &BuildReport) {
        while self.printed < self.steps.len() {
            self.print_next();
        }
        line(&format!("Successfully built {}", report.id.short()));
        for tag in &report.tags {
            line(&format!("Successfully tagged {}", tag.familiar()));
        }
    }
}
