//! `--progress=tty`: the steps with their times, redrawn in place; a running step shows its last lines of output.

use super::explain::one_line;
use super::progress::Style;
use crate::render::units;
use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};
use strata_engine::build::{BuildReport, FetchState, Fetching, StepId, StepInfo, Stream};

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
    Stopped(Duration),
}

struct Row {
    id: StepId,
    name: String,
    state: State,
    reason: Option<String>,
    tail: VecDeque<String>,
    /// The last line of the tail ended with a carriage return: the next one is written over it.
    overwritten: bool,
    partial: Vec<u8>,
}

/// One line of a frame, before it is cut to the width.
struct Line {
    /// Belongs to a step that has ended: the first to go when the screen is too small.
    ended: bool,
    colour: &'static str,
    text: String,
    /// Shown at the right edge.
    time: String,
}

/// An image whose layers come from elsewhere.
struct Fetch {
    image: String,
    began: Instant,
    took: Option<Duration>,
    /// The first digits of each layer, and how far it is.
    layers: Vec<(String, FetchState)>,
}

pub(super) struct Terminal {
    began: Instant,
    drawn: Instant,
    rows: Vec<Row>,
    fetches: Vec<Fetch>,
    /// Lines on the screen that the next frame replaces.
    height: usize,
    warnings: Vec<String>,
    colours: bool,
    closed: bool,
}

impl Terminal {
    pub(super) fn new(began: Instant, colours: bool) -> Self {
        let (rows, warnings) = (Vec::new(), Vec::new());
        let fetches = Vec::new();
        Self { began, drawn: began, rows, fetches, height: 0, warnings, colours, closed: false }
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
        if !last && (self.closed || self.height > 0 && self.drawn.elapsed() < FRAME) {
            return;
        }
        self.drawn = Instant::now();
        // A terminal that does not know its size says 0.
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok().filter(|size| size.ws_col > 0);
        // The last column stays empty: a character there makes some terminals wrap, and others forget it.
        let width = size.map_or(80, |size| usize::from(size.ws_col)).max(20) - 1;
        let room = size.map_or(24, |size| usize::from(size.ws_row)).max(6) - 2;
        let lines = self.frame(width, if last { usize::MAX } else { room }, last);
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

    /// What is to be seen now. What is above the screen cannot be redrawn: when there is too much, steps that have ended
    /// go first, and then the oldest lines.
    fn frame(&self, width: usize, room: usize, last: bool) -> Vec<String> {
        let ended = self.rows.iter().filter(|row| row.has_ended()).count();
        let (all, seconds) = (self.rows.len(), self.began.elapsed().as_secs_f64());
        let well = |row: &Row| matches!(row.state, State::Cached | State::Done(_));
        let finished = if last && self.rows.iter().all(well) { " FINISHED" } else { "" };
        let mut lines: Vec<Line> = self.rows.iter().flat_map(|row| row.lines(last)).collect();
        lines.extend(self.fetches.iter().flat_map(Fetch::lines));
        let over = |lines: &Vec<Line>| (lines.len() + 1).saturating_sub(room);
        let mut surplus = over(&lines);
        lines.retain(|line| {
            let goes = line.ended && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
        lines.drain(..over(&lines).min(lines.len()));
        let head = cut(&format!("[+] Building {seconds:.1}s ({ended}/{all}){finished}"), width);
        let painted = lines.iter().map(|line| line.render(width, self.colours));
        std::iter::once(head).chain(painted).collect()
    }
}

impl Line {
    fn render(&self, width: usize, colours: bool) -> String {
        let left = cut(&self.text, width.saturating_sub(self.time.len() + 1));
        let gap = width.saturating_sub(left.chars().count() + self.time.len());
        let gap = if self.time.is_empty() { String::new() } else { " ".repeat(gap) };
        let text = format!("{left}{gap}{}", self.time);
        if colours && !self.colour.is_empty() { format!("\x1b[{}m{text}\x1b[0m", self.colour) } else { text }
    }
}

impl Fetch {
    fn take(&mut self, layer: &str, state: FetchState) {
        match self.layers.iter_mut().find(|(known, _)| known == layer) {
            // A layer that is still coming is unpacked meanwhile: what comes is what is waited for.
            Some((_, FetchState::Downloading { .. })) if state == FetchState::Unpacking => {}
            Some((_, known)) => *known = state,
            None => self.layers.push((layer.to_owned(), state)),
        }
    }

    /// The image, and while it comes its layers.
    fn lines(&self) -> Vec<Line> {
        let ended = self.took.is_some();
        let time = self.took.unwrap_or_else(|| self.began.elapsed());
        let (colour, time) = (if ended { "34" } else { "" }, format!("{:.1}s", time.as_secs_f64()));
        let mut lines = vec![Line { ended, colour, text: format!(" => fetch {}", self.image), time }];
        if !ended {
            lines.extend(self.layers.iter().map(|(layer, state)| {
                let state = match *state {
                    FetchState::Waiting => "waiting".to_owned(),
                    FetchState::Downloading { done, total } => {
                        format!("{} / {}", units::size(done), units::size(total))
                    }
                    FetchState::Downloaded => "downloaded".to_owned(),
                    FetchState::Unpacking => "extracting".to_owned(),
                    FetchState::Done => "done".to_owned(),
                };
                let text = format!(" => => {layer} {state}");
                Line { ended: state == "done", colour: "", text, time: String::new() }
            }));
        }
        lines
    }
}

impl Row {
    fn of(step: &StepInfo) -> Self {
        Self {
            id: step.id,
            name: one_line(&step.name),
            state: State::Waiting,
            reason: None,
            tail: VecDeque::new(),
            overwritten: false,
            partial: Vec::new(),
        }
    }

    fn has_ended(&self) -> bool {
        !matches!(self.state, State::Waiting | State::Running(_))
    }

    /// Takes output into the tail. A line that ends with a carriage return alone, as of a progress bar, gives way to the
    /// next one.
    fn take(&mut self, text: &[u8]) {
        self.partial.extend_from_slice(text);
        while let Some(end) = self.partial.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let shown = printable(&line);
            if !shown.is_empty() {
                if std::mem::take(&mut self.overwritten) {
                    self.tail.pop_back();
                }
                self.tail.push_back(shown);
            }
            // The line feed of a pair only confirms it.
            self.overwritten = line.ends_with(b"\r");
            if self.tail.len() > TAIL {
                self.tail.pop_front();
            }
        }
    }

    /// The step and what is shown below it. In the last frame nothing runs any more: what did was stopped.
    fn lines(&self, last: bool) -> Vec<Line> {
        let seconds = |time: Duration| format!("{:.1}s", time.as_secs_f64());
        let (label, time, colour) = match &self.state {
            State::Waiting => return Vec::new(),
            State::Running(since) if last => ("CANCELED ", seconds(since.elapsed()), "33"),
            State::Running(since) => ("", seconds(since.elapsed()), ""),
            State::Cached => ("CACHED ", String::new(), "34"),
            State::Done(time) => ("", seconds(*time), "34"),
            State::Failed(time) => ("ERROR ", seconds(*time), "31"),
            State::Stopped(time) => ("CANCELED ", seconds(*time), "33"),
        };
        let ended = self.has_ended();
        let mut lines = vec![Line { ended, colour, text: format!(" => {label}{}", self.name), time }];
        if matches!(self.state, State::Running(_)) && !last {
            let below = |colour, text| Line { ended, colour, text, time: String::new() };
            lines.extend(self.reason.iter().map(|reason| below("", format!(" => => not cached: {reason}"))));
            lines.extend(self.tail.iter().map(|line| below("2", format!(" => => # {line}"))));
        }
        lines
    }
}

/// Cut to so many characters, with a mark where something is missing. Escapes and tabs of programs do not get through.
fn cut(text: &str, width: usize) -> String {
    let plain: String =
        text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect();
    if plain.chars().count() <= width {
        return plain;
    }
    plain.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A line that a program wrote, without its colours and what it had written over itself.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::new();
    let mut rest = text.trim_end().chars();
    while let Some(c) = rest.next() {
        // ESC [ ... letter
        if c == '\x1b' {
            if rest.next() == Some('[') {
                let _ = rest.by_ref().find(|c| ('\x40'..='\x7e').contains(c));
            }
            continue;
        }
        out.push(c);
    }
    out
}

impl Style for Terminal {
    fn planned(&mut self, steps: &[StepInfo]) {
        self.rows.extend(steps.iter().filter(|step| step.layered).map(Row::of));
        self.draw(false);
    }

    fn started(&mut self, step: &StepInfo) {
        if self.closed {
            // What comes after the image has a line of its own.
            let _ = writeln!(std::io::stderr().lock(), " => {}", one_line(&step.name));
        } else if self.row(step).is_none() {
            self.rows.push(Row::of(step));
        }
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

    fn output(&mut self, step: &StepInfo, _: Stream, text: &[u8]) {
        if let Some(row) = self.row(step) {
            row.take(text);
        }
        self.draw(false);
    }

    fn done(&mut self, step: &StepInfo, time: Duration) {
        self.set(step, State::Done(time));
    }

    fn failed(&mut self, step: &StepInfo, time: Duration) {
        self.set(step, State::Failed(time));
    }

    fn stopped(&mut self, step: &StepInfo, time: Duration) {
        self.set(step, State::Stopped(time));
    }

    fn warning(&mut self, message: &str, line: Option<usize>) {
        let place = line.map_or_else(String::new, |number| format!(" (line {number})"));
        self.warnings.push(format!("{message}{place}"));
    }

    fn fetching(&mut self, fetching: &Fetching<'_>) {
        let Fetching { image, layer, state } = *fetching;
        let at = self.fetches.iter().position(|fetch| fetch.image == image).unwrap_or_else(|| {
            let (image, began) = (image.to_owned(), Instant::now());
            self.fetches.push(Fetch { image, began, took: None, layers: Vec::new() });
            self.fetches.len() - 1
        });
        self.fetches[at].take(layer, state);
        self.draw(false);
    }

    fn fetched(&mut self, image: &str, time: Duration) {
        if let Some(fetch) = self.fetches.iter_mut().find(|fetch| fetch.image == image) {
            fetch.took = Some(time);
        }
        self.draw(false);
    }

    fn finished(&mut self, report: &BuildReport) {
        self.close();
        let mut out = std::io::stderr().lock();
        let _ = writeln!(out, " => image {}", report.id);
        for tag in &report.tags {
            let _ = writeln!(out, " => named {}", tag.familiar());
        }
    }

    fn tick(&mut self) -> bool {
        if !self.closed {
            self.draw(false);
        }
        !self.closed
    }

    fn close(&mut self) {
        self.closed = true;
        if self.height > 0 {
            self.draw(true);
            self.height = 0;
        }
        for warning in self.warnings.drain(..) {
            let _ = writeln!(std::io::stderr(), "WARNING: {warning}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(rows: Vec<(&str, State)>) -> Terminal {
        let mut terminal = Terminal::new(Instant::now(), false);
        let row = |(at, (name, state)): (usize, (&str, State))| Row {
            id: StepId(at),
            name: name.to_owned(),
            state,
            reason: None,
            tail: VecDeque::new(),
            overwritten: false,
            partial: Vec::new(),
        };
        terminal.rows = rows.into_iter().enumerate().map(row).collect();
        terminal
    }

    fn second() -> State {
        State::Done(Duration::from_millis(1040))
    }

    #[test]
    fn lines_fit_the_terminal() {
        let name =
            "[build 10/12] RUN apt-get update && apt-get install -y --no-install-recommends build-essential";
        let frame = terminal(vec![(name, second()), ("[2/2] RUN x", State::Cached)]).frame(39, 20, false);
        assert_eq!(
            frame,
            ["[+] Building 0.0s (2/2)", " => [build 10/12] RUN apt-get upd… 1.0s", " => CACHED [2/2] RUN x",]
        );
        assert!(frame.iter().all(|line| line.chars().count() <= 39), "{frame:?}");
    }

    #[test]
    fn what_runs_is_seen_when_the_screen_is_small() {
        let mut all: Vec<(&str, State)> = (0..30).map(|_| ("[x] RUN done", second())).collect();
        all.insert(3, ("[x] RUN running", State::Running(Instant::now())));
        all.push(("[x] RUN waiting", State::Waiting));
        let terminal = terminal(all);
        let frame = terminal.frame(79, 8, false);
        assert_eq!(frame.len(), 8);
        assert!(frame[1].starts_with(" => [x] RUN running"), "{frame:?}");
        assert_eq!(terminal.frame(79, usize::MAX, true).len(), 32, "at the end all that began is shown");
    }

    #[test]
    fn the_last_frame_says_what_was_stopped() {
        let rows = vec![("[1/2] RUN a", second()), ("[2/2] RUN b", State::Running(Instant::now()))];
        let frame = terminal(rows).frame(79, usize::MAX, true);
        assert!(frame[0].ends_with("(1/2)") && frame[2].starts_with(" => CANCELED [2/2] RUN b"), "{frame:?}");
        let frame = terminal(vec![("[1/1] RUN a", second())]).frame(79, usize::MAX, true);
        assert!(frame[0].ends_with("(1/1) FINISHED"), "{frame:?}");
    }

    #[test]
    fn what_is_fetched_is_shown_layer_by_layer() {
        let mut terminal = terminal(vec![("[1/2] FROM a:1", second())]);
        let mut tell = |layer, state| terminal.fetching(&Fetching { image: "a:1", layer, state });
        tell("0123456789ab", FetchState::Waiting);
        tell("ba9876543210", FetchState::Waiting);
        tell("0123456789ab", FetchState::Downloading { done: 1_500_000, total: 3_000_000 });
        tell("0123456789ab", FetchState::Unpacking);
        let frame = terminal.frame(40, 20, false);
        assert!(frame[2].starts_with(" => fetch a:1"), "{frame:?}");
        assert_eq!(frame[3..], [" => => 0123456789ab 1.5MB / 3MB", " => => ba9876543210 waiting"]);
        terminal.fetched("a:1", Duration::from_millis(2100));
        let frame = terminal.frame(40, 20, false);
        assert_eq!(frame[2..], [" => fetch a:1                       2.1s"]);
    }

    #[test]
    fn progress_bars_stay_on_one_line() {
        let mut terminal = terminal(vec![("x", State::Waiting)]);
        let row = &mut terminal.rows[0];
        row.take(b"one\n10 %\r20 %\r30");
        row.take(b" %\r\ndone\r\nlast\n");
        assert_eq!(row.tail, ["one", "30 %", "done", "last"]);
    }

    #[test]
    fn programs_cannot_paint_the_screen() {
        assert_eq!(printable(b"\x1b[1;31mred\x1b[0m \x1b[2Ktext\n"), "red text");
        assert_eq!(cut("a\tb\x1bc", 10), "a bc");
        assert_eq!(cut("0123456789", 10), "0123456789");
        assert_eq!(cut("0123456789x", 10), "012345678…");
    }
}
