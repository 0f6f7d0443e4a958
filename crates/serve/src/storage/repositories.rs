//! Which repositories there are.

use super::{Storage, names};
use crate::name::Repository;
use std::io;
use std::path::Path;

impl Storage {
    /// Whether anything was ever pushed to the repository and not all of it removed.
    pub(crate) fn knows(&self, name: &Repository) -> bool {
        let records = self.repository(name);
        ["_manifests", "_blobs"].iter().any(|part| records.join(part).is_dir())
    }

    /// Every repository, sorted by the bytes of its name.
    pub(crate) fn repositories(&self) -> io::Result<Vec<Repository>> {
        let mut found = Vec::new();
        self.gather(&self.root.join("repositories"), "", &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    fn gather(&self, directory: &Path, above: &str, found: &mut Vec<Repository>) -> io::Result<()> {
        for component in names(directory)? {
            if component.starts_with('_') {
                continue;
            }
            let name = if above.is_empty() { component } else { format!("{above}/{component}") };
            let Some(repository) = Repository::parse(&name) else { continue };
            let below = self.repository(&repository);
            if self.knows(&repository) {
                found.push(repository);
            }
            self.gather(&below, &name, found)?;
        }
        Ok(())
    }
}
