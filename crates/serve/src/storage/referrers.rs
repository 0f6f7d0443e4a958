//! Which manifests tell something about another one (distribution specification, "Listing Referrers").

use super::{Storage, digests, read, remove};
use crate::name::Repository;
use serde_json::Value;
use std::io;
use std::path::PathBuf;
use strata_oci::Digest;

impl Storage {
    fn referrers_of(&self, name: &Repository, subject: &Digest) -> PathBuf {
        self.repository(name).join("_referrers").join(subject.hex())
    }

    pub(super) fn put_referrer(
        &self,
        name: &Repository,
        subject: &Digest,
        digest: &Digest,
        descriptor: &Value,
    ) -> io::Result<()> {
        let path = self.referrers_of(name, subject).join(digest.hex());
        self.write(&path, descriptor.to_string().as_bytes())
    }

    pub(super) fn delete_referrer(
        &self,
        name: &Repository,
        subject: &Digest,
        digest: &Digest,
    ) -> io::Result<()> {
        let directory = self.referrers_of(name, subject);
        remove(&directory.join(digest.hex()))?;
        // Fails when others refer to the subject, and that is right.
        let _ = fs_err::remove_dir(directory);
        Ok(())
    }

    /// The descriptors of all manifests with this subject, in the order of their digests.
    pub(crate) fn referrers(&self, name: &Repository, subject: &Digest) -> io::Result<Vec<Value>> {
        let mut descriptors = Vec::new();
        for digest in digests(&self.referrers_of(name, subject))? {
            // A manifest that was removed a moment ago has no record any more.
            if !self.manifest_record(name, &digest).exists() {
                continue;
            }
            let text = read(&self.referrers_of(name, subject).join(digest.hex()))?;
            descriptors.extend(text.and_then(|text| serde_json::from_slice(&text).ok()));
        }
        Ok(descriptors)
    }
}
