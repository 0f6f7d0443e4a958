//! What a request asks for: method, path and query as one value, names checked.

use crate::name::{Reference, Repository, Tag};
use crate::refusal::Refusal;
use hyper::{Method, Uri};
use percent_encoding::percent_decode_str;
use strata_oci::Digest;

/// An endpoint with its names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`
    Version,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(Repository),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Repository, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Repository, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(Repository),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(Repository, String),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Repository, Digest),
}

impl Route {
    /// Reads the path. Names stand between fixed words, which are looked for from the right: a repository may be
    /// called `blobs/uploads`.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let nowhere = || Refusal::NoEndpoint(uri.path().to_owned());
        let path = percent_decode_str(uri.path()).decode_utf8().map_err(|_| nowhere())?;
        let rest = path.strip_prefix("/v2").ok_or_else(nowhere)?;
        if matches!(rest, "" | "/") {
            return Ok(Self::Version);
        }
        let rest = rest.strip_prefix('/').ok_or_else(nowhere)?;
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        let words: Vec<&str> = rest.split('/').collect();
        let name = |taken: usize| repository(&words[..words.len() - taken].join("/"));
        match words[..] {
            [_, .., "tags", "list"] => Ok(Self::Tags(name(2)?)),
            [_, .., "manifests", text] => Ok(Self::Manifest(name(2)?, reference(text)?)),
            [_, .., "referrers", text] => Ok(Self::Referrers(name(2)?, digest(text)?)),
            [_, .., "blobs", "uploads"] => Ok(Self::Uploads(name(2)?)),
            [_, .., "blobs", "uploads", ""] => Ok(Self::Uploads(name(3)?)),
            [_, .., "blobs", "uploads", id] => Ok(Self::Upload(name(3)?, upload(id)?)),
            [_, .., "blobs", text] => Ok(Self::Blob(name(2)?, digest(text)?)),
            _ => Err(nowhere()),
        }
    }

    /// Whether the request only looks.
    pub(crate) fn only_reads(&self, method: &Method) -> bool {
        match self {
            // The state of an upload belongs to the upload.
            Self::Uploads(_) | Self::Upload(..) => false,
            _ => matches!(*method, Method::GET | Method::HEAD),
        }
    }
}

fn repository(text: &str) -> Result<Repository, Refusal> {
    Repository::parse(text).ok_or_else(|| Refusal::NameInvalid(text.to_owned()))
}

/// A digest that a client wrote.
pub(crate) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|_| Refusal::DigestInvalid(text.to_owned()))
}

fn reference(text: &str) -> Result<Reference, Refusal> {
    if text.contains(':') {
        return digest(text).map(Reference::Digest);
    }
    Tag::parse(text).map(Reference::Tag).ok_or_else(|| Refusal::TagInvalid(text.to_owned()))
}

/// The name of an upload is a file's name as well.
fn upload(id: &str) -> Result<String, Refusal> {
    let ours = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if ours { Ok(id.to_owned()) } else { Err(Refusal::UploadUnknown(id.to_owned())) }
}

/// The query, decoded. A plus sign stays one: media types have it (`...+json`), and no value here has blanks.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(key, value)| (decode(key), decode(value))).collect())
    }

    /// The first value of this name that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut mine = self.0.iter().filter(|(key, value)| key == name && !value.is_empty());
        mine.next().map(|(_, value)| value.as_str())
    }

    /// All values of this name that are not empty.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let mine = self.0.iter().filter(move |(key, value)| key == name && !value.is_empty());
        mine.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn route(path: &str) -> Result<Route, Refusal> {
        Route::of(&path.parse().expect("a URI"))
    }

    fn named(text: &str) -> Repository {
        Repository::parse(text).expect("a name")
    }

    #[test]
    fn paths_are_read_from_the_right() {
        let digest: Digest = DIGEST.parse().expect("a digest");
        let id = "0123456789abcdef0123456789abcdef";
        for (path, want) in [
            ("/v2".to_owned(), Route::Version),
            ("/v2/".to_owned(), Route::Version),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/a/b/tags/list".to_owned(), Route::Tags(named("a/b"))),
            ("/v2/tags/list/tags/list".to_owned(), Route::Tags(named("tags/list"))),
            (format!("/v2/blobs/uploads/blobs/{DIGEST}"), Route::Blob(named("blobs/uploads"), digest)),
            (format!("/v2/a/blobs/{}", DIGEST.replace(':', "%3A")), Route::Blob(named("a"), digest)),
            ("/v2/a%2Fb/blobs/uploads/".to_owned(), Route::Uploads(named("a/b"))),
            ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(named("a"))),
            (format!("/v2/a/blobs/uploads/{id}"), Route::Upload(named("a"), id.to_owned())),
            (format!("/v2/a/manifests/{DIGEST}"), Route::Manifest(named("a"), Reference::Digest(digest))),
            (format!("/v2/a/referrers/{DIGEST}"), Route::Referrers(named("a"), digest)),
        ] {
            assert_eq!(route(&path).expect(&path), want, "{path}");
        }
    }

    #[test]
    fn what_is_no_endpoint_or_has_no_valid_name() {
        let status = |path: &str| route(path).expect_err(path).status().as_u16();
        for path in ["/", "/v1/", "/v2x", "/v2/a", "/v2/manifests/latest", "/v2/a/b/c", "/v2/%ff/tags/list"] {
            assert_eq!(status(path), 404, "{path}");
        }
        for path in [
            "/v2/../manifests/latest",
            "/v2/a/%2e%2e/b/manifests/latest",
            "/v2/a/..%2f..%2fetc/manifests/latest",
            "/v2//manifests/latest",
            "/v2/A/manifests/latest",
            "/v2/a/manifests/%2e%2e",
            "/v2/a/manifests/-x",
            "/v2/a/manifests/sha256:00",
            "/v2/a/blobs/latest",
            "/v2/a/blobs/sha512:00",
            "/v2/a/referrers/x",
        ] {
            assert_eq!(status(path), 400, "{path}");
        }
        assert_eq!(status("/v2/a/blobs/uploads/..%2f..%2fx"), 404);
        assert_eq!(status("/v2/a/blobs/uploads/0123"), 404);
    }

    #[test]
    fn queries() {
        let query = Query::of(&"/v2/?a=1&b=x%2By&c&a=2&t=a+b".parse().expect("a URI"));
        assert_eq!((query.get("a"), query.get("b"), query.get("c")), (Some("1"), Some("x+y"), None));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("t"), Some("a+b"));
    }
}
