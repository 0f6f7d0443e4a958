//! Tables and their migrations. `user_version` is the number of migrations applied.
use crate::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Migration N takes `user_version` from N to N + 1. Never edit one that was released; add another.
///
/// Tables whose rows can be long (labels, configs, listings of a context) have row numbers: in a table without them SQLite
/// reads a row to its end to compare its key, and the listing of 20,000 files lies on the way of every look-up.
const MIGRATIONS: [&str; 6] = ["
CREATE TABLE layers(
    diff_id BLOB PRIMARY KEY, tar_length INTEGER NOT NULL, content_size INTEGER NOT NULL, entries INTEGER NOT NULL,
    depends_on_parents INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE layer_indexes(
    diff_id BLOB NOT NULL REFERENCES layers ON DELETE CASCADE, variant TEXT NOT NULL, length INTEGER NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY(diff_id, variant)) WITHOUT ROWID;

CREATE TABLE blobs(
    digest BLOB PRIMARY KEY, length INTEGER NOT NULL, kind TEXT NOT NULL, last_used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE remote_blobs(
    diff_id BLOB NOT NULL, digest BLOB NOT NULL, length INTEGER NOT NULL, media_type TEXT NOT NULL,
    repository TEXT NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY(diff_id, digest, repository)) WITHOUT ROWID;

CREATE TABLE images(
    id BLOB PRIMARY KEY, parent BLOB, created INTEGER, added INTEGER NOT NULL, last_tagged INTEGER,
    last_used INTEGER NOT NULL, labels TEXT NOT NULL);
CREATE INDEX images_by_parent ON images(parent) WHERE parent IS NOT NULL;
CREATE TABLE image_layers(
    image BLOB NOT NULL REFERENCES images ON DELETE CASCADE, position INTEGER NOT NULL,
    diff_id BLOB NOT NULL REFERENCES layers, PRIMARY KEY(image, position)) WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers(diff_id);
CREATE TABLE tags(
    reference TEXT PRIMARY KEY, repository TEXT NOT NULL, image BLOB NOT NULL REFERENCES images) WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags(image);
CREATE TABLE repo_digests(
    repository TEXT NOT NULL, digest BLOB NOT NULL, image BLOB NOT NULL REFERENCES images,
    PRIMARY KEY(repository, digest)) WITHOUT ROWID;
CREATE INDEX repo_digests_by_image ON repo_digests(image);

CREATE TABLE cache(
    key BLOB PRIMARY KEY, slot TEXT NOT NULL, value TEXT NOT NULL, created INTEGER NOT NULL,
    last_used INTEGER NOT NULL, uses INTEGER NOT NULL);
CREATE INDEX cache_by_slot ON cache(slot, last_used);
CREATE TABLE cache_layers(
    key BLOB NOT NULL REFERENCES cache ON DELETE CASCADE, diff_id BLOB NOT NULL REFERENCES layers,
    PRIMARY KEY(key, diff_id)) WITHOUT ROWID;
CREATE INDEX cache_layers_by_layer ON cache_layers(diff_id);

CREATE TABLE containers(
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image BLOB, config TEXT NOT NULL, created INTEGER NOT NULL,
    state TEXT NOT NULL, alive INTEGER NOT NULL DEFAULT 0);
CREATE INDEX containers_by_image ON containers(image);
CREATE INDEX containers_alive ON containers(alive) WHERE alive;
CREATE TABLE container_layers(
    container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE, position INTEGER NOT NULL,
    diff_id BLOB NOT NULL REFERENCES layers, PRIMARY KEY(container, position)) WITHOUT ROWID;
CREATE INDEX container_layers_by_layer ON container_layers(diff_id);
CREATE TABLE container_volumes(
    container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE, volume TEXT NOT NULL REFERENCES volumes,
    PRIMARY KEY(container, volume)) WITHOUT ROWID;
CREATE INDEX container_volumes_by_volume ON container_volumes(volume);
CREATE TABLE addresses(
    network TEXT NOT NULL, address TEXT NOT NULL, container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    PRIMARY KEY(network, address)) WITHOUT ROWID;
CREATE INDEX addresses_by_container ON addresses(container);
CREATE TABLE ports(
    protocol TEXT NOT NULL, port INTEGER NOT NULL, address TEXT NOT NULL,
    container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    PRIMARY KEY(protocol, port, address)) WITHOUT ROWID;
CREATE INDEX ports_by_container ON ports(container);

CREATE TABLE volumes(
    name TEXT PRIMARY KEY, anonymous INTEGER NOT NULL, labels TEXT NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE leases(id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE lease_layers(
    lease TEXT NOT NULL REFERENCES leases ON DELETE CASCADE, diff_id BLOB NOT NULL,
    PRIMARY KEY(lease, diff_id)) WITHOUT ROWID;
CREATE TABLE lease_blobs(
    lease TEXT NOT NULL REFERENCES leases ON DELETE CASCADE, digest BLOB NOT NULL,
    PRIMARY KEY(lease, digest)) WITHOUT ROWID;

CREATE TABLE doomed(path TEXT PRIMARY KEY) WITHOUT ROWID;
", "
CREATE TABLE manifests(
    image BLOB NOT NULL REFERENCES images ON DELETE CASCADE, digest BLOB NOT NULL, repository TEXT NOT NULL,
    seen INTEGER NOT NULL, PRIMARY KEY(image, digest, repository)) WITHOUT ROWID;
CREATE INDEX manifests_by_digest ON manifests(digest);
CREATE TABLE resolved(
    reference TEXT NOT NULL, platform TEXT NOT NULL, config BLOB NOT NULL, manifest BLOB NOT NULL,
    digest BLOB NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY(reference, platform)) WITHOUT ROWID;
CREATE INDEX resolved_by_config ON resolved(config);
CREATE INDEX resolved_by_manifest ON resolved(manifest);
CREATE TABLE compressed(
    diff_id BLOB NOT NULL REFERENCES layers ON DELETE CASCADE, recipe TEXT NOT NULL, digest BLOB NOT NULL,
    length INTEGER NOT NULL, PRIMARY KEY(diff_id, recipe)) WITHOUT ROWID;
CREATE INDEX remote_blobs_by_digest ON remote_blobs(digest);
", "
CREATE INDEX cache_by_stage ON cache(substr(slot, instr(slot, char(10)) + 1), last_used);
", "
CREATE TABLE annotations(
    image BLOB NOT NULL REFERENCES images ON DELETE CASCADE, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY(image, name)) WITHOUT ROWID;
", "
DROP TABLE addresses;
DROP TABLE ports;
", "
ALTER TABLE images ADD COLUMN manifest TEXT;
ALTER TABLE tags ADD COLUMN manifest TEXT;
UPDATE images SET manifest = (
    SELECT json_group_object(name, value) FROM annotations WHERE image = images.id)
    WHERE id IN (SELECT image FROM annotations);
UPDATE tags SET manifest = (SELECT manifest FROM images WHERE id = tags.image);
DROP TABLE annotations;
"];

pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).expect("a handful");
    let version = user_version(connection)?;
    if version == known {
        return Ok(());
    }
    if version == 0 {
        // Written into the file's header: later opens find it there. Not possible inside a transaction.
        connection.execute_batch("PRAGMA journal_mode = WAL")?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again: another process may have migrated while this one waited.
    let version = user_version(&transaction)?;
    if !(0..=known).contains(&version) {
        let root = path.parent().unwrap_or(path).to_owned();
        return Err(StoreError::TooNew {
            root,
            what: format!("database version {version} (known: {known})"),
        });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).expect("checked to be in 0..=known")) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    // A new or changed database stands on its own; only what comes later is in the log.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

fn user_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Annotations that an earlier version kept with an image are those of its names.
    #[test]
    fn annotations_go_from_images_to_their_names() {
        let mut connection = Connection::open_in_memory().unwrap();
        MIGRATIONS[..5].iter().for_each(|migration| connection.execute_batch(migration).unwrap());
        connection.pragma_update(None, "user_version", 5).unwrap();
        let rows = "
            INSERT INTO images VALUES(x'01', NULL, 0, 0, NULL, 0, '{}'), (x'02', NULL, 0, 0, NULL, 0, '{}');
            INSERT INTO tags VALUES('h/a:1', 'h/a', x'01'), ('h/a:2', 'h/a', x'01'), ('h/b:1', 'h/b', x'02');
            INSERT INTO annotations VALUES(x'01', 'k', 'v\"'), (x'01', 'l', 'w');";
        connection.execute_batch(rows).unwrap();
        migrate(&mut connection, Path::new("nowhere")).unwrap();
        let told = |query: &str| -> Vec<Option<String>> {
            let mut statement = connection.prepare(query).unwrap();
            let rows = statement.query_map([], |row| row.get(0)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        let both = Some(r#"{"k":"v\"","l":"w"}"#.to_owned());
        assert_eq!(told("SELECT manifest FROM images ORDER BY id"), [both.clone(), None]);
        assert_eq!(told("SELECT manifest FROM tags ORDER BY reference"), [both.clone(), both, None]);
    }
}
