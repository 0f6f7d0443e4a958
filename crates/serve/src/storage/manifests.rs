//! Manifests and tags.

use super::{Outline, Storage, StorageError, digests, names, read, remove};
use crate::name::{Reference, Repository, Tag};
use serde::{Deserialize, Serialize};
use std::io;
use strata_oci::Digest;

/// What the record of a manifest holds; the bytes are content like any other.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    media_type: String,
}

/// A manifest as it was pushed.
#[derive(Debug)]
pub(crate) struct StoredManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

impl Storage {
    /// The manifest of a tag or digest; `None` when the repository does not have it.
    pub(crate) fn manifest(
        &self,
        name: &Repository,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => match self.tag(name, tag)? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        let path = self.manifest_record(name, &digest);
        let Some(record) = read(&path)? else { return Ok(None) };
        let record: Record = serde_json::from_slice(&record)
            .map_err(|error| StorageError::Damaged { path, what: error.to_string() })?;
        let Some(bytes) = read(&self.content(&digest))? else { return Ok(None) };
        if Digest::of(&bytes) != digest {
            let what = "the bytes do not have the digest of their name".to_owned();
            return Err(StorageError::Damaged { path: self.content(&digest), what });
        }
        Ok(Some(StoredManifest { digest, media_type: record.media_type, bytes }))
    }

    /// What a tag stands for.
    pub(crate) fn tag(&self, name: &Repository, tag: &Tag) -> Result<Option<Digest>, StorageError> {
        let path = self.repository(name).join("_tags").join(tag.as_str());
        let Some(text) = read(&path)? else { return Ok(None) };
        let digest = std::str::from_utf8(&text).ok().and_then(|text| text.trim_end().parse().ok());
        let what = "no digest".to_owned();
        digest.map(Some).ok_or(StorageError::Damaged { path, what })
    }

    /// What a manifest needs and the repository does not have.
    pub(crate) fn missing(&self, name: &Repository, outline: &Outline) -> io::Result<Vec<Digest>> {
        let mut missing = Vec::new();
        for digest in &outline.blobs {
            if self.blob_size(name, digest)?.is_none() {
                missing.push(*digest);
            }
        }
        let absent = |digest: &&Digest| !self.manifest_record(name, digest).exists();
        missing.extend(outline.manifests.iter().filter(absent));
        Ok(missing)
    }

    /// Stores a manifest and lets the tags stand for it. The caller holds `publishing` and has asked for what is
    /// missing under the same lock.
    pub(crate) fn put_manifest(
        &self,
        name: &Repository,
        outline: &Outline,
        bytes: &[u8],
        tags: &[Tag],
    ) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        let staged = tempfile::Builder::new().prefix("manifest-").tempfile_in(self.staging())?;
        fs_err::write(staged.path(), bytes)?;
        self.add_content(&digest, staged.path())?;
        let record = Record { media_type: outline.media_type.clone() };
        let record = serde_json::to_vec(&record).expect("a record is serialisable");
        self.write(&self.manifest_record(name, &digest), &record)?;
        if let Some(subject) = &outline.subject {
            self.put_referrer(name, subject, &digest, &outline.descriptor(&digest, bytes.len()))?;
        }
        for tag in tags {
            self.put_tag(name, tag, &digest)?;
        }
        Ok(digest)
    }

    /// Lets a tag stand for a manifest that is there.
    pub(crate) fn put_tag(&self, name: &Repository, tag: &Tag, digest: &Digest) -> io::Result<()> {
        let path = self.repository(name).join("_tags").join(tag.as_str());
        self.write(&path, format!("{digest}\n").as_bytes())
    }

    /// Removes a tag; `false` when there is none.
    pub(crate) fn delete_tag(&self, name: &Repository, tag: &Tag) -> io::Result<bool> {
        remove(&self.repository(name).join("_tags").join(tag.as_str()))
    }

    /// Removes a manifest and every tag that stands for it; `false` when there is none.
    pub(crate) fn delete_manifest(&self, name: &Repository, digest: &Digest) -> Result<bool, StorageError> {
        for tag in self.tags(name)? {
            let Some(tag) = Tag::parse(&tag) else { continue };
            if self.tag(name, &tag)? == Some(*digest) {
                self.delete_tag(name, &tag)?;
            }
        }
        let subject = match read(&self.content(digest))? {
            Some(bytes) => Outline::parse(&bytes, None).ok().and_then(|outline| outline.subject),
            None => None,
        };
        if let Some(subject) = subject {
            self.delete_referrer(name, &subject, digest)?;
        }
        Ok(remove(&self.manifest_record(name, digest))?)
    }

    /// All tags, sorted by their bytes.
    pub(crate) fn tags(&self, name: &Repository) -> io::Result<Vec<String>> {
        names(&self.repository(name).join("_tags"))
    }

    /// All manifests, tagged or not.
    pub(super) fn manifests(&self, name: &Repository) -> io::Result<Vec<Digest>> {
        digests(&self.repository(name).join("_manifests"))
    }
}
