//! The sweep: what killed processes and power cuts left (`design.md`, section 4).
use crate::core::Core;
use crate::db::Db;
use crate::process::boot_id;
use crate::root::Root;
use crate::staging::seize;
use crate::{Access, StoreError, containers, leases, orphans, reserve};
use fs_err as fs;
use std::fs::File;
use std::path::PathBuf;

/// What opening a store found and tidied up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Staging directories and lease files of dead processes.
    pub staging: usize,
    /// Leases of dead processes.
    pub leases: usize,
    /// Removals that were noted but not carried out.
    pub doomed: usize,
    /// Things left in the trash.
    pub trash: usize,
    /// Files and directories that no record names.
    pub orphans: usize,
    /// Containers whose process is gone: now exited.
    pub containers: Vec<String>,
}

pub(crate) fn sweep(core: &Core, access: Access, ended: fn(&str) -> bool) -> Result<SweepReport, StoreError> {
    let Core { root, db, trash } = core;
    if access == Access::Look {
        // To look must be possible on a full disk; what cannot be recorded now is recorded by the next full opening.
        return Ok(SweepReport {
            containers: containers::reap(db).unwrap_or_default(),
            ..SweepReport::default()
        });
    }
    reserve::keep(root)?;
    let mut report = SweepReport { containers: containers::reap(db)?, ..SweepReport::default() };
    report.trash = trash.sweep()?;
    report.doomed = core.bury()?;
    let dead = dead_staging(root)?;
    let first = is_first_since_boot(root);
    if !dead.is_empty() || first {
        report.leases = db.write(|tx| leases::expire(root, tx))?;
        report.orphans = orphans::sweep(root, db, trash)?;
    }
    // Last: if this sweep is killed, too, they tell the next one to look for orphans.
    for (path, _lock) in &dead {
        if path.file_name().and_then(|name| name.to_str()).is_none_or(ended) {
            trash.discard(path)?;
            report.staging += 1;
        }
    }
    if first {
        drop_lost_containers(root, db)?;
        fs::write(boot_file(root), boot_id())?;
    }
    Ok(report)
}

/// What in `ingest/` nobody holds, held from now on so that no other sweep takes it.
fn dead_staging(root: &Root) -> Result<Vec<(PathBuf, File)>, StoreError> {
    let mut dead = Vec::new();
    for entry in fs::read_dir(root.ingest())? {
        let path = entry?.path();
        if let Some(lock) = seize(&path)? {
            dead.push((path, lock));
        }
    }
    Ok(dead)
}

/// After a boot, the journal of the file system and the database may disagree about the last moments before it.
fn is_first_since_boot(root: &Root) -> bool {
    fs::read_to_string(boot_file(root)).map_or(true, |text| text != boot_id())
}

fn boot_file(root: &Root) -> std::path::PathBuf {
    let store = strata_oci::Digest::of(root.root.as_os_str().as_encoded_bytes()).short();
    root.run.join(format!("swept-{store}"))
}

/// Creating and removing a container does not wait for the disk, so that a power cut may leave a record alone.
fn drop_lost_containers(root: &Root, db: &Db) -> Result<(), StoreError> {
    let mut lost = orphans::names(db, "SELECT id FROM containers", |row| row.get(0))?;
    lost.retain(|id| !root.containers().join(id).is_dir());
    if lost.is_empty() {
        return Ok(());
    }
    db.write(|tx| {
        let mut statement = tx.prepare_cached("DELETE FROM containers WHERE id = ?1")?;
        lost.iter().try_for_each(|id| statement.execute([id]).map(drop).map_err(StoreError::from))
    })
}
