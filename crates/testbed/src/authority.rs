//! Certificates, made by the `openssl` program.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// An authority with a certificate for a server and one for a client.
///
/// Files: `ca.crt`, `server.crt`, `server.key`, `client.cert`, `client.key`.
pub struct Authority {
    directory: TempDir,
}

impl Authority {
    /// For a server on this machine. `None`, with a word, where there is no openssl.
    pub fn new() -> Option<Self> {
        Self::with_names("IP:127.0.0.1,DNS:localhost")
    }

    /// For a server that has these names, in openssl's words.
    pub fn with_names(names: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let script = "
            set -e
            new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch'
            $new -x509 -days 2 -subj '/CN=authority of a test' -keyout ca.key -out ca.crt
            for who in server client; do
                $new -subj /CN=$who -keyout $who.key -out $who.csr
                printf 'subjectAltName=%s\\nextendedKeyUsage=serverAuth,clientAuth\\n' \"$NAMES\" >$who.ext
                openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
                    -extfile $who.ext -out $who.cert
            done
            mv server.cert server.crt";
        let status = Command::new("sh")
            .args(["-c", script])
            .env("NAMES", names)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if !status.success() {
            eprintln!("SKIP: no openssl to make certificates with");
            return None;
        }
        Some(Self { directory })
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a `certs.d` directory that holds these files for one host.
    pub fn certs_d(&self, into: &Path, host: &str, files: &[&str]) {
        let directory = into.join(host);
        fs_err::create_dir_all(&directory).unwrap();
        for file in files {
            fs_err::copy(self.file(file), directory.join(file)).unwrap();
        }
    }
}
