//! From a root to everything it needs, children before parents.
use super::choose::{index, is_index, is_manifest, manifest};
use super::{Copied, CopyError, Destination, Document, Origin, Placed, Step};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use strata_oci::{Descriptor, Digest, media_type};

/// Blobs of one image under way at a time.
const PARALLEL: usize = 4;
/// Indexes in indexes; nobody needs more, and a loop has no end.
const DEEPEST: usize = 8;

struct Walk<'a> {
    origin: &'a dyn Origin,
    destination: &'a dyn Destination,
    observer: &'a (dyn Fn(&Step) + Sync),
    referrers: bool,
    done: BTreeSet<Digest>,
    manifests: usize,
    bytes: AtomicU64,
}

/// Copies `root` with all that it refers to.
pub(super) fn transfer(
    origin: &dyn Origin,
    root: &Document,
    destination: &dyn Destination,
    referrers: bool,
    observer: &(dyn Fn(&Step) + Sync),
) -> Result<Copied, CopyError> {
    let mut walk = Walk {
        origin,
        destination,
        observer,
        referrers,
        done: BTreeSet::new(),
        manifests: 0,
        bytes: AtomicU64::new(0),
    };
    walk.document(root, true, 0)?;
    Ok(Copied {
        digest: Some(root.digest),
        manifests: walk.manifests,
        bytes: Some(walk.bytes.load(Ordering::Relaxed)),
    })
}

impl Walk<'_> {
    fn document(&mut self, document: &Document, is_root: bool, depth: usize) -> Result<(), CopyError> {
        if depth > DEEPEST {
            let why = format!("indexes in indexes, more than {DEEPEST} deep");
            return Err(CopyError::Malformed { what: format!("index {}", document.digest), why });
        }
        if !self.done.insert(document.digest) && !is_root {
            return Ok(());
        }
        if is_index(&document.media_type) {
            let mut blobs = Vec::new();
            for child in index(document)?.manifests {
                if is_index(&child.media_type) || is_manifest(&child.media_type) {
                    let child = self.origin.manifest(&child)?;
                    self.document(&child, false, depth + 1)?;
                } else {
                    // A build cache lists its layers in an index.
                    blobs.push(child);
                }
            }
            self.blobs(blobs)?;
        } else {
            let image = manifest(document)?;
            self.blobs(std::iter::once(image.config).chain(image.layers).collect())?;
        }
        // What refers to it goes first where it can: the root's name is the last to be written.
        if self.referrers {
            for referrer in self.origin.referrers(&document.digest)? {
                let referrer = self.origin.manifest(&referrer)?;
                self.document(&referrer, false, depth + 1)?;
            }
        }
        self.manifests += 1;
        self.destination.manifest(document, is_root)
    }

    /// Copies blobs side by side; the first error is the one that counts.
    fn blobs(&mut self, blobs: Vec<Descriptor>) -> Result<(), CopyError> {
        let new: VecDeque<Descriptor> =
            blobs.into_iter().filter(|blob| self.done.insert(blob.digest)).collect();
        let threads = new.len().min(PARALLEL);
        let (waiting, failed) = (Mutex::new(new), Mutex::new(None));
        let walk = &*self;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(blob) = next(&waiting, &failed) {
                        if let Err(error) = walk.blob(&blob) {
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        }
                    }
                });
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn blob(&self, blob: &Descriptor) -> Result<(), CopyError> {
        let placed =
            if is_elsewhere(blob) { Placed::Elsewhere } else { self.destination.blob(blob, self.origin)? };
        if placed == Placed::Copied {
            self.bytes.fetch_add(blob.size, Ordering::Relaxed);
        }
        (self.observer)(&Step { id: blob.digest.short(), size: Some(blob.size), placed });
        Ok(())
    }
}

fn next(waiting: &Mutex<VecDeque<Descriptor>>, failed: &Mutex<Option<CopyError>>) -> Option<Descriptor> {
    if failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
        return None;
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// A layer that its maker does not let others hand out.
fn is_elsewhere(blob: &Descriptor) -> bool {
    media_type::is_nondistributable(&blob.media_type) && !blob.urls.is_empty()
}
