//! What a typed name means (`spec/engine.md`, section 4, "IDs").
use super::tags::{repository, tagged};
use super::{Images, exists};
use crate::StoreError;
use crate::db::Bytes32;
use rusqlite::{OptionalExtension as _, Transaction, params};
use strata_oci::{Digest, ImageId, Reference};

/// How an image was named: removing by reference and by ID are different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// By ID or a prefix of one.
    Id(ImageId),
    /// By tag or repository digest.
    Reference(ImageId, Reference),
}

impl Named {
    pub(super) fn id(&self) -> ImageId {
        match self {
            Self::Id(id) | Self::Reference(id, _) => *id,
        }
    }
}

impl Images {
    /// The image that `text` names: `sha256:<hex>` or 64 digits, then a reference, then a unique prefix of an ID.
    pub fn resolve(&self, text: &str) -> Result<ImageId, StoreError> {
        self.core.db.read(|tx| Ok(named(tx, text)?.id()))
    }

    /// The image a reference points at, without trying IDs.
    pub fn lookup(&self, reference: &Reference) -> Result<Option<ImageId>, StoreError> {
        self.core.db.read(|tx| by_reference(tx, reference))
    }
}

pub(super) fn named(tx: &Transaction, text: &str) -> Result<Named, StoreError> {
    let missing = || StoreError::NoSuchImage(text.to_owned());
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hexadecimal =
        (1..=64).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hexadecimal && digits.len() == 64 {
        let id = format!("sha256:{digits}").parse().map_err(|_| missing())?;
        return if exists(tx, &id)? { Ok(Named::Id(id)) } else { Err(missing()) };
    }
    let only_id = hexadecimal && digits.len() < text.len();
    if !only_id {
        match text.parse::<Reference>() {
            Ok(reference) => {
                if let Some(id) = by_reference(tx, &reference)? {
                    return Ok(Named::Reference(id, reference));
                }
            }
            Err(source) if !hexadecimal => {
                return Err(StoreError::Reference { text: text.to_owned(), source });
            }
            Err(_) => {}
        }
    }
    if !hexadecimal {
        return Err(missing());
    }
    by_prefix(tx, digits, text)?.map(Named::Id).ok_or_else(missing)
}

fn by_reference(tx: &Transaction, reference: &Reference) -> Result<Option<ImageId>, StoreError> {
    let Some(digest) = reference.digest() else { return tagged(tx, &reference.to_string()) };
    let repository = repository(reference);
    let mut statement =
        tx.prepare_cached("SELECT image FROM repo_digests WHERE repository = ?1 AND digest = ?2")?;
    let row = params![repository, Bytes32::from(digest)];
    let image: Option<Bytes32> = statement.query_row(row, |row| row.get(0)).optional()?;
    Ok(image.map(Bytes32::image_id))
}

fn by_prefix(tx: &Transaction, digits: &str, text: &str) -> Result<Option<ImageId>, StoreError> {
    let bound = |fill: &str| -> Digest {
        let padded = format!("sha256:{digits}{}", fill.repeat(64 - digits.len()));
        padded.parse().expect("hexadecimal digits padded to 64")
    };
    let mut statement = tx.prepare_cached("SELECT id FROM images WHERE id BETWEEN ?1 AND ?2 LIMIT 2")?;
    let range = [Bytes32::from(&bound("0")), Bytes32::from(&bound("f"))];
    let found: Vec<Bytes32> = statement.query_map(range, |row| row.get(0))?.collect::<Result<_, _>>()?;
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.image_id())),
        _ => Err(StoreError::AmbiguousImage(text.to_owned())),
    }
}
