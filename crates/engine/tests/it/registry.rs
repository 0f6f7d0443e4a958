//! Registries for tests: Debian's own (the testbed's), a proxy that cuts connections, and one that lies.
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) use strata_testbed::Registry;

/// A proxy that breaks connections after random numbers of bytes.
pub(crate) struct Cutter {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    to: String,
    /// Bytes after which a connection breaks, at least and at most.
    budget: (u64, u64),
    /// Cuts that are still to be made.
    left: AtomicU64,
    /// Which way is counted and cut: towards the client, or towards the registry.
    downwards: bool,
    cuts: AtomicU64,
    bytes: AtomicU64,
    random: AtomicU64,
}

impl Cutter {
    pub(crate) fn new(to: &str, downwards: bool, budget: (u64, u64), cuts: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            to: to.to_owned(),
            budget,
            left: AtomicU64::new(cuts),
            downwards,
            cuts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            random: AtomicU64::new(0x9e37_79b9_7f4a_7c15),
        });
        let given = Arc::clone(&shared);
        // Ends with the process: a thread in `accept` cannot be told.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&given);
                std::thread::spawn(move || shared.connection(stream));
            }
        });
        Self { port, shared }
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Cuts made so far, and bytes that went through the cut way.
    pub(crate) fn counted(&self) -> (u64, u64) {
        (self.shared.cuts.load(Ordering::SeqCst), self.shared.bytes.load(Ordering::SeqCst))
    }
}

impl Shared {
    fn connection(&self, client: TcpStream) {
        let Ok(server) = TcpStream::connect(&self.to) else { return };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| self.pass(&client, &server, !self.downwards));
            self.pass(&server, &client, self.downwards);
        });
    }

    fn next_random(&self) -> u64 {
        let mut x = self.random.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.store(x, Ordering::Relaxed);
        x
    }

    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, counted: bool) {
        let (least, most) = self.budget;
        let mut budget = counted.then(|| least + self.next_random() % (most - least + 1));
        let mut buffer = [0; 2048];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let allowed = budget.map_or(count, |budget| count.min(budget as usize));
            if to.write_all(&buffer[..allowed]).is_err() {
                break;
            }
            let Some(rest) = &mut budget else { continue };
            self.bytes.fetch_add(allowed as u64, Ordering::SeqCst);
            *rest -= allowed as u64;
            if *rest == 0 {
                let left =
                    self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if left.is_ok() {
                    self.cuts.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                if to.write_all(&buffer[allowed..count]).is_err() {
                    break;
                }
                self.bytes.fetch_add((count - allowed) as u64, Ordering::SeqCst);
                *rest = u64::MAX;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// What a lying registry answers.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes over and over, without a declared length.
    Endless(Vec<u8>),
    /// These bytes, with a length that is larger.
    Short(Vec<u8>, u64),
}

/// Answers whatever it was told to, by path. Everything else is 404.
pub(crate) struct Liar {
    port: u16,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    stop: Arc<AtomicBool>,
}

impl Liar {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Arc<Mutex<HashMap<String, Answer>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (given, stopped) = (Arc::clone(&answers), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let answers = Arc::clone(&given);
                std::thread::spawn(move || drop(answer(&stream, &answers)));
            }
        });
        Self { port, answers, stop }
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn says(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(mut stream: &TcpStream, answers: &Mutex<HashMap<String, Answer>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let found = answers.lock().unwrap().get(path).cloned();
    let head = |status: &str, length: Option<u64>| {
        let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
        format!("HTTP/1.1 {status}\r\nConnection: close\r\n{length}\r\n")
    };
    match found {
        _ if path == "/v2/" => write!(stream, "{}", head("200 OK", Some(0))),
        None => write!(stream, "{}", head("404 Not Found", Some(0))),
        Some(Answer::Bytes(bytes)) => {
            write!(stream, "{}", head("200 OK", Some(bytes.len() as u64)))?;
            if method == "HEAD" { Ok(()) } else { stream.write_all(&bytes) }
        }
        Some(Answer::Short(bytes, length)) => {
            write!(stream, "{}", head("200 OK", Some(length)))?;
            stream.write_all(&bytes)
        }
        Some(Answer::Endless(bytes)) => {
            write!(stream, "{}", head("200 OK", None))?;
            loop {
                stream.write_all(&bytes)?;
            }
        }
    }
}
