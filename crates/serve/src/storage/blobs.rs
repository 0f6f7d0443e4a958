//! Blobs: the bytes once, a link in every repository that has them.

use super::{Storage, directory, remove, sync};
use crate::name::Repository;
use fs_err::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;
use strata_oci::Digest;

impl Storage {
    /// The length of a blob; `None` when the repository does not have it.
    ///
    /// A client that hears of a blob will not send it: the link counts as new from now on, so that the collector
    /// leaves it for the manifest to come.
    pub(crate) fn blob_size(&self, name: &Repository, digest: &Digest) -> io::Result<Option<u64>> {
        let link = self.blob_link(name, digest);
        match touch(&link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.and_then(|()| self.content_size(digest)),
        }
    }

    /// A blob and its length; `None` when the repository does not have it.
    pub(crate) fn open_blob(&self, name: &Repository, digest: &Digest) -> io::Result<Option<(File, u64)>> {
        if !self.blob_link(name, digest).exists() {
            return Ok(None);
        }
        match File::open(self.content(digest)) {
            Ok(file) => {
                let size = file.metadata()?.len();
                Ok(Some((file, size)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether some repository has these bytes.
    pub(crate) fn has_content(&self, digest: &Digest) -> io::Result<bool> {
        Ok(self.content_size(digest)?.is_some())
    }

    /// The length of stored bytes, whichever repository has them.
    fn content_size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        match fs_err::metadata(self.content(digest)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores a finished file whose content has this digest, and gives the blob to the repository.
    pub(crate) fn add_blob(&self, name: &Repository, digest: &Digest, staged: &Path) -> io::Result<()> {
        let _publishing = self.publishing()?;
        self.add_content(digest, staged)?;
        self.link_blob(name, digest)
    }

    /// Stores a finished file whose content has this digest. The first of several wins; all have the same bytes.
    pub(super) fn add_content(&self, digest: &Digest, staged: &Path) -> io::Result<()> {
        let path = self.content(digest);
        if path.exists() {
            // The collector must take it for new again.
            touch(&path)?;
            remove(staged)?;
            return Ok(());
        }
        self.publish(staged, &path)
    }

    /// Gives a blob of one repository to another; `false` when it is not there to be given.
    pub(crate) fn mount_blob(
        &self,
        name: &Repository,
        digest: &Digest,
        from: Option<&Repository>,
    ) -> io::Result<bool> {
        let _publishing = self.publishing()?;
        let there = match from {
            Some(from) => self.blob_link(from, digest).exists() && self.content(digest).exists(),
            None => self.repositories()?.iter().any(|from| self.blob_link(from, digest).exists()),
        };
        if there {
            self.link_blob(name, digest)?;
        }
        Ok(there)
    }

    fn link_blob(&self, name: &Repository, digest: &Digest) -> io::Result<()> {
        let link = self.blob_link(name, digest);
        if link.exists() {
            return touch(&link);
        }
        let parent = link.parent().expect("links are in a repository");
        directory(parent)?;
        File::create(&link)?;
        sync(parent)
    }

    /// Takes a blob from a repository; `false` when it does not have it. The bytes stay until they are collected.
    pub(crate) fn delete_blob(&self, name: &Repository, digest: &Digest) -> io::Result<bool> {
        remove(&self.blob_link(name, digest))
    }
}

pub(super) fn touch(path: &Path) -> io::Result<()> {
    let file = fs_err::OpenOptions::new().append(true).open(path)?;
    file.set_modified(SystemTime::now())
}
