//! Docker's json-file log: one JSON object per line of output (`spec/executor.md` E), rotated by size.
//!
//! `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}`; a line of more than 16 KiB becomes
//! several objects of which only the last has the `\n`, all with the time of the first.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{OutputSink, OutputStream};

/// Longest piece of a line in one object.
const PIECE: usize = 16 << 10;

/// When to start a new file, and how many to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes after which a file is closed; 0 is never.
    pub max_size: u64,
    /// Files kept, the current one included: `json.log`, `json.log.1`, ...
    pub max_files: u32,
}

impl Default for LogLimits {
    /// 20 MiB, five files.
    fn default() -> Self {
        Self { max_size: 20 << 20, max_files: 5 }
    }
}

/// The log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the log {}: {source}", path.display())]
pub struct LogError {
    /// `open`, `write`, `rotate`.
    pub action: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Writes a log. Each batch of lines is one write to a file opened for appending, so that readers see whole lines.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    limits: LogLimits,
    file: fs_err::File,
    size: u64,
    partial: [Partial; 2],
    batch: Vec<u8>,
}

/// A line without its end.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// When its first byte came.
    since: Option<Timestamp>,
}

impl LogWriter {
    /// Opens the log for appending, or makes it, readable by its owner only.
    ///
    /// # Errors
    /// Fails when the file cannot be opened.
    pub fn open(path: &Path, limits: LogLimits) -> Result<Self, LogError> {
        let fail = |source| LogError { action: "open", path: path.to_owned(), source };
        let file = open_file(path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        let partial = Default::default();
        Ok(Self { path: path.to_owned(), limits, file, size, partial, batch: Vec::new() })
    }

    /// Takes output that arrived at `now`.
    ///
    /// # Errors
    /// Fails when the log cannot be written or rotated.
    pub fn write(&mut self, stream: OutputStream, bytes: &[u8], now: Timestamp) -> Result<(), LogError> {
        let partial = &mut self.partial[index(stream)];
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let mut rest = piece;
            while !rest.is_empty() {
                let since = *partial.since.get_or_insert(now);
                let take = rest.len().min(PIECE - partial.bytes.len());
                partial.bytes.extend_from_slice(&rest[..take]);
                rest = &rest[take..];
                let complete = partial.bytes.ends_with(b"\n");
                if complete || partial.bytes.len() == PIECE {
                    append_object(&mut self.batch, &partial.bytes, stream, since);
                    partial.bytes.clear();
                }
                if complete {
                    partial.since = None;
                }
            }
        }
        self.flush()
    }

    /// Writes a last line that has no end.
    ///
    /// # Errors
    /// Fails when the log cannot be written or rotated.
    pub fn finish(&mut self, stream: OutputStream) -> Result<(), LogError> {
        let partial = &mut self.partial[index(stream)];
        if let Some(since) = partial.since.take()
            && !partial.bytes.is_empty()
        {
            append_object(&mut self.batch, &partial.bytes, stream, since);
            partial.bytes.clear();
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), LogError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.limits.max_size > 0 && self.size >= self.limits.max_size {
            self.rotate()?;
        }
        let fail = |source| LogError { action: "write", path: self.path.clone(), source };
        self.file.write_all(&self.batch).map_err(fail)?;
        self.size += self.batch.len() as u64;
        self.batch.clear();
        self.batch.shrink_to(4 * PIECE);
        Ok(())
    }

    /// `log.3` becomes `log.4`, ..., `log` becomes `log.1`; the oldest is replaced.
    fn rotate(&mut self) -> Result<(), LogError> {
        let fail = |source| LogError { action: "rotate", path: self.path.clone(), source };
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.limits.max_files <= 1 {
            self.file.set_len(0).map_err(fail)?;
        } else {
            for number in (1..self.limits.max_files - 1).rev() {
                match fs_err::rename(numbered(number), numbered(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
                    _ => {}
                }
            }
            fs_err::rename(&self.path, numbered(1)).map_err(fail)?;
            self.file = open_file(&self.path).map_err(fail)?;
        }
        self.size = 0;
        Ok(())
    }
}

impl OutputSink for LogWriter {
    fn output(&mut self, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        self.write(stream, bytes, Timestamp::now()).map_err(io::Error::other)
    }

    fn end(&mut self, stream: OutputStream) -> io::Result<()> {
        self.finish(stream).map_err(io::Error::other)
    }
}

fn open_file(path: &Path) -> io::Result<fs_err::File> {
    use fs_err::os::unix::fs::OpenOptionsExt;
    fs_err::OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn index(stream: OutputStream) -> usize {
    match stream {
        OutputStream::Stdout => 0,
        OutputStream::Stderr => 1,
    }
}

fn append_object(out: &mut Vec<u8>, text: &[u8], stream: OutputStream, time: Timestamp) {
    let name = match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, text);
    // Timestamps print in UTC without trailing zeros, as Go's RFC3339Nano does.
    out.extend_from_slice(format!("\",\"stream\":\"{name}\",\"time\":\"{time}\"}}\n").as_bytes());
}

/// As Docker's encoder: short forms for backslash, quote, newline, carriage return; other control characters, `<`, `>`,
/// `&` and the two Unicode line separators as `\u`; each byte that is not UTF-8 as U+FFFD.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.extend_from_slice(b"\\\\"),
                '"' => out.extend_from_slice(b"\\\""),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\u{0}'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
                }
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn lines_times_and_escapes_are_dockers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("json.log");
        let mut log = LogWriter::open(&path, LogLimits::default()).unwrap();
        let whole = at("2026-01-02T03:04:05Z");
        let fraction = at("2026-01-02T03:04:05.120Z");
        log.write(OutputStream::Stdout, b"one\ntw", whole).unwrap();
        log.write(OutputStream::Stderr, b"a\t<b>&\"\\\r\x7f\xff\xfe\xe2\x80\xa8\n", fraction).unwrap();
        log.write(OutputStream::Stdout, b"o\nlast", fraction).unwrap();
        log.finish(OutputStream::Stdout).unwrap();
        log.finish(OutputStream::Stderr).unwrap();
        let expected = concat!(
            "{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05Z\"}\n",
            "{\"log\":\"a\\u0009\\u003cb\\u003e\\u0026\\\"\\\\\\r\u{7f}\\ufffd\\ufffd\\u2028\\n\",",
            "\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.12Z\"}\n",
            "{\"log\":\"two\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05Z\"}\n",
            "{\"log\":\"last\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.12Z\"}\n",
        );
        assert_eq!(fs_err::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn long_lines_are_cut_and_share_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("json.log");
        let mut log = LogWriter::open(&path, LogLimits::default()).unwrap();
        let mut line = vec![b'x'; PIECE + 10];
        line.push(b'\n');
        log.write(OutputStream::Stdout, &line, at("2026-01-02T03:04:05Z")).unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let lengths: Vec<usize> =
            objects.iter().map(|object| object["log"].as_str().unwrap().len()).collect();
        assert_eq!(lengths, [PIECE, 11]);
        assert!(objects[1]["log"].as_str().unwrap().ends_with('\n'));
    }

    #[test]
    fn rotation_keeps_the_newest_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("json.log");
        let mut log = LogWriter::open(&path, LogLimits { max_size: 100, max_files: 3 }).unwrap();
        for number in 0..20 {
            log.write(OutputStream::Stdout, format!("line {number}\n").as_bytes(), Timestamp::UNIX_EPOCH)
                .unwrap();
        }
        let read = |name: &str| fs_err::read_to_string(directory.path().join(name)).unwrap();
        assert!(read("json.log").contains("line 19"));
        assert!(read("json.log.1").contains("line 17"));
        assert!(read("json.log.2").contains("line 15"));
        assert!(!directory.path().join("json.log.3").exists());
    }
}
