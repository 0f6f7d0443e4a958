//! Manifests sent, and things deleted.
use crate::error::answer::Subject;
use crate::manifest::MANIFEST_LIMIT;
use crate::referrers::referrers_tag;
use crate::registries::about;
use crate::{Access, Error, Registries, Repository, Target};
use serde::Deserialize;
use strata_oci::{Descriptor, Digest, Index, Raw, media_type};

/// What the registry made of a manifest it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Digest of the bytes that were sent.
    pub digest: Digest,
    /// The manifest refers to another (`subject`), and can be found from there: the registry says so, or the list that
    /// stands in for it was written.
    pub listed: bool,
}

/// What concerns referrers in a manifest.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Referring {
    subject: Option<Subjected>,
    artifact_type: Option<String>,
    config: Option<Typed>,
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Subjected {
    digest: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: String,
}

impl Registries {
    /// Sends a manifest or index under a tag, or under its own digest alone. Everything it refers to must be there.
    ///
    /// One with a `subject` is added to the subject's list of referrers, by the registry if it can, else in the tag
    /// that stands in for it.
    ///
    /// # Errors
    /// [`Error::Refused`] for a manifest that the registry does not accept, [`Error::Denied`],
    /// [`Error::DigestMismatch`] when it stored something else.
    pub fn put_manifest(
        &self,
        repository: &Repository,
        target: &Target,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Put, Error> {
        let digest = Digest::of(bytes);
        let subject = Subject::Manifest(repository, target, Access::Push);
        if let Target::Digest(expected) = target
            && *expected != digest
        {
            let subject = subject.to_string();
            return Err(Error::DigestMismatch { subject, expected: *expected, found: digest });
        }
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(Error::ManifestTooLarge { subject: subject.to_string(), limit: MANIFEST_LIMIT });
        }
        let endpoint = self.endpoint(repository.host())?;
        let mut call = about("PUT", repository, format!("manifests/{target}"), subject, Access::Push);
        call.headers.push(("Content-Type", media_type.to_owned()));
        call.bytes = Some(bytes);
        let response = endpoint.expect(&call)?;
        let stored =
            response.header("docker-content-digest").and_then(|text| text.trim().parse::<Digest>().ok());
        if let Some(found) = stored.filter(|stored| *stored != digest) {
            return Err(Error::DigestMismatch { subject: subject.to_string(), expected: digest, found });
        }
        // What cannot be read here was accepted by the registry: it has no subject that we could list.
        let referring: Referring = serde_json::from_slice(bytes).unwrap_or_default();
        let Some(of) = &referring.subject else { return Ok(Put { digest, listed: false }) };
        if response.header("oci-subject").is_none() {
            self.list_referrer(repository, &of.digest, referrer(&referring, media_type, digest, bytes))?;
        }
        Ok(Put { digest, listed: true })
    }

    /// Adds to the index under the tag that stands for the referrers of `of` (OCI distribution specification,
    /// "Referrers Tag Schema").
    fn list_referrer(&self, repository: &Repository, of: &Digest, referrer: Descriptor) -> Result<(), Error> {
        let target = Target::Tag(referrers_tag(of));
        let mut index = match self.manifest(repository, &target) {
            Ok(found) => Raw::<Index>::parse(found.bytes)
                .map_err(|error| Error::Malformed {
                    subject: target.within(repository),
                    why: error.to_string(),
                })?
                .value()
                .clone(),
            Err(error) if error.is_not_found() => Index {
                schema_version: 2,
                media_type: Some(media_type::OCI_INDEX.to_owned()),
                ..Index::default()
            },
            Err(error) => return Err(error),
        };
        if index.manifests.iter().any(|listed| listed.digest == referrer.digest) {
            return Ok(());
        }
        index.manifests.push(referrer);
        let index = Raw::new(index);
        self.put_manifest(repository, &target, media_type::OCI_INDEX, index.bytes()).map(drop)
    }

    /// Deletes a manifest, or a tag of one where the registry can delete tags alone.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where deletion is switched off, [`Error::ManifestUnknown`], [`Error::Denied`].
    pub fn delete_manifest(&self, repository: &Repository, target: &Target) -> Result<(), Error> {
        let subject = Subject::Manifest(repository, target, Access::Delete);
        self.delete(repository, &format!("manifests/{target}"), subject)
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// As [`Registries::delete_manifest`], [`Error::BlobUnknown`].
    pub fn delete_blob(&self, repository: &Repository, digest: &Digest) -> Result<(), Error> {
        self.delete(repository, &format!("blobs/{digest}"), Subject::Blob(repository, digest, Access::Delete))
    }

    fn delete(&self, repository: &Repository, path: &str, subject: Subject<'_>) -> Result<(), Error> {
        let endpoint = self.endpoint(repository.host())?;
        let call = about("DELETE", repository, path.to_owned(), subject, Access::Delete);
        let response = endpoint.send(&call)?;
        match response.status() {
            200..=299 => Ok(()),
            400 | 405 | 501 => {
                let refusal = endpoint.refusal(response, subject).to_string();
                let host = repository.host().to_owned();
                Err(Error::Unsupported { host, operation: "deleting this", message: refusal })
            }
            _ => Err(endpoint.refusal(response, subject)),
        }
    }
}

fn referrer(referring: &Referring, media_type: &str, digest: Digest, bytes: &[u8]) -> Descriptor {
    let config = referring.config.as_ref().map(|config| config.media_type.clone());
    Descriptor {
        artifact_type: referring.artifact_type.clone().or(config),
        annotations: referring.annotations.clone().unwrap_or_default(),
        ..Descriptor::new(media_type, digest, bytes.len() as u64)
    }
}
