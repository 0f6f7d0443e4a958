//! A name on a registry, to read from and to write to.
use super::{CopyError, Destination, Document, Origin, Placed};
use std::io::{self, Read};
use strata_oci::{Descriptor, Digest, Reference};
use strata_registry::{Mount, Registries, Repository, Target};

/// A repository with the tag or digest that is meant.
pub(super) struct Remote {
    registries: Registries,
    repository: Repository,
    target: Target,
}

impl Remote {
    pub(super) fn new(registries: &Registries, reference: &Reference) -> Self {
        Self {
            registries: registries.clone(),
            repository: Repository::from(reference),
            target: Target::of(reference),
        }
    }

    fn get(&self, target: &Target) -> Result<Document, CopyError> {
        let found = self.registries.manifest(&self.repository, target)?;
        Ok(Document { media_type: found.media_type, digest: found.digest, bytes: found.bytes })
    }
}

impl Origin for Remote {
    fn root(&self) -> Result<Document, CopyError> {
        self.get(&self.target)
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, CopyError> {
        self.get(&Target::Digest(descriptor.digest))
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read>> {
        let body = self.registries.blob(&self.repository, &blob.digest, blob.size, offset);
        Ok(Box::new(body.map_err(io::Error::other)?))
    }

    fn repository(&self, _blob: &Digest) -> Option<Repository> {
        Some(self.repository.clone())
    }

    fn referrers(&self, of: &Digest) -> Result<Vec<Descriptor>, CopyError> {
        Ok(self.registries.referrers(&self.repository, of, None)?)
    }
}

impl Destination for Remote {
    fn blob(&self, blob: &Descriptor, origin: &dyn Origin) -> Result<Placed, CopyError> {
        if self.registries.blob_exists(&self.repository, &blob.digest)? {
            return Ok(Placed::Exists);
        }
        let near = origin.repository(&blob.digest);
        let near = near.filter(|from| from.host() == self.repository.host() && *from != self.repository);
        let upload = match near {
            Some(from) => match self.registries.mount(&self.repository, &blob.digest, from.path())? {
                Mount::Mounted => return Ok(Placed::Mounted(from.path().to_owned())),
                Mount::Refused(upload) => *upload,
            },
            None => self.registries.begin(&self.repository, &blob.digest)?,
        };
        // The registry checks the digest.
        let mut source = |offset: u64| origin.blob(blob, offset);
        upload.send(&blob.digest, blob.size, &mut source)?;
        Ok(Placed::Copied)
    }

    fn manifest(&self, document: &Document, is_root: bool) -> Result<(), CopyError> {
        let target = if is_root { self.target.clone() } else { Target::Digest(document.digest) };
        self.registries.put_manifest(&self.repository, &target, &document.media_type, &document.bytes)?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), CopyError> {
        Ok(())
    }
}
