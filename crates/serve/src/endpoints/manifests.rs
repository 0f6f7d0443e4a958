//! `/v2/<name>/manifests/<reference>`

use super::Asked;
use crate::answer::{self, Answer, CONTENT_DIGEST};
use crate::name::{Reference, Repository, Tag};
use crate::receive;
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::storage::Outline;
use crate::threads::blocking;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LOCATION};
use std::sync::PoisonError;
use strata_oci::Digest;

/// What clients may rely on ("Pushing Manifests"): no more is read.
const MANIFEST_MAX: u64 = 4 * 1024 * 1024;
/// Tags that one push by digest may set.
const TAGS_MAX: usize = 100;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// GET and HEAD.
pub(super) async fn get(asked: &Asked, name: &Repository, reference: &Reference) -> Result<Answer, Refusal> {
    let registry = asked.registry.clone();
    let (name_of, reference_of) = (name.clone(), reference.clone());
    let found = blocking(move || registry.manifest(&name_of, &reference_of)).await?;
    let found = found.ok_or_else(|| Refusal::ManifestUnknown(reference.to_string()))?;
    let etag = format!("\"{}\"", found.digest);
    let unchanged = asked.header(IF_NONE_MATCH) == Some(etag.as_str());
    let mut answer = if unchanged {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        answer::bytes(StatusCode::OK, found.bytes)
    };
    answer::set(&mut answer, CONTENT_TYPE, &found.media_type);
    answer::set(&mut answer, CONTENT_DIGEST, found.digest.to_string());
    answer::set(&mut answer, ETAG, etag);
    Ok(answer)
}

/// PUT: by tag, or by digest with any number of tags in the query.
pub(super) async fn put(
    asked: &mut Asked,
    name: &Repository,
    reference: &Reference,
) -> Result<Answer, Refusal> {
    let tags = tags(asked, reference)?;
    let declared = asked.header(CONTENT_TYPE).map(|text| {
        let essence = text.split(';').next().unwrap_or_default();
        essence.trim().to_owned()
    });
    let body = asked.body();
    let bytes = receive::whole(body, MANIFEST_MAX).await?;
    let found = Digest::of(&bytes);
    if let Reference::Digest(expected) = reference
        && *expected != found
    {
        return Err(Refusal::DigestMismatch { expected: *expected, found });
    }
    let outline = Outline::parse(&bytes, declared.as_deref().filter(|text| !text.is_empty()))
        .map_err(Refusal::ManifestInvalid)?;
    let subject = outline.subject;
    let (registry, name_of, tags_of) = (asked.registry.clone(), name.clone(), tags.clone());
    blocking(move || store(&registry, &name_of, &outline, &bytes, &tags_of)).await?;

    let mut answer = answer::empty(StatusCode::CREATED);
    answer::set(&mut answer, LOCATION, format!("/v2/{name}/manifests/{found}"));
    answer::set(&mut answer, CONTENT_DIGEST, found.to_string());
    if let Some(subject) = subject {
        answer::set(&mut answer, SUBJECT, subject.to_string());
    }
    if matches!(reference, Reference::Digest(_)) && !tags.is_empty() {
        let names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        answer::set(&mut answer, TAG, names.join(", "));
    }
    Ok(answer)
}

fn tags(asked: &Asked, reference: &Reference) -> Result<Vec<Tag>, Refusal> {
    if let Reference::Tag(tag) = reference {
        return Ok(vec![tag.clone()]);
    }
    let texts: Vec<&str> = asked.query.all("tag").collect();
    if texts.len() > TAGS_MAX {
        return Err(Refusal::TooManyTags(TAGS_MAX));
    }
    let parse = |text: &str| Tag::parse(text).ok_or_else(|| Refusal::TagInvalid(text.to_owned()));
    texts.into_iter().map(parse).collect()
}

fn store(
    registry: &Registry,
    name: &Repository,
    outline: &Outline,
    bytes: &Bytes,
    tags: &[Tag],
) -> Result<(), Refusal> {
    let _changing = registry.changing.lock().unwrap_or_else(PoisonError::into_inner);
    let _publishing = registry.storage.publishing()?;
    let missing = registry.storage.missing(name, outline)?;
    if !missing.is_empty() {
        return Err(Refusal::ManifestIncomplete(missing));
    }
    registry.storage.put_manifest(name, outline, bytes, tags)?;
    Ok(())
}

/// DELETE: a tag alone, or a manifest with all its tags.
pub(super) async fn delete(
    asked: &Asked,
    name: &Repository,
    reference: &Reference,
) -> Result<Answer, Refusal> {
    let (registry, name_of, reference_of) = (asked.registry.clone(), name.clone(), reference.clone());
    let deleted = blocking(move || {
        let _changing = registry.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let _publishing = registry.storage.publishing()?;
        match &reference_of {
            Reference::Tag(tag) => Ok(registry.storage.delete_tag(&name_of, tag)?),
            Reference::Digest(digest) => registry.storage.delete_manifest(&name_of, digest),
        }
    })
    .await?;
    if deleted {
        return Ok(answer::empty(StatusCode::ACCEPTED));
    }
    Err(Refusal::ManifestUnknown(reference.to_string()))
}
