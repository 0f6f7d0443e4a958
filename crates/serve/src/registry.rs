//! What all requests share.

use crate::mirror::Mirror;
use crate::name::{Reference, Repository};
use crate::password::Passwords;
use crate::refusal::Refusal;
use crate::sessions::Sessions;
use crate::storage::{Storage, StoredManifest};
use std::sync::Mutex;

/// A registry that serves.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) storage: Storage,
    pub(crate) sessions: Sessions,
    pub(crate) mirror: Option<Mirror>,
    /// Nothing may be changed.
    pub(crate) read_only: bool,
    /// Who may ask; `None`: everybody.
    pub(crate) passwords: Option<Passwords>,
    /// Held while manifests and tags change: a deletion looks at all tags.
    pub(crate) changing: Mutex<()>,
}

impl Registry {
    /// A manifest: of a mirror, as the upstream has it now.
    pub(crate) fn manifest(
        &self,
        name: &Repository,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, Refusal> {
        if let Some(mirror) = &self.mirror {
            mirror.refresh(&self.storage, name, reference)?;
        }
        Ok(self.storage.manifest(name, reference)?)
    }
}
