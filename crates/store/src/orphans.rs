//! What lies in the store without a record, and which names have one.
use crate::StoreError;
use crate::db::{Bytes32, Db};
use crate::root::{Root, index_name, mount_name};
use crate::staging::{Hold, hold};
use crate::trash::{Trash, is_mounted};
use fs_err as fs;
use std::collections::HashSet;
use std::path::Path;

/// Takes away what no record names. Returns how much there was.
pub(crate) fn sweep(root: &Root, db: &Db, trash: &Trash) -> Result<usize, StoreError> {
    // No publisher stands between its rename and its record while this is held.
    let _held = hold(root, Hold::Remove)?;
    let mut count = 0;
    let mut area = |path: &Path, known: HashSet<String>| {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let named = entry.file_name().to_str().is_some_and(|name| known.contains(name));
            if !named && is_rubbish(&entry.path()) && !is_mounted(&entry.path()) {
                trash.discard(&entry.path())?;
                count += 1;
            }
        }
        Ok::<(), StoreError>(())
    };
    area(&root.layers(), known_layer_files(db)?)?;
    area(&root.blobs(), known_blobs(db)?)?;
    area(&root.containers(), names(db, "SELECT id FROM containers", |row| row.get(0))?)?;
    area(&root.overlay(), known_mounts(db)?)?;
    area(&root.volumes(), names(db, "SELECT name FROM volumes", |row| row.get(0))?)?;
    Ok(count)
}

/// A volume's data are somebody's, even if the record is lost: only an empty one is taken away.
fn is_rubbish(path: &Path) -> bool {
    let in_volumes = path.parent().is_some_and(|parent| parent.ends_with("volumes"));
    !in_volumes || fs::read_dir(path.join("_data")).map_or(true, |mut entries| entries.next().is_none())
}

/// Names in `layers/` that have a record.
pub(crate) fn known_layer_files(db: &Db) -> Result<HashSet<String>, StoreError> {
    let mut known =
        names(db, "SELECT diff_id FROM layers", |row| Ok(row.get::<_, Bytes32>(0)?.diff_id().hex()))?;
    known.extend(names(db, "SELECT diff_id, variant FROM layer_indexes", |row| {
        Ok(index_name(&row.get::<_, Bytes32>(0)?.diff_id(), row.get_ref(1)?.as_str()?))
    })?);
    Ok(known)
}

/// Names in `blobs/` that have a record.
pub(crate) fn known_blobs(db: &Db) -> Result<HashSet<String>, StoreError> {
    names(db, "SELECT digest FROM blobs", |row| Ok(row.get::<_, Bytes32>(0)?.digest().hex()))
}

/// Names in `overlay2/` that have a record.
pub(crate) fn known_mounts(db: &Db) -> Result<HashSet<String>, StoreError> {
    let mut known = names(db, "SELECT diff_id, variant FROM layer_indexes", |row| {
        Ok(mount_name(&row.get::<_, Bytes32>(0)?.diff_id(), row.get_ref(1)?.as_str()?))
    })?;
    // Links to the directories, not one of them.
    known.insert("l".to_owned());
    Ok(known)
}

/// What a query of one column gives.
pub(crate) fn names(
    db: &Db,
    query: &str,
    name: impl Fn(&rusqlite::Row) -> rusqlite::Result<String>,
) -> Result<HashSet<String>, StoreError> {
    db.read(|tx| Ok(tx.prepare_cached(query)?.query_map([], |row| name(row))?.collect::<Result<_, _>>()?))
}
