//! A server that answers as a test wants, byte by byte.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What answers: writes a whole response, and says whether the connection stays.
pub(crate) type Handler = Arc<dyn Fn(&Seen, &mut dyn Write) -> bool + Send + Sync>;

/// Runs until the test ends.
pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Seen, &mut dyn Write) -> bool + Send + Sync + 'static) -> Self {
        Self::wrapped(handler, |stream| Some(Box::new(stream)))
    }

    /// With something, such as TLS, around each connection.
    pub(crate) fn wrapped(
        handler: impl Fn(&Seen, &mut dyn Write) -> bool + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (handler, wrap, log): (Handler, _, _) = (Arc::new(handler), Arc::new(wrap), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (handler, wrap, log) = (Arc::clone(&handler), Arc::clone(&wrap), Arc::clone(&log));
                std::thread::spawn(move || {
                    let Ok(stream) = stream else { return };
                    if let Some(stream) = wrap(stream) {
                        converse(stream, &handler, &log);
                    }
                });
            }
        });
        Self { port, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn converse(stream: Box<dyn Stream>, handler: &Handler, log: &Mutex<Vec<Seen>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream) {
        log.lock().unwrap().push(request.clone());
        if !handler(&request, stream.get_mut()) || stream.get_mut().flush().is_err() {
            return;
        }
    }
}

fn read_request(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|&count| count > 0)?;
    let mut words = line.split_whitespace();
    let mut request =
        Seen { method: words.next()?.to_owned(), target: words.next()?.to_owned(), ..Seen::default() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if let Some(length) = request.header("content-length") {
        request.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut request.body).ok()?;
    } else if request.header("transfer-encoding") == Some("chunked") {
        request.body = chunks(stream)?;
    }
    Some(request)
}

fn chunks(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

/// A whole response.
pub(crate) fn answer(out: &mut dyn Write, status: &str, headers: &[(&str, &str)], body: &[u8]) -> bool {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let _ = out.write_all(format!("{head}\r\n").as_bytes());
    let _ = out.write_all(body);
    true
}
