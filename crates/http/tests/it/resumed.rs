//! A long body that goes on where its connection broke.
use std::cell::RefCell;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use strata_http::{Client, Error, Misfit, Options, Origin, Request, Response, Resumed};
use strata_testbed::Server;

const SIZE: usize = 3 << 20;

fn data() -> Vec<u8> {
    (0..SIZE).map(|at| (at >> 8) as u8 ^ at as u8).collect()
}

/// What a server does with the bytes from some position on.
#[derive(Clone, Copy)]
enum Habit {
    /// Sends so many of those that were asked for, at most.
    Cut(usize),
    /// Knows no ranges: sends everything, and breaks off after so many bytes.
    Whole(usize),
    /// Says that it has nothing from there on, but has everything.
    Denies,
    /// Says that it sends other bytes than those that were asked for.
    Off,
    /// Has another length.
    Longer,
    /// Sends nothing.
    Dead,
}

/// A server with one habit after another, and the last one for ever.
fn server(habits: &'static [Habit]) -> Server {
    let (data, count) = (Arc::new(data()), std::sync::atomic::AtomicUsize::new(0));
    Server::start(move |request, out| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let from = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let from: usize = from.map_or(0, |from| from.parse().unwrap());
        let (first, end, size) = match habits[number.min(habits.len() - 1)] {
            Habit::Dead => return,
            Habit::Denies if from > 0 => {
                let _ = out.write_all(b"HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                return;
            }
            Habit::Denies => (0, SIZE, SIZE),
            Habit::Cut(most) => (from, (from + most).min(SIZE), SIZE),
            Habit::Whole(most) => (0, most.min(SIZE), SIZE),
            Habit::Off => (from + 1, SIZE, SIZE),
            Habit::Longer => (from, SIZE, SIZE + 1),
        };
        let (last, left) = (size - 1, size - first);
        let head = match first {
            0 => "HTTP/1.1 200 OK\r\n".to_owned(),
            _ => format!("HTTP/1.1 206 Part\r\nContent-Range: bytes {first}-{last}/{size}\r\n"),
        };
        let _ =
            out.write_all(format!("{head}Content-Length: {left}\r\nConnection: close\r\n\r\n").as_bytes());
        let _ = out.write_all(&data[first..end]);
    })
}

/// One place after another.
struct Places {
    client: Client,
    urls: Vec<String>,
    waited: RefCell<u32>,
}

#[derive(Debug)]
struct Said(String);

impl From<Said> for io::Error {
    fn from(said: Said) -> Self {
        Self::other(said.0)
    }
}

impl Origin for Places {
    type Error = Said;

    fn connect(&mut self, position: u64) -> Result<Option<Response>, Said> {
        let request = Request::get(&self.urls[0]);
        let request = if position > 0 { request.range(position, None) } else { request };
        let response = self.client.send(request).map_err(|error| Said(error.to_string()))?;
        Ok(Some(response).filter(|response| response.status() != 416))
    }

    fn pause(&self, failures: u32, _: Option<&Error>) -> Option<Duration> {
        (failures < 3).then_some(Duration::ZERO)
    }

    fn wait(&self, _: Duration) {
        *self.waited.borrow_mut() += 1;
    }

    fn broken(&self, _: Error, tries: u32) -> Said {
        Said(format!("broken after {tries}"))
    }

    fn misfit(&self, misfit: Misfit) -> Said {
        Said(format!("{misfit:?}"))
    }

    fn turn_elsewhere(&mut self, error: Said) -> Result<(), Said> {
        if self.urls.len() == 1 {
            return Err(error);
        }
        self.urls.remove(0);
        Ok(())
    }
}

/// What comes from `offset` on, and how often there was a pause.
fn read(servers: &[&Server], offset: usize) -> (Result<Vec<u8>, String>, u32) {
    let urls = servers.iter().map(|server| server.url("/")).collect();
    let places =
        Places { client: Client::new(Options::default()).unwrap(), urls, waited: RefCell::default() };
    let mut resumed = match Resumed::open(places, SIZE as u64, offset as u64) {
        Ok(resumed) => resumed,
        Err(error) => return (Err(error.0), 0),
    };
    let mut all = Vec::new();
    let outcome = resumed.read_to_end(&mut all).map_err(|error| error.to_string());
    let waited = *resumed.origin().waited.borrow();
    (outcome.map(|_| all), waited)
}

#[test]
fn it_goes_on_where_it_broke() {
    let often = server(&[Habit::Cut(700_000)]);
    let (found, waited) = read(&[&often], 5);
    assert!(found.unwrap() == data()[5..]);
    assert!(often.seen().len() > 4 && waited > 3, "{waited}");
    // After a megabyte nobody waits.
    let (found, waited) = read(&[&server(&[Habit::Cut((1 << 20) + 1)])], 0);
    assert!(found.unwrap() == data() && waited == 0, "{waited}");
    // Nothing is asked for what nobody needs.
    let silent = server(&[Habit::Dead]);
    assert!(read(&[&silent], SIZE).0.unwrap().is_empty() && silent.seen().is_empty());
}

#[test]
fn who_knows_no_ranges_is_read_over() {
    for habits in [&[Habit::Whole(2 << 20), Habit::Whole(SIZE)][..], &[Habit::Cut(9), Habit::Denies]] {
        let (found, _) = read(&[&server(habits)], 0);
        assert!(found.unwrap() == data());
    }
}

#[test]
fn what_contradicts_is_refused() {
    let off = read(&[&server(&[Habit::Cut(10), Habit::Off])], 0).0.unwrap_err();
    assert_eq!(off, "Answer(\"asked for byte 10, got those from 11 on\")");
    for offset in [0, 10] {
        let longer = read(&[&server(&[Habit::Longer])], offset).0.unwrap_err();
        assert_eq!(longer, format!("Size(\"{}\")", SIZE + 1));
    }
}

#[test]
fn when_one_place_is_gone_another_goes_on() {
    static MIRROR: [Habit; 2] = [Habit::Cut(1000), Habit::Dead];
    let registry = server(&[Habit::Cut(SIZE)]);
    assert!(read(&[&server(&MIRROR), &registry], 0).0.unwrap() == data());
    assert_eq!(registry.seen()[0].header("range"), Some("bytes=1000-"), "only what was missing");
    let alone = read(&[&server(&[Habit::Cut(1000), Habit::Cut(0)])], 0).0.unwrap_err();
    assert_eq!(alone, "broken after 3");
}
