//! Room for what a mirror fetches: the blobs that were asked for longest ago go.

use super::blobs::touch;
use super::{Storage, digests, names, remove};
use std::collections::BTreeSet;
use std::io;
use std::time::SystemTime;
use strata_oci::Digest;

/// What is kept of the limit when something has to go, in hundredths: so that not every further blob has to look at all
/// the others.
const KEEP: u64 = 90;

/// A blob's bytes.
struct Content {
    digest: Digest,
    length: u64,
    used: SystemTime,
}

impl Storage {
    /// A blob was asked for.
    pub(crate) fn note_use(&self, digest: &Digest) -> io::Result<()> {
        match touch(&self.content(digest)) {
            // Evicted in this moment: who has it open can read it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Removes blobs until what is stored takes at most `limit` bytes, if it takes more, and gives the bytes that it then
    /// takes. Manifests stay: they are small, and with them a mirror answers when its upstream is away. Only for
    /// registries that can fetch their blobs again.
    pub(crate) fn evict(&self, limit: u64) -> io::Result<u64> {
        let lock = self.lock_file("lock")?;
        lock.file().lock()?;
        let mut all = self.all_content()?;
        let mut total: u64 = all.iter().map(|content| content.length).sum();
        if total <= limit {
            return Ok(total);
        }
        let repositories = self.repositories()?;
        let mut manifests = BTreeSet::new();
        for name in &repositories {
            manifests.extend(self.manifests(name)?);
        }
        all.retain(|content| !manifests.contains(&content.digest));
        all.sort_by_key(|content| content.used);
        let wanted = limit / 100 * KEEP;
        for content in all {
            if total <= wanted {
                break;
            }
            // Records first: none may name what is gone.
            for name in &repositories {
                remove(&self.blob_link(name, &content.digest))?;
            }
            remove(&self.content(&content.digest))?;
            total -= content.length;
        }
        Ok(total)
    }

    fn all_content(&self) -> io::Result<Vec<Content>> {
        let shelves = self.root.join("blobs/sha256");
        let mut found = Vec::new();
        for shelf in names(&shelves)? {
            for digest in digests(&shelves.join(shelf))? {
                let metadata = fs_err::metadata(self.content(&digest))?;
                found.push(Content { digest, length: metadata.len(), used: metadata.modified()? });
            }
        }
        Ok(found)
    }
}
