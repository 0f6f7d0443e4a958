//! `/v2/<name>/blobs/<digest>`

use super::Asked;
use super::range::{Wanted, wanted};
use crate::answer::{self, Answer, CONTENT_DIGEST, Outgoing, Source};
use crate::name::Repository;
use crate::refusal::Refusal;
use crate::threads::blocking;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use hyper::{Method, Response, StatusCode};
use std::sync::Arc;
use strata_oci::Digest;

/// GET and HEAD.
pub(super) async fn get(asked: &Asked, name: &Repository, digest: &Digest) -> Result<Answer, Refusal> {
    if asked.method == Method::HEAD {
        let size = size(asked, name, digest).await?;
        let body = Outgoing::Whole(None);
        let mut answer = blob(body, StatusCode::OK, digest);
        answer::set(&mut answer, hyper::header::CONTENT_LENGTH, size.to_string());
        return Ok(answer);
    }
    if asked.header(IF_NONE_MATCH) == Some(etag(digest).as_str()) && is_here(asked, name, digest).await? {
        return Ok(blob(Outgoing::Whole(None), StatusCode::NOT_MODIFIED, digest));
    }
    let (source, size) = source(asked, name, digest).await?;
    // A range of another version of the blob is no use; there is only one version.
    let same = asked.header(IF_RANGE).is_none_or(|tag| tag == etag(digest));
    match wanted(asked.header(RANGE).filter(|_| same), size) {
        Wanted::Whole => Ok(blob(Outgoing::part(source, 0, size), StatusCode::OK, digest)),
        Wanted::Beyond => Err(Refusal::Range(size)),
        Wanted::Part(first, end) => {
            let mut answer = blob(Outgoing::part(source, first, end), StatusCode::PARTIAL_CONTENT, digest);
            answer::set(&mut answer, CONTENT_RANGE, format!("bytes {first}-{}/{size}", end - 1));
            Ok(answer)
        }
    }
}

fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

fn blob(body: Outgoing, status: StatusCode, digest: &Digest) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer::set(&mut answer, CONTENT_TYPE, "application/octet-stream");
    answer::set(&mut answer, CONTENT_DIGEST, digest.to_string());
    answer::set(&mut answer, ETAG, etag(digest));
    answer::set(&mut answer, ACCEPT_RANGES, "bytes");
    answer::set(&mut answer, CACHE_CONTROL, "max-age=31536000, immutable");
    answer
}

async fn is_here(asked: &Asked, name: &Repository, digest: &Digest) -> Result<bool, Refusal> {
    let (registry, name, digest) = (asked.registry.clone(), name.clone(), *digest);
    blocking(move || Ok::<_, Refusal>(registry.storage.blob_size(&name, &digest)?.is_some())).await
}

async fn size(asked: &Asked, name: &Repository, digest: &Digest) -> Result<u64, Refusal> {
    let (registry, name, digest) = (asked.registry.clone(), name.clone(), *digest);
    blocking(move || {
        let here = registry.storage.blob_size(&name, &digest)?;
        let size = match (&registry.mirror, here) {
            (Some(mirror), None) => mirror.blob_size(&name, &digest)?,
            (_, here) => here,
        };
        size.ok_or(Refusal::BlobUnknown(digest))
    })
    .await
}

async fn source(asked: &Asked, name: &Repository, digest: &Digest) -> Result<(Source, u64), Refusal> {
    let stored = {
        let (registry, name, digest) = (asked.registry.clone(), name.clone(), *digest);
        blocking(move || stored(&registry, &name, &digest)).await?
    };
    if let Some(stored) = stored {
        return Ok(stored);
    }
    let unknown = || Refusal::BlobUnknown(*digest);
    let mirror = asked.registry.mirror.as_ref().ok_or_else(unknown)?;
    let blob = mirror.download(&asked.registry.storage, name, digest).await?.ok_or_else(unknown)?;
    let size = blob.size();
    Ok((Source::Growing(blob), size))
}

/// A blob that is on the disk. A mirror that has it from another repository asks whether this one has it, too.
fn stored(
    registry: &crate::registry::Registry,
    name: &Repository,
    digest: &Digest,
) -> Result<Option<(Source, u64)>, Refusal> {
    let storage = &registry.storage;
    let mut found = storage.open_blob(name, digest)?;
    if let (None, Some(mirror)) = (&found, &registry.mirror)
        && storage.has_content(digest)?
        && mirror.blob_size(name, digest)?.is_some()
        && storage.mount_blob(name, digest, None)?
    {
        found = storage.open_blob(name, digest)?;
    }
    if found.is_some() && registry.mirror.is_some() {
        storage.note_use(digest)?;
    }
    Ok(found.map(|(file, size)| (Source::File(Arc::new(file)), size)))
}

/// DELETE: the repository no longer has the blob.
pub(super) async fn delete(asked: &Asked, name: &Repository, digest: &Digest) -> Result<Answer, Refusal> {
    let (registry, name, digest) = (asked.registry.clone(), name.clone(), *digest);
    if blocking(move || registry.storage.delete_blob(&name, &digest)).await? {
        return Ok(answer::empty(StatusCode::ACCEPTED));
    }
    Err(Refusal::BlobUnknown(digest))
}
