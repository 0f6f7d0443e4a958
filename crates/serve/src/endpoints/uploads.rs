//! `/v2/<name>/blobs/uploads/`: blobs on their way in.

use super::Asked;
use super::range::chunk;
use crate::answer::{self, Answer, CONTENT_DIGEST};
use crate::name::Repository;
use crate::receive;
use crate::refusal::Refusal;
use crate::route;
use crate::sessions::{Claim, Session};
use crate::threads::blocking;
use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use std::sync::Arc;
use strata_oci::Digest;

/// Docker's older name for what `Location` ends with.
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// POST: mounts a blob, takes one that comes whole, or begins an upload.
pub(super) async fn begin(asked: &mut Asked, name: &Repository) -> Result<Answer, Refusal> {
    if let Some(algorithm) = asked.query.get("digest-algorithm").filter(|name| *name != "sha256") {
        return Err(Refusal::DigestInvalid(format!("{algorithm}:")));
    }
    if let Some(text) = asked.query.get("mount") {
        let digest = route::digest(text)?;
        if mount(asked, name, digest).await? {
            return Ok(created(name, &digest));
        }
    }
    let whole = asked.query.get("digest").map(route::digest).transpose()?;
    let session = {
        let (registry, name) = (asked.registry.clone(), name.clone());
        blocking(move || registry.sessions.begin(&registry.storage, &name)).await?
    };
    match whole {
        Some(digest) => complete(asked, session, digest).await,
        None => Ok(progress(StatusCode::ACCEPTED, &session)),
    }
}

/// Gives the repository a blob that another one has. Where `from` is missing, any other will do.
async fn mount(asked: &Asked, name: &Repository, digest: Digest) -> Result<bool, Refusal> {
    let from = match asked.query.get("from").map(Repository::parse) {
        Some(None) => return Ok(false),
        Some(Some(from)) => Some(from),
        None => None,
    };
    let (registry, name) = (asked.registry.clone(), name.clone());
    Ok(blocking(move || registry.storage.mount_blob(&name, &digest, from.as_ref())).await?)
}

/// PATCH: the next chunk.
pub(super) async fn append(asked: &mut Asked, name: &Repository, id: &str) -> Result<Answer, Refusal> {
    let session = find(asked, name, id).await?;
    let mut claim = session.clone().claim().await?;
    take_chunk(asked, &mut claim).await?;
    Ok(progress(StatusCode::ACCEPTED, &session))
}

/// PUT: the last chunk, if there is one, and the digest of all.
pub(super) async fn finish(asked: &mut Asked, name: &Repository, id: &str) -> Result<Answer, Refusal> {
    let session = find(asked, name, id).await?;
    let Some(text) = asked.query.get("digest") else { return Err(Refusal::DigestInvalid(String::new())) };
    let digest = route::digest(text)?;
    complete(asked, session, digest).await
}

async fn complete(asked: &mut Asked, session: Arc<Session>, digest: Digest) -> Result<Answer, Refusal> {
    let mut claim = session.clone().claim().await?;
    take_chunk(asked, &mut claim).await?;
    let found = claim.digest();
    let registry = asked.registry.clone();
    let name = session.repository.clone();
    // The claim goes along: nobody writes to the file while it is moved.
    blocking(move || {
        if found == digest {
            registry.storage.add_blob(&claim.session.repository, &digest, &claim.session.path)?;
        }
        registry.sessions.end(&claim.session)
    })
    .await?;
    if found != digest {
        return Err(Refusal::DigestMismatch { expected: digest, found });
    }
    Ok(created(&name, &digest))
}

/// Reads the body, if the chunk begins where the upload stands.
async fn take_chunk(asked: &mut Asked, claim: &mut Claim) -> Result<(), Refusal> {
    let range = match asked.header(CONTENT_RANGE) {
        Some(text) => Some(chunk(text).ok_or_else(|| Refusal::ChunkRange(text.to_owned()))?),
        None => None,
    };
    let announced = asked.header(CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    let mut room = None;
    if let Some((first, last)) = range {
        let received = claim.session.received();
        if first != received {
            return Err(Refusal::OutOfOrder { asked: first, received, location: claim.session.location() });
        }
        let length = last - first + 1;
        if let Some(announced) = announced.filter(|announced| *announced != length) {
            return Err(Refusal::Length(announced, length));
        }
        room = Some(length);
    }
    let body = asked.body();
    let outcome = receive::append(claim, body, room).await;
    if matches!(&outcome, Err(Refusal::Storage(_))) {
        // What could not be written must not keep the disk full.
        asked.registry.sessions.end(&claim.session)?;
    }
    outcome
}

/// GET: how far the upload is. Who asks was cut off, and goes on from the answer: nothing that an earlier request still
/// has in its buffers may be added after it.
pub(super) async fn status(asked: &Asked, name: &Repository, id: &str) -> Result<Answer, Refusal> {
    let claim = find(asked, name, id).await?.claim().await?;
    Ok(progress(StatusCode::NO_CONTENT, &claim.session))
}

/// DELETE: the upload is given up.
pub(super) async fn cancel(asked: &Asked, name: &Repository, id: &str) -> Result<Answer, Refusal> {
    let session = find(asked, name, id).await?;
    let claim = session.claim().await?;
    let registry = asked.registry.clone();
    blocking(move || registry.sessions.end(&claim.session)).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

async fn find(asked: &Asked, name: &Repository, id: &str) -> Result<Arc<Session>, Refusal> {
    let (registry, name, id) = (asked.registry.clone(), name.clone(), id.to_owned());
    blocking(move || registry.sessions.find(&registry.storage, &name, &id)).await
}

fn progress(status: StatusCode, session: &Session) -> Answer {
    let mut answer = answer::empty(status);
    answer::set(&mut answer, LOCATION, session.location());
    answer::set(&mut answer, RANGE, answer::received(session.received()));
    answer::set(&mut answer, UPLOAD_ID, &session.id);
    answer
}

fn created(name: &Repository, digest: &Digest) -> Answer {
    let mut answer = answer::empty(StatusCode::CREATED);
    answer::set(&mut answer, LOCATION, format!("/v2/{name}/blobs/{digest}"));
    answer::set(&mut answer, CONTENT_DIGEST, digest.to_string());
    answer
}
