//! The loop itself.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::Errno;

use super::buffer::{KeyMatcher, Queue};
use super::signals::{Received, Signals};
use super::{Options, Outcome, OutputSink, OutputStream, RawMode, SuperviseError};
use crate::container::{ExitStatus, Running};
use crate::sys::memory;

/// How long output of background processes is waited for after the main process has ended.
const DRAIN: Duration = Duration::from_millis(200);

/// A terminal without any process on it may get one again: how long to wait before looking.
const HANGUP_PAUSE: Duration = Duration::from_millis(20);

/// Silence after which more silence is expected.
const REST_AFTER: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Piece size for reading; also the bound of what is held for a slow client.
const PIECE: usize = 16 << 10;

/// One output: from the container to client and sinks.
struct Output {
    stream: OutputStream,
    /// The container's end; gone after its end.
    source: Option<OwnedFd>,
    /// The client's end; gone when it hung up.
    client: Option<OwnedFd>,
    /// Bytes the client has not taken yet.
    waiting: Queue,
    /// Do not read before.
    paused_until: Option<Instant>,
}

pub(super) struct Pump<'a> {
    outputs: Vec<Output>,
    /// The container's end of the input.
    input: Option<OwnedFd>,
    client_input: Option<OwnedFd>,
    typed: Queue,
    detach: KeyMatcher,
    terminal: Option<OwnedFd>,
    /// Terminal of the client, whose size is followed.
    client_terminal: Option<OwnedFd>,
    sinks: Vec<&'a mut dyn OutputSink>,
    signals: Option<Signals>,
    rest: bool,
    _raw: Option<RawMode>,
    ended: Option<(ExitStatus, Instant)>,
}

/// What a poll entry stands for.
#[derive(Clone, Copy)]
enum Watch {
    Process,
    Signal,
    Source(usize),
    Client(usize),
    Typed,
    Input,
}

impl<'a> Pump<'a> {
    pub(super) fn new(running: &mut Running, options: Options<'a>) -> Result<Self, SuperviseError> {
        let failed = "set up the container's streams";
        let streams = std::mem::take(&mut running.streams);
        let client = options.client.unwrap_or_default();
        let terminal = streams.terminal;
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(SuperviseError::io(failed));
        let (stdout, input) = match &terminal {
            Some(master) => (Some(copy(master)?), Some(copy(master)?)),
            None => (streams.stdout, streams.stdin),
        };
        for fd in [&stdout, &streams.stderr, &input].into_iter().flatten() {
            let flags = fcntl_getfl(fd).map_err(SuperviseError::io(failed))?;
            fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(SuperviseError::io(failed))?;
        }
        let is_terminal = |fd: &OwnedFd| rustix::termios::isatty(fd);
        let typed_on = client.stdin.as_ref().filter(|fd| terminal.is_some() && is_terminal(fd));
        let raw =
            typed_on.map(|fd| copy(fd).and_then(|fd| RawMode::enter(fd).map_err(SuperviseError::io(failed))));
        let shown_on = [&client.stdout, &client.stdin].into_iter().flatten().find(|fd| is_terminal(fd));
        let client_terminal = shown_on.filter(|_| terminal.is_some()).map(copy).transpose()?;
        let keys = options.detach_keys.filter(|_| typed_on.is_some()).unwrap_or_default();
        let raw = raw.transpose()?;
        let new = |stream, source, client| Output {
            stream,
            source,
            client,
            waiting: Queue::default(),
            paused_until: None,
        };
        let outputs = vec![
            new(OutputStream::Stdout, stdout, client.stdout),
            new(OutputStream::Stderr, streams.stderr, client.stderr),
        ];
        let signals = options.forward_signals.then(Signals::take).transpose();
        let pump = Self {
            outputs,
            input,
            client_input: client.stdin,
            typed: Queue::default(),
            detach: KeyMatcher::new(keys),
            terminal,
            client_terminal,
            sinks: options.sinks,
            signals: signals.map_err(SuperviseError::io("take over signals"))?,
            rest: options.rest,
            _raw: raw,
            ended: None,
        };
        pump.follow_size();
        Ok(pump)
    }

    pub(super) fn run(mut self, running: &mut Running) -> Result<Outcome, SuperviseError> {
        loop {
            self.close_finished()?;
            if let Some(status) = self.finished() {
                return Ok(Outcome::Exited(status));
            }
            for (watch, ready) in self.wait(running)? {
                match watch {
                    Watch::Process => {
                        if let Some(status) = running.try_wait()? {
                            self.ended = Some((status, Instant::now()));
                        }
                    }
                    Watch::Signal => self.signal(running),
                    Watch::Source(index) => self.read_output(index)?,
                    Watch::Client(index) => self.write_client(index, ready)?,
                    Watch::Typed => {
                        if self.read_typed() {
                            return Ok(Outcome::Detached);
                        }
                    }
                    Watch::Input => self.write_input(ready),
                }
            }
        }
    }

    /// Sleeps until something can be done.
    fn wait(&self, running: &Running) -> Result<Vec<(Watch, PollFlags)>, SuperviseError> {
        let (watches, mut fds, timeout) = self.watches(running);
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let ready = match timeout {
            None if self.rest => match poll(&mut fds, Some(&REST_AFTER)) {
                Ok(0) => {
                    memory::release();
                    poll(&mut fds, None)
                }
                ready => ready,
            },
            timeout => poll(&mut fds, timeout.as_ref()),
        };
        match ready {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(SuperviseError::io("watch the container's streams")(errno)),
        }
        let ready = watches.into_iter().zip(&fds).map(|(watch, fd)| (watch, fd.revents()));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn watches<'s>(&'s self, running: &'s Running) -> (Vec<Watch>, Vec<PollFd<'s>>, Option<Duration>) {
        let now = Instant::now();
        let mut timeout = self.ended.map(|(_, since)| (since + DRAIN).saturating_duration_since(now));
        let mut list = Vec::with_capacity(8);
        if self.ended.is_none() {
            list.push((Watch::Process, running.pidfd(), PollFlags::IN));
        }
        if let Some(signals) = &self.signals {
            list.push((Watch::Signal, signals.fd(), PollFlags::IN));
        }
        for (index, output) in self.outputs.iter().enumerate() {
            match (&output.source, output.paused_until) {
                (_, Some(until)) if until > now => {
                    let pause = until - now;
                    timeout = Some(timeout.map_or(pause, |timeout| timeout.min(pause)));
                }
                (Some(source), _) if output.waiting.len() < PIECE => {
                    list.push((Watch::Source(index), source.as_fd(), PollFlags::IN));
                }
                _ => {}
            }
            if let Some(client) = &output.client
                && !output.waiting.is_empty()
            {
                list.push((Watch::Client(index), client.as_fd(), PollFlags::OUT));
                if self.ended.is_some() {
                    // A slow client is waited for, however long it takes.
                    timeout = None;
                }
            }
        }
        if let (Some(client), true) = (&self.client_input, self.typed.is_empty()) {
            list.push((Watch::Typed, client.as_fd(), PollFlags::IN));
        }
        if let (Some(input), false) = (&self.input, self.typed.is_empty()) {
            list.push((Watch::Input, input.as_fd(), PollFlags::OUT));
        }
        let fds = list.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        (list.into_iter().map(|(watch, ..)| watch).collect(), fds, timeout)
    }

    /// The status, once nothing is left to read or to pass on.
    fn finished(&self) -> Option<ExitStatus> {
        let (status, _) = self.ended?;
        let done = |output: &Output| output.source.is_none() && output.waiting.is_empty();
        self.outputs.iter().all(done).then_some(status)
    }

    /// Gives up streams that others still hold open after the process has ended, and input nobody reads.
    fn close_finished(&mut self) -> Result<(), SuperviseError> {
        let Some((_, since)) = self.ended else { return Ok(()) };
        self.client_input = None;
        self.typed = Queue::default();
        if since.elapsed() < DRAIN {
            return Ok(());
        }
        for index in 0..self.outputs.len() {
            if self.outputs[index].waiting.is_empty() && self.outputs[index].source.is_some() {
                self.end_output(index)?;
            }
        }
        Ok(())
    }

    fn end_output(&mut self, index: usize) -> Result<(), SuperviseError> {
        let output = &mut self.outputs[index];
        output.source = None;
        for sink in &mut self.sinks {
            sink.end(output.stream).map_err(SuperviseError::io("write the log"))?;
        }
        Ok(())
    }

    fn read_output(&mut self, index: usize) -> Result<(), SuperviseError> {
        let mut buffer = [0u8; PIECE];
        let output = &mut self.outputs[index];
        let Some(source) = &output.source else { return Ok(()) };
        let length = match rustix::io::read(source, &mut buffer) {
            Ok(0) => return self.end_output(index),
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(()),
            // No process has the terminal open. Before the end of the first process one may open it again.
            Err(Errno::IO) if self.ended.is_none() => {
                output.paused_until = Some(Instant::now() + HANGUP_PAUSE);
                return Ok(());
            }
            Err(Errno::IO) => return self.end_output(index),
            Err(errno) => return Err(SuperviseError::io("read the container's output")(errno)),
        };
        let bytes = &buffer[..length];
        if output.client.is_some() {
            output.waiting.push(bytes);
        }
        for sink in &mut self.sinks {
            sink.output(output.stream, bytes).map_err(SuperviseError::io("write the log"))?;
        }
        if let Some((_, since)) = &mut self.ended {
            *since = Instant::now();
        }
        Ok(())
    }

    fn write_client(&mut self, index: usize, ready: PollFlags) -> Result<(), SuperviseError> {
        let output = &mut self.outputs[index];
        let Some(client) = &output.client else { return Ok(()) };
        let mut gone = !ready.contains(PollFlags::OUT);
        if !gone {
            let bytes = output.waiting.front(writable_at_once(client));
            match rustix::io::write(client, bytes) {
                Ok(length) => output.waiting.consume(length),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => gone = true,
            }
        }
        if !gone {
            return Ok(());
        }
        output.client = None;
        output.waiting = Queue::default();
        if self.terminal.is_some() {
            return Ok(());
        }
        // Nobody reads any more. The program learns it as it would without a container in between, so that
        // `run IMAGE yes | head` ends; one that does not care goes on.
        self.end_output(index)
    }

    /// Returns whether the detach keys were typed.
    fn read_typed(&mut self) -> bool {
        let mut buffer = [0u8; 4096];
        let Some(client) = &self.client_input else { return false };
        match rustix::io::read(client, &mut buffer) {
            Ok(0) => self.end_input(),
            Ok(length) => {
                let (bytes, detached) = self.detach.filter(&buffer[..length]);
                self.typed.push(&bytes);
                if self.input.is_none() {
                    self.typed = Queue::default();
                }
                return detached;
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.end_input(),
        }
        false
    }

    /// The client has no more to say: a pipe is closed, so that the container reads the end too; a terminal stays.
    fn end_input(&mut self) {
        self.client_input = None;
        if self.terminal.is_none() && self.typed.is_empty() {
            self.input = None;
        }
    }

    fn write_input(&mut self, ready: PollFlags) {
        let Some(input) = &self.input else { return };
        let mut gone = !ready.contains(PollFlags::OUT);
        if !gone {
            match rustix::io::write(input, self.typed.front(usize::MAX)) {
                Ok(length) => self.typed.consume(length),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => gone = true,
            }
        }
        if gone {
            self.input = None;
            self.client_input = None;
            self.typed = Queue::default();
        } else if self.client_input.is_none() && self.typed.is_empty() && self.terminal.is_none() {
            self.input = None;
        }
    }

    fn signal(&mut self, running: &Running) {
        let Some(signals) = &self.signals else { return };
        while let Some(received) = signals.next() {
            match received {
                Received::Resize => self.follow_size(),
                // It may just have ended; then the status says so.
                Received::Forward(signal) => drop(running.kill(signal)),
            }
        }
    }

    fn follow_size(&self) {
        if let (Some(terminal), Some(client)) = (&self.terminal, &self.client_terminal)
            && let Ok(size) = rustix::termios::tcgetwinsize(client)
        {
            let _ = rustix::termios::tcsetwinsize(terminal, size);
        }
    }
}

/// How much poll's "writable" promises without blocking: a pipe takes `PIPE_BUF` bytes, a file anything.
fn writable_at_once(fd: &OwnedFd) -> usize {
    let regular = fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if regular { PIECE } else { 4096 }
}
