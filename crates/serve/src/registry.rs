//! What all requests share.

use crate::mirror::Mirror;
use crate::password::Passwords;
use crate::sessions::Sessions;
use crate::storage::Storage;
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
