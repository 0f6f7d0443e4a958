//! A network that fails on purpose: a proxy before a server, which does to each request what the test says.
use crate::http::{Request, read_head};
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// It gets there late.
    Delay(Duration),
    /// The connection breaks after so many bytes of the answer's body.
    CutAnswer(u64),
    /// The connection breaks after so many bytes of the request's body.
    CutRequest(u64),
    /// After so many bytes of the answer's body nothing more comes, and the connection stays.
    HoldAnswer(u64),
    /// After so many bytes of the request's body nothing more is taken, and the connection stays.
    HoldRequest(u64),
    /// It never gets there; these bytes are the answer.
    Say(Vec<u8>),
    /// It never gets there; these bytes are the answer, and then zeros as long as somebody reads.
    Endless(Vec<u8>),
}

/// A request that went by.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Without its body.
    pub request: Request,
    /// Bytes of the request's body that got through.
    pub sent: u64,
    /// Bytes of the answer's body that got through.
    pub received: u64,
}

type Judge = Arc<dyn Fn(&Request, usize) -> Fault + Send + Sync>;

/// Runs until the test's process ends.
pub struct Wire {
    port: u16,
    log: Arc<Mutex<Vec<Exchange>>>,
}

impl Wire {
    /// Before the server at `host:port`. `judge` gets each request and how many came before it.
    pub fn to(upstream: &str, judge: impl Fn(&Request, usize) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (judge, shared, upstream): (Judge, _, _) =
            (Arc::new(judge), Arc::clone(&log), upstream.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (judge, log, upstream) = (Arc::clone(&judge), Arc::clone(&shared), upstream.clone());
                std::thread::spawn(move || carry(client, &upstream, &judge, &log));
            }
        });
        Self { port, log }
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Exchange> {
        self.log.lock().unwrap().clone()
    }
}

/// One request; its connection is not used again.
fn carry(client: TcpStream, upstream: &str, judge: &Judge, log: &Mutex<Vec<Exchange>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let Some(request) = read_head(&mut reader) else { return };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(Exchange { request: request.clone(), sent: 0, received: 0 });
        log.len() - 1
    };
    let fault = judge(&request, number);
    let mut client = client;
    match fault {
        Fault::Say(ref bytes) => drop(client.write_all(bytes)),
        Fault::Endless(ref bytes) => {
            let zeros = [0; 1 << 16];
            let mut good = client.write_all(bytes).is_ok();
            while good {
                good = client.write_all(&zeros).is_ok();
            }
        }
        _ => pass_on(client, reader, &request, upstream, &fault, |sent, received| {
            let exchange = &mut log.lock().unwrap()[number];
            exchange.sent += sent;
            exchange.received += received;
        }),
    }
}

fn pass_on(
    mut client: TcpStream,
    mut body: BufReader<TcpStream>,
    request: &Request,
    upstream: &str,
    fault: &Fault,
    count: impl Fn(u64, u64) + Sync,
) {
    if let Fault::Delay(time) = fault {
        std::thread::sleep(*time);
    }
    let Ok(mut server) = TcpStream::connect(upstream) else { return };
    let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", request.method, request.target);
    for (name, value) in request.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connection")) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    if server.write_all(head.as_bytes()).is_err() {
        return;
    }
    let most = |wanted: bool, bytes: u64| if wanted { bytes } else { u64::MAX };
    let up = match fault {
        Fault::CutRequest(bytes) | Fault::HoldRequest(bytes) => most(true, *bytes),
        _ => most(false, 0),
    };
    let down = match fault {
        Fault::CutAnswer(bytes) | Fault::HoldAnswer(bytes) => most(true, *bytes),
        _ => most(false, 0),
    };
    let holds = matches!(fault, Fault::HoldAnswer(_) | Fault::HoldRequest(_));
    let hang_up = [client.try_clone().unwrap(), server.try_clone().unwrap()];
    std::thread::scope(|scope| {
        let mut to_server = server.try_clone().unwrap();
        let (count, hang_up) = (&count, &hang_up);
        scope.spawn(move || {
            if copy(&mut body, &mut to_server, up, |bytes| count(bytes, 0)) {
                if holds {
                    wait_for_end(&hang_up[0]);
                }
                shut(hang_up);
            }
        });
        let mut answer = BufReader::new(&mut server);
        let mut line = Vec::new();
        // The head goes through whole; what is counted and cut is the body.
        while !line.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if !matches!(answer.read(&mut byte), Ok(1)) {
                break;
            }
            line.push(byte[0]);
        }
        if client.write_all(&line).is_ok() {
            let full = copy(&mut answer, &mut client, down, |bytes| count(0, bytes));
            if full && holds {
                wait_for_end(&hang_up[0]);
            }
        }
        shut(hang_up);
    });
}

/// Until the client has gone. What it sends meanwhile stays where it is.
fn wait_for_end(client: &TcpStream) {
    let _ = client.set_read_timeout(Some(Duration::from_millis(20)));
    while let Ok(1..) | Err(_) = client.peek(&mut [0]) {
        // A reset shows when something is written, or as an error that is no time-out.
        if client.take_error().ok().flatten().is_some() || is_gone(client) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_gone(client: &TcpStream) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    client.peek(&mut [0]).is_err_and(|error| !matches!(error.kind(), WouldBlock | TimedOut | Interrupted))
}

fn shut(ends: &[TcpStream]) {
    for end in ends {
        let _ = end.shutdown(Shutdown::Both);
    }
}

/// Whether it ended because `most` bytes had gone through.
fn copy(from: &mut impl Read, to: &mut impl Write, most: u64, count: impl Fn(u64)) -> bool {
    let mut left = most;
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let Ok(read @ 1..) = from.read(&mut buffer[..limit]) else { return false };
        if to.write_all(&buffer[..read]).is_err() {
            return false;
        }
        count(read as u64);
        left -= read as u64;
    }
    true
}
