//! What the servers of these tests say: whole answers on connections that stay.
use std::io::Write;

/// For [`Server::keeping`](strata_testbed::Server::keeping): writes it, and the connection stays.
pub(crate) fn answer(out: &mut dyn Write, status: &str, headers: &[(&str, &str)], body: &[u8]) -> bool {
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let _ = out.write_all(format!("{head}\r\n").as_bytes());
    let _ = out.write_all(body);
    true
}
