//! How a pull and a push are shown: Docker's lines, and on a terminal a bar per layer.

use super::interrupts::Interrupts;
use crate::render::units;
use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use strata_engine::transfer::{Progress, Status};
use strata_engine::{Engine, EngineError};

/// Bars are drawn at most so often.
const FRAME: Duration = Duration::from_millis(80);
/// How often it is looked whether a signal came.
const SIGNAL_CHECK: Duration = Duration::from_millis(50);
/// Width of a bar, as Docker's.
const BAR: usize = 50;
/// A shorter one shows nothing.
const SHORTEST_BAR: usize = 8;

/// Shows progress. Several threads may tell it things.
pub(crate) struct Display(Mutex<Screen>);

enum Out {
    Nowhere,
    Stdout,
    Stderr,
}

struct Screen {
    out: Out,
    /// Rows are redrawn in place.
    terminal: bool,
    rows: Vec<Row>,
    places: HashMap<String, usize>,
    /// Rows on the screen.
    height: usize,
    drawn: Option<Instant>,
}

struct Row {
    id: String,
    text: String,
    /// Bytes done, of how many: drawn as a bar.
    bytes: Option<(u64, u64)>,
    /// Which kind of status it shows: lines are written when that changes.
    kind: std::mem::Discriminant<Status<'static>>,
}

impl Row {
    /// As it fits into so many columns.
    fn line(&self, width: usize) -> String {
        let mut line = format!("{}: {}", self.id, self.text);
        if let Some((done, total)) = self.bytes {
            line.push(' ');
            line.push_str(&bar(done, total, width.saturating_sub(line.len())));
        }
        line.chars().take(width).collect()
    }
}

impl Display {
    /// Says nothing.
    pub(crate) fn silent() -> Self {
        Self::to(Out::Nowhere, false)
    }

    /// On standard output, as `pull` and `push`.
    pub(crate) fn stdout() -> Self {
        Self::to(Out::Stdout, io::stdout().is_terminal())
    }

    /// On standard error, as `run` and `build`, whose output is another.
    pub(crate) fn stderr() -> Self {
        Self::to(Out::Stderr, io::stderr().is_terminal())
    }

    fn to(out: Out, terminal: bool) -> Self {
        let (rows, places) = (Vec::new(), HashMap::new());
        Self(Mutex::new(Screen { out, terminal, rows, places, height: 0, drawn: None }))
    }

    /// Shows what happens.
    pub(crate) fn show(&self, progress: Progress<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).show(progress);
    }

    /// A line of its own, below the rows.
    pub(crate) fn line(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).line(text);
    }

    /// Nothing more will change: the rows stay as they are.
    pub(crate) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).close();
    }
}

impl Screen {
    fn write(&self, text: &str) {
        // Nobody reads it any more: the transfer goes on.
        let _ = match self.out {
            Out::Nowhere => Ok(()),
            Out::Stdout => io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()),
            Out::Stderr => io::stderr().lock().write_all(text.as_bytes()),
        };
    }

    fn line(&mut self, text: &str) {
        self.close();
        self.write(&format!("{text}\n"));
    }

    fn show(&mut self, progress: Progress<'_>) {
        if matches!(self.out, Out::Nowhere) {
            if let Progress::Warning(message) = progress {
                let _ = writeln!(io::stderr(), "WARNING: {message}");
            }
            return;
        }
        match progress {
            Progress::PullingFrom { name, repository } => {
                self.line(&format!("{name}: Pulling from {repository}"))
            }
            Progress::PushingTo(repository) => {
                self.line(&format!("The push refers to repository [{repository}]"));
            }
            Progress::Warning(message) => {
                self.close();
                let _ = writeln!(io::stderr(), "WARNING: {message}");
            }
            Progress::Pulled(image) => self.line(&format!("Digest: {}", image.digest)),
            Progress::Pushed(image) => {
                let tag = image.reference.tag().unwrap_or("latest");
                self.line(&format!("{tag}: digest: {} size: {}", image.digest, image.size));
            }
            Progress::Layer { id, status } => self.layer(id, status),
        }
    }

    fn layer(&mut self, id: &str, status: Status<'_>) {
        let kind = kind(status);
        let moving =
            matches!(status, Status::Downloading { .. } | Status::Extracting { .. } | Status::Pushing { .. });
        let known = self.places.get(id).copied();
        let changed = known.is_none_or(|place| self.rows[place].kind != kind);
        if !self.terminal {
            if changed && !moving {
                self.write(&format!("{id}: {}\n", sentence(status)));
            }
            if moving {
                return;
            }
        }
        // A layer that is still coming is not unpacked yet, for whoever watches.
        let downloading = |row: &Row| row.text == "Downloading";
        if matches!(status, Status::Extracting { .. })
            && known.is_some_and(|place| downloading(&self.rows[place]))
        {
            return;
        }
        let place = *self.places.entry(id.to_owned()).or_insert(self.rows.len());
        let row = Row { id: id.to_owned(), text: sentence(status), bytes: bytes(status), kind };
        match self.rows.get_mut(place) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
        if self.terminal && (changed || self.drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME)) {
            self.draw();
        }
    }

    fn draw(&mut self) {
        let size = match self.out {
            Out::Stdout => rustix::termios::tcgetwinsize(rustix::stdio::stdout()),
            Out::Nowhere | Out::Stderr => rustix::termios::tcgetwinsize(rustix::stdio::stderr()),
        };
        let size = size.ok().filter(|size| size.ws_col > 0);
        let width = size.map_or(80, |size| usize::from(size.ws_col).max(20));
        let room = size.map_or(24, |size| usize::from(size.ws_row).max(4)) - 1;
        // What is above the screen cannot be redrawn: the last rows are shown.
        let first = self.rows.len().saturating_sub(room);
        let mut frame = String::new();
        if self.height > 0 {
            frame.push_str(&format!("\x1b[{}A", self.height));
        }
        for row in &self.rows[first..] {
            frame.push_str(&row.line(width - 1));
            frame.push_str("\x1b[K\n");
        }
        self.height = self.rows.len() - first;
        self.drawn = Some(Instant::now());
        self.write(&frame);
    }

    fn close(&mut self) {
        if self.terminal && !self.rows.is_empty() {
            self.draw();
        }
        self.rows.clear();
        self.places.clear();
        self.height = 0;
    }
}

/// The kind of a status, whatever its numbers.
fn kind(status: Status<'_>) -> std::mem::Discriminant<Status<'static>> {
    // A name has another lifetime, but the kind is the same.
    std::mem::discriminant(&match status {
        Status::MountedFrom(_) => Status::MountedFrom(""),
        Status::PullingFsLayer => Status::PullingFsLayer,
        Status::Waiting => Status::Waiting,
        Status::Downloading { done, total } => Status::Downloading { done, total },
        Status::DownloadComplete => Status::DownloadComplete,
        Status::Extracting { done, total } => Status::Extracting { done, total },
        Status::PullComplete => Status::PullComplete,
        Status::AlreadyExists => Status::AlreadyExists,
        Status::Preparing => Status::Preparing,
        Status::Pushing { done, total } => Status::Pushing { done, total },
        Status::Pushed => Status::Pushed,
        Status::LayerAlreadyExists => Status::LayerAlreadyExists,
        Status::SkippedForeign => Status::SkippedForeign,
    })
}

/// Docker's words.
fn sentence(status: Status<'_>) -> String {
    match status {
        Status::PullingFsLayer => "Pulling fs layer".to_owned(),
        Status::Waiting => "Waiting".to_owned(),
        Status::Downloading { .. } => "Downloading".to_owned(),
        Status::DownloadComplete => "Download complete".to_owned(),
        Status::Extracting { .. } => "Extracting".to_owned(),
        Status::PullComplete => "Pull complete".to_owned(),
        Status::AlreadyExists => "Already exists".to_owned(),
        Status::Preparing => "Preparing".to_owned(),
        Status::Pushing { .. } => "Pushing".to_owned(),
        Status::Pushed => "Pushed".to_owned(),
        Status::LayerAlreadyExists => "Layer already exists".to_owned(),
        Status::MountedFrom(repository) => format!("Mounted from {repository}"),
        Status::SkippedForeign => "Skipped foreign layer".to_owned(),
    }
}

/// What a bar shows.
fn bytes(status: Status<'_>) -> Option<(u64, u64)> {
    match status {
        Status::Downloading { done, total }
        | Status::Extracting { done, total }
        | Status::Pushing { done, total } => Some((done, total)),
        _ => None,
    }
}

/// `[=====>      ]  1.2MB/4.3MB`, in so many columns: the numbers say more than the bar, which gives way.
fn bar(done: u64, total: u64, room: usize) -> String {
    let done = done.min(total);
    let numbers = format!("{}/{}", units::size(done), units::size(total));
    let width = room.saturating_sub(numbers.len() + "[]  ".len()).min(BAR);
    if width < SHORTEST_BAR {
        return numbers;
    }
    let filled = u128::from(done) * width as u128 / u128::from(total.max(1));
    let filled = usize::try_from(filled).unwrap_or(width).min(width);
    let bar = if filled == width {
        "=".repeat(width)
    } else {
        format!("{}>{}", "=".repeat(filled), " ".repeat(width - filled - 1))
    };
    format!("[{bar}]  {numbers}")
}

/// What the first signal cancels: it is given up in good order, and what came is kept. The second one ends the program at
/// once.
pub(crate) struct Cancel {
    flag: Arc<AtomicBool>,
    /// Dropped first, which ends the thread: one that lived on would take signals from whatever comes next.
    going_on: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl Cancel {
    /// Until this is dropped, a signal also ends what waits for a registry that is silent, or for the next try.
    pub(crate) fn by_signals(engine: &Engine) -> Result<Self, EngineError> {
        let interrupts = Interrupts::default();
        interrupts.catch(Some(130))?;
        let flag = interrupts.cancel;
        let (going_on, over) = channel();
        let (seen, registries) = (Arc::clone(&flag), engine.registries().clone());
        let watch = std::thread::spawn(move || {
            while over.recv_timeout(SIGNAL_CHECK) == Err(RecvTimeoutError::Timeout) {
                if seen.load(Ordering::Relaxed) {
                    return registries.shut_down();
                }
            }
        });
        Ok(Self { flag, going_on: Some(going_on), watch: Some(watch) })
    }

    /// Set by a signal.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.flag
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        drop(self.going_on.take());
        // It does nothing that could panic.
        let _ = self.watch.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill_from_left_to_right() {
        assert_eq!(bar(0, 10, 99), format!("[>{}]  0B/10B", " ".repeat(49)));
        assert_eq!(bar(5, 10, 99), format!("[{}>{}]  5B/10B", "=".repeat(25), " ".repeat(24)));
        assert_eq!(bar(10, 10, 99), format!("[{}]  10B/10B", "=".repeat(50)));
        assert_eq!(bar(0, 0, 99), format!("[>{}]  0B/0B", " ".repeat(49)));
        assert_eq!(bar(u64::MAX / 2, u64::MAX, 30), "[=====>     ]  9.223EB/18.45EB");
    }

    #[test]
    fn on_a_narrow_terminal_the_numbers_stay() {
        let status = Status::Downloading { done: 1_500_000, total: 62_580_000 };
        let row = Row {
            id: "eec299df4335".to_owned(),
            text: sentence(status),
            bytes: bytes(status),
            kind: kind(status),
        };
        assert_eq!(row.line(99), format!("eec299df4335: Downloading [=>{}]  1.5MB/62.58MB", " ".repeat(48)));
        assert_eq!(row.line(79), format!("eec299df4335: Downloading [>{}]  1.5MB/62.58MB", " ".repeat(35)));
        assert_eq!(row.line(51), "eec299df4335: Downloading [>       ]  1.5MB/62.58MB");
        assert_eq!(row.line(50), "eec299df4335: Downloading 1.5MB/62.58MB");
        assert_eq!(row.line(40), "eec299df4335: Downloading 1.5MB/62.58MB");
        assert_eq!(row.line(20), "eec299df4335: Downlo");
    }

    #[test]
    fn tags_are_told_from_ports() {
        use super::super::pull::names_a_tag;
        for (text, tagged) in
            [("a", false), ("a:1", true), ("h:5/a", false), ("h:5/a:1", true), ("a@sha256:0", false)]
        {
            assert_eq!(names_a_tag(text), tagged, "{text}");
        }
    }
}
