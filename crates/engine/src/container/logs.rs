//! `logs`: the json-file log and its rotated predecessors.
use super::LogsRequest;
use crate::{Engine, EngineError};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a followed log is looked at.
const TICK: Duration = Duration::from_millis(50);

/// One line of the log (`spec/executor.md`, section E).
#[derive(Deserialize)]
struct Line {
    log: String,
    stream: String,
    time: Timestamp,
}

impl Engine {
    /// Copies the log to the two streams; with `follow` until the container ends.
    pub fn logs(
        &self,
        name: &str,
        request: &LogsRequest,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let container = self.store().containers().lookup(name)?;
        let path = container.log();
        let mut reader = Follower::open(&path)?;
        let mut tail: VecDeque<Line> = VecDeque::new();
        for old in rotated(&path) {
            read_lines(&mut BufReader::new(fs_err::File::open(old)?.into_file()), &mut |line| {
                keep(&mut tail, line, request)
            });
        }
        reader.read(&mut |line| keep(&mut tail, line, request));
        for line in &tail {
            show(line, request, stdout, stderr)?;
        }
        stdout.flush()?;
        if !request.follow {
            return Ok(());
        }
        loop {
            // Asked before reading: what is written between the two is read in this round or the next.
            let alive = match self.store().containers().lookup(&container.id) {
                Ok(container) => container.state.is_alive(),
                Err(strata_store::StoreError::NoSuchContainer(_)) => false,
                Err(error) => return Err(error.into()),
            };
            let mut failed = Ok(());
            reader.read(&mut |line| {
                if failed.is_ok() && within(&line, request) {
                    failed = show(&line, request, stdout, stderr);
                }
            });
            failed?;
            stdout.flush()?;
            if !alive {
                return Ok(());
            }
            std::thread::sleep(TICK);
            reader.reopen_if_rotated(&path)?;
        }
    }
}

fn within(line: &Line, request: &LogsRequest) -> bool {
    request.since.is_none_or(|since| line.time >= since)
        && request.until.is_none_or(|until| line.time <= until)
}

fn keep(tail: &mut VecDeque<Line>, line: Line, request: &LogsRequest) {
    if !within(&line, request) {
        return;
    }
    tail.push_back(line);
    if request.tail.is_some_and(|limit| tail.len() > limit) {
        tail.pop_front();
    }
}

fn show(
    line: &Line,
    request: &LogsRequest,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<(), EngineError> {
    let out: &mut dyn Write = if line.stream == "stderr" { &mut *stderr } else { &mut *stdout };
    if request.timestamps {
        write!(out, "{} ", line.time.strftime("%Y-%m-%dT%H:%M:%S%.9fZ"))?;
    }
    Ok(out.write_all(line.log.as_bytes())?)
}

/// Rotated logs, oldest first: `.5` before `.1`.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    (1..100).rev().map(numbered).filter(|path| path.exists()).collect()
}

/// Whole lines as they come; a line that is still being written is left for the next time.
struct Follower {
    reader: Option<BufReader<File>>,
    partial: Vec<u8>,
}

impl Follower {
    fn open(path: &Path) -> Result<Self, EngineError> {
        let reader = match fs_err::File::open(path) {
            Ok(file) => Some(BufReader::new(file.into_file())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { reader, partial: Vec::new() })
    }

    fn read(&mut self, each: &mut dyn FnMut(Line)) {
        let Some(reader) = &mut self.reader else { return };
        while let Ok(length) = reader.read_until(b'\n', &mut self.partial) {
            if length == 0 || !self.partial.ends_with(b"\n") {
                return;
            }
            if let Ok(line) = serde_json::from_slice(&self.partial) {
                each(line);
            }
            self.partial.clear();
        }
    }

    fn reopen_if_rotated(&mut self, path: &Path) -> Result<(), EngineError> {
        use std::os::unix::fs::MetadataExt;
        let Ok(there) = fs_err::metadata(path) else { return Ok(()) };
        let same = self.reader.as_ref().is_some_and(|reader| {
            reader
                .get_ref()
                .metadata()
                .is_ok_and(|open| (open.ino(), open.dev()) == (there.ino(), there.dev()))
        });
        if !same {
            *self = Self::open(path)?;
        }
        Ok(())
    }
}

fn read_lines(reader: &mut impl BufRead, each: &mut dyn FnMut(Line)) {
    let mut text = Vec::new();
    while reader.read_until(b'\n', &mut text).is_ok_and(|length| length > 0) {
        if let Ok(line) = serde_json::from_slice(&text) {
            each(line);
        }
        text.clear();
    }
}
