//! Object stores on a free port: Debian's OpenStack Swift with its S3 layer, which others run in production, and moto, which
//! speaks for Amazon's services.
use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Child, Command, Stdio};

/// Which key an [`ObjectStore`] knows, and its secret.
pub const OBJECT_STORE_KEY: (&str, &str) = ("test:tester", "testing");

/// Debian's own: its packages are not those of another Python on the way.
const PYTHON: &str = "/usr/bin/python3";

/// moto's own: `scripts/setup` puts it there.
const MOTO: &str = "/opt/strata-testbed/moto/bin/python";

/// A running object store in the region `us-east-1`, with buckets in the path of `127.0.0.1` and before `localhost`; it ends, and what it holds goes, when this is
/// dropped, or with the test's process.
pub struct ObjectStore {
    child: Child,
    port: u16,
}

impl ObjectStore {
    /// Swift, with these buckets. `None`, with a word, where it is not installed.
    pub fn start(buckets: &[&str]) -> Option<Self> {
        let layer = "/usr/lib/python3/dist-packages/swift/common/middleware/s3api";
        if !std::path::Path::new(layer).exists() {
            eprintln!("SKIP: python3-swift is not installed");
            return None;
        }
        Some(Self::run(PYTHON, include_str!("object_store.py"), buckets))
    }

    /// Amazon's, as moto has it, with these buckets; the same server gives out tokens (STS: the web identity's token is
    /// `of-this-cluster`) and speaks of itself as an instance (IMDSv2). Signatures are checked by Amazon's own library.
    /// `None`, with a word, where it is not installed.
    pub fn amazon(buckets: &[&str]) -> Option<Self> {
        if !std::path::Path::new(MOTO).exists() {
            eprintln!("SKIP: moto is not installed (scripts/setup)");
            return None;
        }
        Some(Self::run(MOTO, include_str!("amazon.py"), buckets))
    }

    fn run(python: &str, script: &str, buckets: &[&str]) -> Self {
        let mut log = tempfile::tempfile().unwrap();
        let mut child = Command::new(python)
            .args(["-c", script, OBJECT_STORE_KEY.0, OBJECT_STORE_KEY.1])
            .args(buckets)
            // It ends when this end of the pipe is closed: also when the test is killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(port) = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok()) else {
            let mut said = String::new();
            log.rewind().unwrap();
            log.read_to_string(&mut said).unwrap();
            panic!("the object store did not start:\n{said}");
        };
        Self { child, port }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
