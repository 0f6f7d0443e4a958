//! A file by HTTP: asked for conditionally, resumed when it breaks off, checked while it streams.
use super::record::{Record, key};
use super::{Fetched, Fetcher, RemoteError};
use crate::EngineError;
use fs_err::File;
use sha2::{Digest as _, Sha256};
use std::io::{Read, Write};
use std::path::Path;
use std::time::SystemTime;
use strata_http::{Body, Request, Response, Retry, redact};
use strata_oci::Digest;

/// Mode of a file that ADD downloaded.
const MODE: u32 = 0o600;

/// What an answer says of its file besides the bytes.
struct Version {
    etag: Option<String>,
    modified: Option<String>,
    time: SystemTime,
}

/// The answer to "has it changed?".
enum Answer {
    Unchanged,
    Changed(Version, Box<Body>),
}

impl Fetcher<'_> {
    /// The file at a URL, under `name` in a layer of its own.
    pub(super) fn file(
        &self,
        url: &str,
        name: &str,
        checksum: Option<&Digest>,
    ) -> Result<Fetched, EngineError> {
        let key = key(&["http", url, name]);
        let known = self.recorded(&key)?;
        if let (Some(known), Some(wanted)) = (&known, checksum)
            && known.digest.as_ref() == Some(wanted)
        {
            // The bytes that are meant are here: nobody need be asked.
            return self.again(&key, known, name, None);
        }
        let scratch = self.engine.store().layers().begin(&self.lease)?;
        let directory = scratch.path().join("file");
        fs_err::create_dir(&directory)?;
        let path = directory.join(name);
        let Some((version, digest)) = self.download(url, known.as_ref(), &path)? else {
            let known =
                known.as_ref().ok_or_else(|| EngineError::Invalid("304 without a question".into()))?;
            check(url, checksum, known.digest.as_ref())?;
            return self.again(&key, known, name, None);
        };
        check(url, checksum, Some(&digest))?;
        finish(&path, version.time)?;
        let layer = self.keep(&directory, "", false)?;
        let record = Record { layer, etag: version.etag, modified: version.modified, digest: Some(digest) };
        self.remember(&key, &record, name, None)
    }

    /// Writes what a URL gives to `path`; `None` if it is what is known already.
    fn download(
        &self,
        url: &str,
        known: Option<&Record>,
        path: &Path,
    ) -> Result<Option<(Version, Digest)>, EngineError> {
        let mut failures = 0;
        loop {
            self.check_cancelled()?;
            let outcome = self.interruptible(self.client()?, || self.ask(url, known));
            let (version, body) = match outcome {
                Ok(Answer::Unchanged) => return Ok(None),
                Ok(Answer::Changed(version, body)) => (version, *body),
                Err(Refused { error, pause }) => {
                    failures += 1;
                    self.retry(failures, pause, *error)?;
                    continue;
                }
            };
            let mut file = File::create(path)?;
            let mut hasher = Sha256::new();
            let mut writer = Writer { file: &mut file, hasher: &mut hasher, written: 0 };
            if let Err(error) = self.fill(url, &version, body, &mut writer)? {
                failures += 1;
                self.retry(failures, Retry::default().pause(failures, None), error)?;
                continue;
            }
            let digest = Digest::from_bytes(hasher.finalize().into());
            return Ok(Some((version, digest)));
        }
    }

    /// Reads a body to its end, however often it breaks off, as long as it goes on from there. The inner error: it must be
    /// asked for from the beginning.
    fn fill(
        &self,
        url: &str,
        version: &Version,
        body: Body,
        writer: &mut Writer<'_>,
    ) -> Result<Result<(), EngineError>, EngineError> {
        let (mut body, mut failures, mut before) = (body, 0, 0);
        loop {
            let Err(mut broken) = self.interruptible(self.client()?, || writer.take(body)) else {
                return Ok(Ok(()));
            };
            if writer.written > before {
                (failures, before) = (0, writer.written);
            }
            body = loop {
                failures += 1;
                let Broken { error, transient } = broken;
                self.check_cancelled()?;
                let pause = Retry::default().pause(failures, None).filter(|_| transient);
                let Some(pause) = pause else { return Err(*error) };
                self.pause(pause)?;
                match self.interruptible(self.client()?, || self.rest(url, version, before)) {
                    Ok(Some(rest)) => break rest,
                    Ok(None) => return Ok(Err(*error)),
                    Err(again) => broken = again,
                }
            };
        }
    }

    fn retry(
        &self,
        failures: u32,
        pause: Option<std::time::Duration>,
        error: EngineError,
    ) -> Result<(), EngineError> {
        self.check_cancelled()?;
        match pause {
            Some(pause) if failures < Retry::default().tries => Ok(self.pause(pause)?),
            _ => Err(error),
        }
    }

    fn ask(&self, url: &str, known: Option<&Record>) -> Result<Answer, Refused> {
        let mut request = self.authorized(Request::get(url), url)?;
        match known {
            Some(Record { etag: Some(etag), .. }) => request = request.header("If-None-Match", etag),
            Some(Record { modified: Some(modified), .. }) => {
                request = request.header("If-Modified-Since", modified);
            }
            _ => {}
        }
        let response = self.client().map_err(Refused::finally)?.send(request).map_err(|error| {
            let transient = error.is_transient();
            Refused {
                error: Box::new(RemoteError::Http(error).into()),
                pause: transient.then(|| Retry::default().first),
            }
        })?;
        if response.status() == 304 && known.is_some() {
            return Ok(Answer::Unchanged);
        }
        let response = self.accept(url, response)?;
        let version = Version {
            etag: response.header("etag").map(str::to_owned),
            modified: response.header("last-modified").map(str::to_owned),
            time: response.last_modified().unwrap_or(SystemTime::UNIX_EPOCH),
        };
        Ok(Answer::Changed(version, Box::new(response.into_body())))
    }

    /// Only whole answers, and only those that fit on the disk.
    fn accept(&self, url: &str, response: Response) -> Result<Response, Refused> {
        if response.status() != 200 {
            let pause =
                response.is_transient().then(|| Retry::default().pause(1, response.retry_after())).flatten();
            let error = RemoteError::Status { url: redact(url), status: response.status() };
            return Err(Refused { error: Box::new(error.into()), pause });
        }
        let free = rustix::fs::statvfs(self.engine.store().root()).map(|fs| fs.f_bavail * fs.f_frsize);
        match (response.content_length(), free) {
            // It is written twice: as it comes, and into its layer.
            (Some(needed), Ok(free)) if needed.saturating_mul(2) > free => {
                Err(Refused::finally(RemoteError::NoRoom { url: redact(url), needed, free }.into()))
            }
            _ => Ok(response),
        }
    }

    /// The rest of a file that is still the same; `None` if the server does not give parts of it.
    fn rest(&self, url: &str, version: &Version, from: u64) -> Result<Option<Body>, Broken> {
        // A weak tag does not promise the same bytes.
        let strong = version.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        let Some(validator) = strong.or(version.modified.as_deref()) else { return Ok(None) };
        let request =
            self.authorized(Request::get(url), url).map_err(|refused| Broken::finally(*refused.error))?;
        let request = request.range(from, None).header("If-Range", validator);
        let response = self.client().map_err(Broken::finally)?.send(request).map_err(Broken::of)?;
        if response.is_transient() {
            let error = RemoteError::Status { url: redact(url), status: response.status() };
            return Err(Broken { error: Box::new(error.into()), transient: true });
        }
        let follows = response.content_range().is_some_and(|(first, ..)| first == from);
        Ok((response.status() == 206 && follows).then(|| response.into_body()))
    }

    /// `HTTP_AUTH_TOKEN_<host>` and `HTTP_AUTH_HEADER_<host>`, given as secrets.
    fn authorized<'r>(&self, request: Request<'r>, url: &str) -> Result<Request<'r>, Refused> {
        let host = strata_http::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let Some(host) = host else { return Ok(request) };
        let secret = |name: &str| self.secret(&format!("{name}_{host}")).map_err(Refused::finally);
        if let Some(header) = secret("HTTP_AUTH_HEADER")? {
            return Ok(request.header("Authorization", header));
        }
        match secret("HTTP_AUTH_TOKEN")? {
            Some(token) => Ok(request.header("Authorization", format!("Bearer {token}"))),
            None => Ok(request),
        }
    }
}

/// A request that was not granted, and how long to wait before asking again, if that can help.
struct Refused {
    error: Box<EngineError>,
    pause: Option<std::time::Duration>,
}

impl Refused {
    fn finally(error: EngineError) -> Self {
        Self { error: Box::new(error), pause: None }
    }
}

/// A body that broke off.
struct Broken {
    error: Box<EngineError>,
    transient: bool,
}

impl Broken {
    fn finally(error: EngineError) -> Self {
        Self { error: Box::new(error), transient: false }
    }

    fn of(error: strata_http::Error) -> Self {
        let transient = error.is_transient();
        Self { error: Box::new(RemoteError::Http(error).into()), transient }
    }
}

/// Where a file is written and hashed.
struct Writer<'a> {
    file: &'a mut File,
    hasher: &'a mut Sha256,
    written: u64,
}

impl Writer<'_> {
    fn take(&mut self, mut body: Body) -> Result<(), Broken> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(match error.downcast::<strata_http::Error>() {
                        Ok(error) => Broken::of(error),
                        Err(error) => Broken::finally(error.into()),
                    });
                }
            };
            self.file.write_all(&buffer[..count]).map_err(|error| Broken::finally(error.into()))?;
            self.hasher.update(&buffer[..count]);
            self.written += count as u64;
        }
    }
}

fn check(url: &str, wanted: Option<&Digest>, found: Option<&Digest>) -> Result<(), EngineError> {
    match (wanted, found) {
        (Some(wanted), Some(found)) if wanted != found => {
            Err(RemoteError::Checksum { url: redact(url), wanted: *wanted, found: *found }.into())
        }
        _ => Ok(()),
    }
}

/// Mode and time, which the layer takes over.
fn finish(path: &Path, time: SystemTime) -> Result<(), EngineError> {
    use std::os::unix::fs::PermissionsExt;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    let file = fs_err::OpenOptions::new().write(true).open(path)?;
    Ok(file.file().set_modified(time)?)
}
