//! A registry on a free port of the loopback interface, and a client that sends exactly what it is told to.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use strata_oci::{Digest, media_type};
use strata_serve::{Handle, Options, Server};

/// A server in a thread, its directory below a temporary one.
pub(crate) struct World {
    directory: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let directory =
            tempfile::Builder::new().prefix("strata-serve-").tempdir_in("/var/tmp").expect("a directory");
        Self::start(directory, change)
    }

    fn start(directory: tempfile::TempDir, change: impl FnOnce(&mut Options)) -> Self {
        let mut options =
            Options::new(directory.path().join("registry"), "127.0.0.1:0".parse().expect("an address"));
        change(&mut options);
        let server = Server::bind(options).expect("a server");
        let (address, handle) = (server.address(), server.handle());
        let thread = Some(std::thread::spawn(move || server.run()));
        Self { directory, address, handle, thread }
    }

    /// Stops the server and starts another one on the same directory.
    pub(crate) fn again(mut self) -> Self {
        self.stop();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a directory"));
        Self::start(directory, |_| {})
    }

    pub(crate) fn stop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic");
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("registry")
    }

    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        ask(self.address, method, target, headers, body)
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[], b"")
    }

    /// Sends bytes as they are and reads what comes until the server closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Reply {
        exchange(self.address, bytes)
    }

    /// Pushes a blob with POST and PUT.
    pub(crate) fn push(&self, name: &str, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        let location = self.begin(name);
        let reply = self.ask("PUT", &format!("{location}?digest={digest}"), &[], content);
        assert_eq!(reply.status, 201, "{reply:?}");
        digest
    }

    /// The location of a new upload.
    pub(crate) fn begin(&self, name: &str) -> String {
        let reply = self.ask("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"");
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.header("location").to_owned()
    }

    /// Pushes a manifest of one config and one layer; gives back its bytes.
    pub(crate) fn image(&self, name: &str, reference: &str, content: &str) -> Vec<u8> {
        let manifest = self.manifest(name, content);
        let bytes = manifest.to_string().into_bytes();
        let reply = self.put(name, reference, media_type::OCI_MANIFEST, &bytes);
        assert_eq!(reply.status, 201, "{reply:?}");
        bytes
    }

    /// A manifest whose blobs are pushed.
    pub(crate) fn manifest(&self, name: &str, content: &str) -> Value {
        let config = json!({ "content": content }).to_string();
        let descriptor = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": self.push(name, bytes), "size": bytes.len() });
        json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": descriptor(media_type::OCI_CONFIG, config.as_bytes()),
            "layers": [descriptor(media_type::OCI_LAYER, content.as_bytes())],
        })
    }

    pub(crate) fn put(&self, name: &str, reference: &str, kind: &str, bytes: &[u8]) -> Reply {
        self.ask("PUT", &format!("/v2/{name}/manifests/{reference}"), &[("Content-Type", kind)], bytes)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

impl Reply {
    /// A header that has to be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the status and the specification's word for the error.
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.json();
        assert_eq!(body["errors"][0]["code"], code, "{body}");
        assert!(body["errors"][0]["message"].as_str().is_some_and(|text| text.len() > 10), "{body}");
    }
}

pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let own_length = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !own_length && (!body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH")) {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    exchange(address, &[head.as_bytes(), body].concat())
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    parse(&answer)
}

fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|text| text.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Reply {
        status: status.expect("a status line"),
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: answer[end + 4..].to_vec(),
    }
}

/// All files below a directory with their contents' lengths.
pub(crate) fn files(root: &Path) -> Vec<(String, u64)> {
    let (mut found, mut waiting) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs_err::read_dir(directory).expect("a directory") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below").display().to_string();
                found.push((name, fs_err::metadata(&path).expect("there").len()));
            }
        }
    }
    found.sort();
    found
}

/// How many blobs the registry stores, manifests among them.
pub(crate) fn blobs(root: &Path) -> usize {
    files(&root.join("blobs")).len()
}
