//! What refers to a manifest: signatures, attestations, bills of materials.
use crate::error::answer::Subject;
use crate::list::{Pages, next_page};
use crate::registries::about;
use crate::{Access, Error, Registries, Repository, Target};
use strata_oci::{Descriptor, Digest, Index};

/// The tag under which clients keep the list on registries that do not.
pub(crate) fn referrers_tag(of: &Digest) -> String {
    format!("sha256-{}", of.hex())
}

impl Registries {
    /// The manifests whose `subject` is `of`; only those of one artifact type, if one is given. None for a manifest
    /// that is not there.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the answer is no index.
    pub fn referrers(
        &self,
        repository: &Repository,
        of: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let mut found = match self.referrers_api(repository, of, artifact_type)? {
            Some(found) => found,
            None => self.referrers_fallback(repository, of)?,
        };
        // A registry may leave the filtering to us.
        if let Some(wanted) = artifact_type {
            found.retain(|referrer| referrer.artifact_type.as_deref() == Some(wanted));
        }
        Ok(found)
    }

    /// `None` where the registry does not know the question.
    fn referrers_api(
        &self,
        repository: &Repository,
        of: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        let endpoint = self.endpoint(repository.host())?;
        let subject = Subject::Repository(repository, Access::Pull);
        let query = artifact_type.map(crate::list::encoded);
        let query = query.map(|wanted| format!("?artifactType={wanted}")).unwrap_or_default();
        let mut call = about("GET", repository, format!("referrers/{of}{query}"), subject, Access::Pull);
        let mut found = Vec::new();
        let mut pages = Pages::default();
        loop {
            let response = endpoint.send(&call)?;
            if matches!(response.status(), 400 | 404 | 405 | 501) {
                return Ok((!found.is_empty()).then_some(found));
            }
            if !response.is_success() {
                return Err(endpoint.refusal(response, subject));
            }
            let next = next_page(&endpoint, &response, subject)?;
            let index: Index = pages.read(response, subject)?;
            found.extend(index.manifests);
            let Some(next) = next else { return Ok(Some(found)) };
            call.at = next;
        }
    }

    fn referrers_fallback(&self, repository: &Repository, of: &Digest) -> Result<Vec<Descriptor>, Error> {
        let target = Target::Tag(referrers_tag(of));
        match self.manifest(repository, &target) {
            Ok(list) => {
                let index: Result<Index, _> = serde_json::from_slice(&list.bytes);
                let why = |error: serde_json::Error| Error::Malformed {
                    subject: target.within(repository),
                    why: error.to_string(),
                };
                Ok(index.map_err(why)?.manifests)
            }
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
