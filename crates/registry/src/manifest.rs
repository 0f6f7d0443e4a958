//! Manifests and indexes: found by tag or digest, checked, and put.
use crate::endpoint::{Call, Endpoint};
use crate::error::answer::Subject;
use crate::registries::about;
use crate::text::printable;
use crate::{Access, Error, Registries, Repository, Target};
use serde_json::Value;
use strata_http::Response;
use strata_oci::{Descriptor, Digest, Reference, media_type};

/// The largest manifest that is read or sent: what registries accept.
pub const MANIFEST_LIMIT: u64 = 4 << 20;

const SCHEMA_ONE: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// What we read, most wanted first.
const ACCEPTED: [&str; 4] =
    [media_type::OCI_INDEX, media_type::DOCKER_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST];

/// Which of the two kinds of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One image: a config and layers.
    Manifest,
    /// Several images under one name.
    Index,
}

/// A manifest or index whose bytes have the digest that was asked for.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Digest of `bytes`.
    pub digest: Digest,
    /// What the document says it is; where it does not, what the registry said.
    pub media_type: String,
    /// Which of the two.
    pub kind: Kind,
    /// The document, byte for byte.
    pub bytes: Vec<u8>,
}

impl Resolved {
    /// A descriptor of the document.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.bytes.len() as u64)
    }
}

impl Registries {
    /// The manifest or index that a reference names: by its digest if it has one, else by its tag.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::DigestMismatch`], [`Error::SchemaOne`], and whatever keeps an answer away.
    pub fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        self.manifest(&Repository::from(reference), &Target::of(reference))
    }

    /// As [`Registries::resolve`], for one part of an index.
    pub fn manifest(&self, repository: &Repository, target: &Target) -> Result<Resolved, Error> {
        self.read(repository, |endpoint| get(endpoint, repository, target))
    }

    /// What a reference names now, without fetching it. Registries that count pulls do not count this.
    ///
    /// The size and type are the registry's word; the digest is too, until the manifest is fetched by it.
    pub fn head(&self, repository: &Repository, target: &Target) -> Result<Descriptor, Error> {
        self.read(repository, |endpoint| {
            let response = endpoint.send(&call("HEAD", repository, target))?;
            // Some registries answer only GET, and an answer to HEAD holds no reason.
            if response.is_success()
                && let (Some(digest), Some(size)) = (claimed(&response), response.content_length())
            {
                return match target {
                    Target::Digest(expected) if *expected != digest => {
                        let subject = target.within(repository);
                        Err(Error::DigestMismatch { subject, expected: *expected, found: digest })
                    }
                    _ => Ok(Descriptor::new(content_type(&response), digest, size)),
                };
            }
            if matches!(response.status(), 429) {
                return Err(endpoint.refusal(response, call("HEAD", repository, target).subject));
            }
            get(endpoint, repository, target).map(|found| found.descriptor())
        })
    }
}

fn call<'a>(method: &'static str, repository: &'a Repository, target: &'a Target) -> Call<'a> {
    let subject = Subject::Manifest(repository, target, Access::Pull);
    let mut call = about(method, repository, format!("manifests/{target}"), subject, Access::Pull);
    call.headers = ACCEPTED.iter().map(|accepted| ("Accept", (*accepted).to_owned())).collect();
    call
}

fn get(endpoint: &Endpoint, repository: &Repository, target: &Target) -> Result<Resolved, Error> {
    let call = call("GET", repository, target);
    let subject = call.subject;
    for failures in 1.. {
        let response = endpoint.expect(&call)?;
        if response.content_length().is_some_and(|length| length > MANIFEST_LIMIT) {
            return Err(too_large(subject));
        }
        let (claimed, said) = (claimed(&response), content_type(&response));
        let error = match response.into_body().bytes(MANIFEST_LIMIT) {
            Ok(bytes) => return check(subject, target, claimed, &said, bytes),
            Err(strata_http::Error::TooLarge { .. }) => return Err(too_large(subject)),
            Err(error) => error,
        };
        match endpoint.pause(failures, None).filter(|_| error.is_transient()) {
            Some(pause) => endpoint.sleep(pause),
            None => return Err(endpoint.transport(subject, error, failures)),
        }
    }
    unreachable!("the pauses end")
}

fn too_large(subject: Subject<'_>) -> Error {
    Error::ManifestTooLarge { subject: subject.to_string(), limit: MANIFEST_LIMIT }
}

/// `Docker-Content-Digest`, if it is one we can check.
fn claimed(response: &Response) -> Option<Digest> {
    response.header("docker-content-digest")?.trim().parse().ok()
}

fn content_type(response: &Response) -> String {
    let full = response.header("content-type").unwrap_or_default();
    full.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Everything that is checked before anybody sees the document.
fn check(
    subject: Subject<'_>,
    target: &Target,
    claimed: Option<Digest>,
    said: &str,
    bytes: Vec<u8>,
) -> Result<Resolved, Error> {
    let found = Digest::of(&bytes);
    let wanted = match target {
        Target::Digest(digest) => Some(*digest),
        Target::Tag(_) => None,
    };
    for expected in wanted.into_iter().chain(claimed) {
        if expected != found {
            return Err(Error::DigestMismatch { subject: subject.to_string(), expected, found });
        }
    }
    let (media_type, kind) = identify(subject, said, &bytes)?;
    Ok(Resolved { digest: found, media_type, kind, bytes })
}

/// What a document is. Its own word goes before the registry's, which no digest covers; a document that can be read as
/// both kinds is refused, for then two readers of one digest see two images (CVE-2021-41190).
fn identify(subject: Subject<'_>, said: &str, bytes: &[u8]) -> Result<(String, Kind), Error> {
    let malformed = |why: String| Error::Malformed { subject: subject.to_string(), why };
    let schema_one = |media_type: &str| Error::SchemaOne {
        subject: subject.to_string(),
        media_type: media_type.to_owned(),
    };
    let document: Value = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let document = document.as_object().ok_or_else(|| malformed("it is no JSON object".to_owned()))?;
    let own = document.get("mediaType").and_then(Value::as_str);
    let known = |one: &&str| kind_of(one).is_some();
    if let Some(old) = SCHEMA_ONE.iter().find(|old| own == Some(old) || (own.is_none() && said == **old)) {
        return Err(schema_one(old));
    }
    if document.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
        return Err(schema_one(SCHEMA_ONE[0]));
    }
    let (images, parts) = (
        document.contains_key("manifests"),
        document.contains_key("layers")
            || document.contains_key("config")
            || document.contains_key("fsLayers"),
    );
    let shape = match (images, parts) {
        (true, false) => Kind::Index,
        (false, true) => Kind::Manifest,
        (true, true) => return Err(malformed("it is a manifest and an index at once".to_owned())),
        (false, false) => {
            return Err(malformed(format!("it holds neither layers nor manifests (type {said:?})")));
        }
    };
    let media_type = match own.or(Some(said).filter(known)) {
        Some(media_type) => printable(media_type, 200),
        None if shape == Kind::Index => media_type::OCI_INDEX.to_owned(),
        None => media_type::OCI_MANIFEST.to_owned(),
    };
    match kind_of(&media_type) {
        Some(kind) if kind != shape => {
            Err(malformed(format!("its type is {media_type:?}, its content is not")))
        }
        Some(kind) => Ok((media_type, kind)),
        None => Err(malformed(format!("unknown type {media_type:?}"))),
    }
}

fn kind_of(media_type: &str) -> Option<Kind> {
    match media_type {
        media_type::OCI_INDEX | media_type::DOCKER_INDEX => Some(Kind::Index),
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => Some(Kind::Manifest),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
