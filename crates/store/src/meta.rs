//! `meta.json`: which format the store has.
use crate::StoreError;
use crate::root::Root;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::io::Write as _;

/// Format version of the layout and of the database's meaning.
const VERSION: u64 = 1;
/// Features that this program can read.
const FEATURES: [&str; 1] = ["erofs-index-1"];

#[derive(Serialize, Deserialize)]
struct Meta {
    version: u64,
    #[serde(default)]
    features: Vec<String>,
}

/// True if the store exists, false if it is still to be made; refuses what this program does not know.
pub(crate) fn check(root: &Root) -> Result<bool, StoreError> {
    let path = root.meta();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let meta: Meta = serde_json::from_slice(&text)
        .map_err(|error| StoreError::Meta { path: path.clone(), what: error.to_string() })?;
    let too_new = |what| StoreError::TooNew { root: root.root.clone(), what };
    if meta.version != VERSION {
        return Err(too_new(format!("format version {} (known: {VERSION})", meta.version)));
    }
    match meta.features.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
        Some(feature) => Err(too_new(format!("feature {feature:?}"))),
        None => Ok(true),
    }
}

/// Writes the description of a new store; the last step of making one. The caller holds the root locked.
pub(crate) fn create(root: &Root) -> Result<(), StoreError> {
    let meta = Meta { version: VERSION, features: FEATURES.map(str::to_owned).to_vec() };
    let text = serde_json::to_vec(&meta).expect("two plain fields always serialise");
    // One name is enough: whoever makes the store holds it alone.
    let temporary = root.root.join("meta.json.new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&temporary, root.meta())?;
    crate::root::sync_directory(&root.root)
}
