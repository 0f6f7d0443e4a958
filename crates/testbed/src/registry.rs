//! Debian's `docker-registry` on a free port.
use crate::Authority;
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The name and password that [`Guard::Password`] and the token server let in.
pub const USER: (&str, &str) = ("tester", "pass:word");

/// [`USER`] by bcrypt, the only hash that docker-registry reads; cost 4, for the sake of the tests' time.
const HTPASSWD: &str = "tester:$2b$04$abcdefghijklmnopqrstuu7govE5p0NSk1WUEk5C2Qm3hpPC6VJ66\n";

/// Who may in.
#[derive(Clone, Debug, Default)]
pub enum Guard {
    /// Everybody.
    #[default]
    Nobody,
    /// [`USER`].
    Password,
    /// Whoever has a token of this server.
    Token {
        /// Its URL.
        realm: String,
        /// The certificate by which its tokens are checked.
        certificate: PathBuf,
    },
}

/// How a registry is set up; by default plain, open, and without deletion.
#[derive(Clone, Default)]
pub struct Setup<'a> {
    /// Who may in.
    pub guard: Guard,
    /// With TLS by this authority's certificate.
    pub authority: Option<&'a Authority>,
    /// Clients must show a certificate of the same authority.
    pub clients: bool,
    /// Manifests and blobs can be deleted.
    pub delete: bool,
    /// It is a mirror of the registry at this URL.
    pub mirrors: Option<String>,
}

/// A running registry; it ends, and what it holds goes, when this is dropped.
pub struct Registry {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Registry {
    /// Plain and open to everybody. `None`, with a word, where it is not installed.
    pub fn start() -> Option<Self> {
        Self::with(&Setup::default())
    }

    /// As told.
    pub fn with(setup: &Setup<'_>) -> Option<Self> {
        let (mut directory, mut said) = (tempfile::tempdir().unwrap(), String::new());
        // A port that is free now may be taken before the registry listens.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = directory.path().join("config.yml");
            // JSON is YAML.
            fs_err::write(&config, configuration(setup, port, &directory).to_string()).unwrap();
            let log = fs_err::File::create(directory.path().join("log")).unwrap().into_parts().0;
            let spawned = Command::new("docker-registry")
                .args(["serve".as_ref(), config.as_os_str()])
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn();
            let Ok(child) = spawned else {
                eprintln!("SKIP: docker-registry is not installed");
                return None;
            };
            let mut registry = Self { child, port, directory };
            if registry.listens() {
                return Some(registry);
            }
            said = registry.log();
            directory = tempfile::tempdir().unwrap();
        }
        panic!("docker-registry did not start:\n{said}");
    }

    fn listens(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// As in a reference: `127.0.0.1:port`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it has said, including a line for each request.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The file that holds a blob, by its 64 digits; whether or not it is there.
    pub fn blob_file(&self, hex: &str) -> PathBuf {
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(setup: &Setup<'_>, port: u16, directory: &TempDir) -> Value {
    let mut config = json!({
        "version": "0.1",
        "log": { "level": "warn" },
        "storage": {
            "filesystem": { "rootdirectory": directory.path().join("data") },
            "delete": { "enabled": setup.delete },
        },
        "http": { "addr": format!("127.0.0.1:{port}"), "secret": "of a test" },
    });
    match &setup.guard {
        Guard::Nobody => {}
        Guard::Password => {
            let file = directory.path().join("htpasswd");
            fs_err::write(&file, HTPASSWD).unwrap();
            config["auth"] = json!({ "htpasswd": { "realm": "a test", "path": file } });
        }
        Guard::Token { realm, certificate } => {
            config["auth"] = json!({ "token": {
                "realm": realm, "service": "a test", "issuer": "a test", "rootcertbundle": certificate,
            }});
        }
    }
    if let Some(authority) = setup.authority {
        config["http"]["tls"] = json!({
            "certificate": authority.file("server.crt"), "key": authority.file("server.key"),
        });
        if setup.clients {
            config["http"]["tls"]["clientcas"] = json!([authority.file("ca.crt")]);
        }
    }
    if let Some(url) = &setup.mirrors {
        config["proxy"] = json!({ "remoteurl": url });
    }
    config
}
