//! What `type=s3` is told: BuildKit's keys, completed from the environment as Amazon's clients do.
use super::Error;
use super::credentials::{Files, Provider};
use super::environment::Environment;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;
use strata_http::Url;

/// The keys this type knows, besides those that every type of cache has.
pub const KEYS: &[&str] = &[
    "bucket",
    "region",
    "prefix",
    "blobs_prefix",
    "manifests_prefix",
    "name",
    "endpoint_url",
    "use_path_style",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "touch_refresh",
    "upload_parallelism",
    "retry_mode",
    "retry_max_attempts",
    "disable_accept_encoding",
];

/// A place for caches in an object store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bucket's name.
    pub bucket: String,
    /// Of the bucket; servers other than Amazon's take any, mostly `us-east-1`.
    pub region: String,
    /// Before every key.
    pub prefix: String,
    /// After that, before a blob's digest.
    pub blobs_prefix: String,
    /// After `prefix`, before a name.
    pub manifests_prefix: String,
    /// The cache is written under each of these, and read from the first that exists.
    pub names: Vec<String>,
    /// The server.
    pub endpoint: Url,
    /// The bucket stands in the path rather than in the host's name.
    pub path_style: bool,
    /// Where the credentials come from.
    pub provider: Provider,
    /// A blob that is used and older than this is made young again, so that a rule that deletes old objects spares it.
    pub touch_refresh: Duration,
    /// Blobs that are sent at a time.
    pub upload_parallelism: NonZeroUsize,
    /// How often a request is tried in all; `None`: as the client has it.
    pub tries: Option<u32>,
}

impl Settings {
    /// From the keys of a `--cache-to` or `--cache-from`.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a key that is not among [`KEYS`], [`Error::Missing`], [`Error::Invalid`], and what is wrong with
    /// the way to credentials. Nothing is asked of a server.
    pub fn parse(given: &BTreeMap<String, String>, environment: &Environment<'_>) -> Result<Self, Error> {
        if let Some(key) = given.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(Error::Unknown { key: key.clone() });
        }
        let files = Files::read(environment)?;
        let get = |key: &str| given.get(key).map(String::as_str);
        let full = |key: &str| get(key).filter(|value| !value.is_empty());
        let or_variable = |key: &str, names: &[&str]| {
            let variable = || names.iter().find_map(|name| environment.get(name));
            full(key).map(str::to_owned).or_else(variable)
        };
        let missing = |key, variable| Error::Missing { key, variable };
        let bucket = or_variable("bucket", &["AWS_BUCKET"]).ok_or(missing("bucket", "AWS_BUCKET"))?;
        let region = or_variable("region", &["AWS_REGION", "AWS_DEFAULT_REGION"])
            .or_else(|| files.get("region"))
            .ok_or(missing("region", "AWS_REGION"))?;
        let own = full("endpoint_url").map(str::to_owned).or_else(|| environment.endpoint("S3"));
        let own = own.or_else(|| files.get("endpoint_url").filter(|_| !environment.ignores_endpoints()));
        let endpoint = match &own {
            Some(text) => endpoint(text)?,
            None => amazon(&region)?,
        };
        let path_style = needs_path(&bucket, &endpoint) || own.is_some() && boolean(given, "use_path_style")?;
        let keys = [full("access_key_id"), full("secret_access_key"), full("session_token")];
        boolean(given, "disable_accept_encoding")?;
        if let Some(mode) = get("retry_mode")
            && !matches!(mode, "standard" | "adaptive")
        {
            return Err(invalid("retry_mode", mode, "it is neither standard nor adaptive"));
        }
        let provider = Provider::find(keys, environment, &files, &region)?;
        let settings = Self {
            region,
            prefix: get("prefix").unwrap_or_default().to_owned(),
            blobs_prefix: get("blobs_prefix").unwrap_or("blobs/").to_owned(),
            manifests_prefix: get("manifests_prefix").unwrap_or("manifests/").to_owned(),
            names: names(get("name"))?,
            endpoint,
            path_style,
            provider,
            touch_refresh: full("touch_refresh").map_or(Ok(Duration::from_secs(24 * 60 * 60)), duration)?,
            upload_parallelism: positive(given, "upload_parallelism")?
                .and_then(|count| NonZeroUsize::new(count as usize))
                .unwrap_or(NonZeroUsize::new(4).expect("4 is not 0")),
            tries: positive(given, "retry_max_attempts")?,
            bucket,
        };
        settings.check_keys()
    }

    /// The key of a blob; `digest` with its algorithm.
    pub fn blob_key(&self, digest: &impl std::fmt::Display) -> String {
        format!("{}{}{digest}", self.prefix, self.blobs_prefix)
    }

    /// The key of a cache's config.
    pub fn manifest_key(&self, name: &str) -> String {
        format!("{}{}{name}", self.prefix, self.manifests_prefix)
    }

    /// A path in a URL cannot have `.` and `..`: the server would be asked for another object.
    fn check_keys(self) -> Result<Self, Error> {
        let manifests = self.names.iter().map(|name| ("name", name, self.manifest_key(name)));
        let blobs = [("blobs_prefix", &self.blobs_prefix, self.blob_key(&"sha256:0"))];
        for (key, value, whole) in manifests.chain(blobs) {
            if whole.split('/').any(|segment| matches!(segment, "." | ".."))
                || whole.contains(char::is_control)
            {
                let why = format!("{whole:?} would be an object's key, and no URL can name it");
                return Err(invalid(key, value, why));
            }
        }
        Ok(self)
    }
}

fn invalid(key: &'static str, value: &str, why: impl Into<String>) -> Error {
    Error::Invalid { key, value: value.to_owned(), why: why.into() }
}

fn names(given: Option<&str>) -> Result<Vec<String>, Error> {
    let text = given.unwrap_or("buildkit");
    let names: Vec<String> = text.split(';').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return Err(invalid("name", text, "a name between semicolons is empty"));
    }
    Ok(names)
}

fn endpoint(text: &str) -> Result<Url, Error> {
    // A URL may hold a password, so what is shown is without it.
    let bad = |why: String| invalid("endpoint_url", &strata_http::redact(text), why);
    let url =
        Url::parse(text).map_err(|error| bad(format!("{error}; it looks like https://s3.example.com")))?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(url),
        _ => Err(bad("it looks like https://s3.example.com".to_owned())),
    }
}

fn amazon(region: &str) -> Result<Url, Error> {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let bad = |why: String| invalid("region", region, why);
    if !region.chars().all(label) {
        return Err(bad("it looks like eu-central-1".to_owned()));
    }
    Url::parse(&format!("https://s3.{region}.amazonaws.com{suffix}")).map_err(|error| bad(error.to_string()))
}

/// A bucket's name cannot be put before an address, and where it has dots no certificate fits.
fn needs_path(bucket: &str, endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default();
    let address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    address || !bucket.chars().all(label)
}

/// What Go takes for a boolean.
fn boolean(given: &BTreeMap<String, String>, key: &'static str) -> Result<bool, Error> {
    match given.get(key).map_or("", String::as_str) {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        other => Err(invalid(key, other, "it is neither true nor false")),
    }
}

fn positive(given: &BTreeMap<String, String>, key: &'static str) -> Result<Option<u32>, Error> {
    let Some(text) = given.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse() {
        Ok(number @ 1..) => Ok(Some(number)),
        _ => Err(invalid(key, text, "it is not a positive integer")),
    }
}

fn duration(text: &str) -> Result<Duration, Error> {
    let parsed: Result<SignedDuration, _> = text.parse();
    let why = "it is not a duration such as 24h or 1h30m";
    parsed
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| invalid("touch_refresh", text, why))
}

#[cfg(test)]
mod tests;
