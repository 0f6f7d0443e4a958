//! The manifest that a name stands for. Two names of one image may have been built with different annotations, or pulled as
//! different manifests: the image's ID, the digest of its config, tells nothing of that.
use super::Images;
use crate::StoreError;
use crate::db::Bytes32;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strata_oci::{Digest, ImageId, Reference};

/// Which manifest an image is sent or saved under when it is called by a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NamedManifest {
    /// This one, with which it was pulled; its bytes are a blob.
    Pulled(Digest),
    /// One that has these annotations and no others: the image was built or loaded with them. Manifests of builds are made
    /// when they are sent.
    Annotated(BTreeMap<String, String>),
    /// Nothing was said: any that is known.
    #[default]
    Any,
}

impl Images {
    /// The manifest that a tag stands for, if it points at this image; else, and without a tag, that of the image itself.
    pub fn named_manifest(&self, id: &ImageId, tag: Option<&Reference>) -> Result<NamedManifest, StoreError> {
        self.core.db.read(|tx| {
            let named = match tag {
                Some(tag) => {
                    let mut tags =
                        tx.prepare_cached("SELECT manifest FROM tags WHERE reference = ?1 AND image = ?2")?;
                    tags.query_row(params![tag.to_string(), Bytes32::from(id)], |row| row.get(0))
                        .optional()?
                }
                None => None,
            };
            named.map_or_else(|| of_image(tx, id), Ok)
        })
    }
}

/// The manifest of an image that is called by its ID: that of the build or archive it came from last.
pub(super) fn of_image(tx: &Transaction, id: &ImageId) -> Result<NamedManifest, StoreError> {
    let mut images = tx.prepare_cached("SELECT manifest FROM images WHERE id = ?1")?;
    Ok(images.query_row([Bytes32::from(id)], |row| row.get(0)).optional()?.unwrap_or_default())
}

/// Gives an image a manifest, in place of the one it had.
pub(super) fn record(tx: &Transaction, id: &ImageId, manifest: &NamedManifest) -> Result<(), StoreError> {
    let mut images = tx.prepare_cached("UPDATE images SET manifest = ?2 WHERE id = ?1")?;
    images.execute(params![Bytes32::from(id), manifest])?;
    Ok(())
}

/// JSON: a string, an object, or nothing.
impl ToSql for NamedManifest {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Any => ToSqlOutput::Borrowed(ValueRef::Null),
            told => serde_json::to_string(told).expect("strings always serialise").into(),
        })
    }
}

impl FromSql for NamedManifest {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Null => Ok(Self::Any),
            told => serde_json::from_str(told.as_str()?).map_err(|error| FromSqlError::Other(error.into())),
        }
    }
}
