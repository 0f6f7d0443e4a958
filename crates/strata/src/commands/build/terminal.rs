//! `--progress=tty`: the steps with their times, redrawn in place; a running step shows its last lines of output.

use super::progress::Style;
use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};
use strata_engine::build::{BuildReport, StepId, StepInfo};

/// Lines of output shown below a running step.
const TAIL: usize = 6;
/// Redraws are at least so far apart.
const FRAME: Duration = Duration::from_millis(50);

enum State {
    Waiting,
    Running(Instant),
    Cached,
    Done(Duration),
    Failed(Duration),
}

struct Row {
    id: StepId,
    name: String,
    state: State,
    reason: Option<String>,
    tail: VecDeque<String>,
    partial: Vec<u8>,
}

pub(super) struct Terminal {
    began: Instant,
    drawn: Instant,
    rows: Vec<Row>,
    /// Lines on the screen that the next frame replaces.
    height: usize,
    warnings: Vec<String>,
    closed: bool,
}

impl Terminal {
    pub(super) fn new(began: Instant) -> Self {
        Self { began, drawn: began, rows: Vec::new(), height: 0, warnings: Vec::new(), closed: false }
    }

    fn row(&mut self, step: &StepInfo) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.id == step.id)
    }

    fn set(&mut self, step: &StepInfo, state: State) {
        if let Some(row) = self.row(step) {
            row.state = state;
            row.tail.clear();
        }
        self.draw(false);
    }

    fn draw(&mut self, last: bool) {
        if !last && self.height > 0 && self.drawn.elapsed() < FRAME {
            return;
        }
        self.drawn = Instant::now();
        // A terminal that does not know its size says 0.
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok().filter(|size| size.ws_col > 0);
        let width = size.map_or(80, |size| usize::from(size.ws_col).max(20));
        let room = size.map_or(24, |size| usize::from(size.ws_row).max(8)) - 2;
        let ended =
            self.rows.iter().filter(|row| !matches!(row.state, State::Waiting | State::Running(_))).count();
        let seconds = self.began.elapsed().as_secs_f64();
        let mut lines = vec![format!("[+] Building {seconds:.1}s ({ended}/{})", self.rows.len())];
        for row in self.rows.iter().filter(|row| last || !matches!(row.state, State::Waiting)) {
            lines.extend(row.lines(width));
        }
        if !last && lines.len() > room {
            // What is above the screen cannot be redrawn: the newest lines are the ones to see.
            let cut = lines.len() - room;
            lines.drain(1..=cut);
        }
        let mut frame = String::new();
        if self.height > 0 {
            frame.push_str(&format!("\x1b[{}A", self.height));
        }
        for line in &lines {
            frame.push_str(line);
            frame.push_str("\x1b[K\n");
        }
        frame.push_str("\x1b[J");
        self.height = lines.len();
        let mut out = std::io::stderr().lock();
        let _ = out.write_all(frame.as_bytes()).and_then(|()| out.flush());
    }
}

impl Row {
    fn lines(&self, width: usize) -> Vec<String> {
        let (label, time, colour) = match &self.state {
            State::Waiting => ("", String::new(), ""),
            State::Running(since) => ("", format!("{:.1}s", since.elapsed().as_secs_f64()), ""),
            State::Cached => ("CACHED ", String::new(), "\x1b[34m"),
            State::Done(time) => ("", format!("{:.1}s", time.as_secs_f64()), "\x1b[34m"),
            State::Failed(time) => ("ERROR ", format!("{:.1}s", time.as_secs_f64()), "\x1b[31m"),
        };
        let left = cut(&format!(" => {label}{}", self.name), width.saturating_sub(time.len() + 1));
        let gap = width.saturating_sub(left.chars().count() + time.len());
        let mut lines = vec![format!("{colour}{left}{}{time}\x1b[0m", " ".repeat(gap))];
        if matches!(self.state, State::Running(_)) {
            lines
                .extend(self.reason.iter().map(|reason| cut(&format!(" => => not cached: {reason}"), width)));
            lines.extend(
                self.tail
                    .iter()
                    .map(|line| format!("\x1b[2m{}\x1b[0m", cut(&format!(" => => # {line}"), width))),
            );
        }
        lines
    }
}

fn cut(text: &str, width: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(width).collect()
}

impl Style for Terminal {
    fn planned(&mut self, steps: &[StepInfo]) {
        let layered = steps.iter().filter(|step| step.layered);
        self.rows = layered
            .map(|step| Row {
                id: step.id,
                name: step.name.clone(),
                state: State::Waiting,
                reason: None,
                tail: VecDeque::new(),
                partial: Vec::new(),
            })
            .collect();
        self.draw(false);
    }

    fn started(&mut self, step: &StepInfo) {
        self.set(step, State::Running(Instant::now()));
    }

    fn cached(&mut self, step: &StepInfo) {
        self.set(step, State::Cached);
    }

    fn missed(&mut self, step: &StepInfo, reason: &str) {
        if let Some(row) = self.row(step) {
            row.reason = Some(reason.to_owned());
        }
    }

    fn output(&mut self, step: &StepInfo, text: &[u8]) {
        if let Some(row) = self.row(step) {
            row.partial.extend_from_slice(text);
            while let Some(end) = row.partial.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                let line: Vec<u8> = row.partial.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !line.is_empty() {
                    row.tail.push_back(line);
                }
                if row.tail.len() > TAIL {
                    row.tail.pop_front();
                }
            }
        }
        self.draw(false);
    }

    fn done(&mut self, step: &StepInfo, time: Duration) {
        self.set(step, State::Done(time));
    }

    fn failed(&mut self, step: &StepInfo, time: Duration) {
        self.set(step, State::Failed(time));
    }

    fn warning(&mut self, message: &str, line: Option<usize>) {
        let place = line.map_or_else(String::new, |number| format!(" (line {number})"));
        self.warnings.push(format!("{message}{place}"));
    }

    fn finished(&mut self, report: &BuildReport) {
        self.draw(true);
        self.closed = true;
        let mut out = std::io::stderr().lock();
        let _ = writeln!(out, " => image {}", report.id);
        for tag in &report.tags {
            let _ = writeln!(out, " => named {}", tag.familiar());
        }
        self.height = 0;
    }

    fn tick(&mut self) {
        if !self.closed {
            self.draw(false);
        }
    }

    fn close(&mut self) {
        self.closed = true;
        if self.height > 0 {
            self.draw(true);
            self.height = 0;
        }
        for warning in &self.warnings {
            let _ = writeln!(std::io::stderr(), "WARNING: {warning}");
        }
    }
}
