//! A server that answers as a test wants, byte by byte.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In their order.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The values of a name in the query, or in a form if that is the body.
    pub fn values(&self, name: &str) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let form = String::from_utf8_lossy(&self.body);
        let pairs = query.split('&').chain(form.split('&'));
        let found = pairs.filter_map(|pair| pair.split_once('=')).filter(|(have, _)| *have == name);
        found.map(|(_, value)| decoded(value)).collect()
    }
}

fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(*other),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads a request without its body; `None` at the end of the connection.
pub(crate) fn read_head(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let mut request =
        Request { method: words.next()?.to_owned(), target: words.next()?.to_owned(), ..Request::default() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => request.headers.push((name.to_owned(), value.trim().to_owned())),
            None => return Some(request),
        }
    }
}

/// Answers a request: writes all of the answer, and says whether the connection stays.
type Handler = Arc<dyn Fn(&Request, &mut dyn Write) -> bool + Send + Sync>;

/// What a connection is read from and written to: a socket, or TLS around one.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Runs until the test's process ends.
pub struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// On a port that is free. Each connection is closed after one answer.
    pub fn start(handler: impl Fn(&Request, &mut dyn Write) + Send + Sync + 'static) -> Self {
        Self::keeping(move |request, out| {
            handler(request, out);
            false
        })
    }

    /// The handler says after each answer whether the connection stays.
    pub fn keeping(handler: impl Fn(&Request, &mut dyn Write) -> bool + Send + Sync + 'static) -> Self {
        Self::wrapped(handler, |stream| Some(Box::new(stream)))
    }

    /// As [`Server::keeping`], with something, such as TLS, around each connection.
    pub fn wrapped(
        handler: impl Fn(&Request, &mut dyn Write) -> bool + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (handler, wrap, log): (Handler, _, _) = (Arc::new(handler), Arc::new(wrap), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (handler, wrap, log) = (Arc::clone(&handler), Arc::clone(&wrap), Arc::clone(&log));
                std::thread::spawn(move || {
                    if let Some(stream) = wrap(stream) {
                        converse(stream, &handler, &log);
                    }
                });
            }
        });
        Self { port, seen }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:port` and a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host())
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn converse(stream: Box<dyn Stream>, handler: &Handler, log: &Mutex<Vec<Request>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream) {
        log.lock().unwrap().push(request.clone());
        if !handler(&request, stream.get_mut()) || stream.get_mut().flush().is_err() {
            return;
        }
    }
}

/// With its body; `None` when it ends before that.
fn read_request(stream: &mut impl BufRead) -> Option<Request> {
    let mut request = read_head(stream)?;
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let chunked =
        request.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    if chunked {
        read_chunks(stream, &mut request.body)?;
    } else {
        stream.by_ref().take(length).read_to_end(&mut request.body).ok()?;
    }
    Some(request)
}

/// `None` when it ends before its last chunk.
fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let length = u64::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        // Each chunk, the last too, is followed by an empty line.
        let before = body.len();
        stream.by_ref().take(length).read_to_end(body).ok()?;
        stream.read_line(&mut String::new()).ok()?;
        if (body.len() - before) as u64 != length {
            return None;
        }
        if length == 0 {
            return Some(());
        }
    }
}

/// A whole answer with its length.
pub fn answer(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut text = format!("HTTP/1.1 {status} As told\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
