//! A cache inside an image: BuildKit's records in the image's config, of layers that are the image's own.
use crate::{Annotations, Config, ConfigError, Found, Layer, Record, Steps};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use strata_oci::{Descriptor, ImageConfig};

/// The key of an image config that holds BuildKit's records: a list, as JSON, in base64.
pub const RECORDS: &str = "moby.buildkit.cache.v0";
/// The key of an image config that holds what only strata knows of its records.
const STEPS: &str = "strata.cache.v1";

/// The cache of an image, if it carries one. Its layers are the image's, each on the one before.
///
/// # Errors
/// Records that cannot be read, or that speak of other layers.
pub fn read(image: &ImageConfig, blobs: &[Descriptor]) -> Result<Option<Found>, ConfigError> {
    let Some(Value::String(encoded)) = image.extra.get(RECORDS) else { return Ok(None) };
    let decoded = BASE64_STANDARD.decode(encoded).map_err(|error| ConfigError::Base64(error.to_string()))?;
    let records: Vec<Record> = serde_json::from_slice(&decoded)?;
    let diff_ids = &image.rootfs.diff_ids;
    if diff_ids.len() != blobs.len() {
        return Err(ConfigError::Layers { manifest: blobs.len(), config: diff_ids.len() });
    }
    let made = image.history.iter().filter(|row| !row.empty_layer).map(|row| row.created);
    let made = made.chain(std::iter::repeat(None));
    let layers =
        blobs.iter().zip(diff_ids).zip(made).enumerate().map(|(index, ((blob, diff_id), created_at))| {
            let annotations = Annotations {
                media_type: blob.media_type.clone(),
                diff_id: Some(*diff_id),
                size: blob.size,
                created_at,
            };
            let parent = i64::try_from(index).unwrap_or(i64::MAX) - 1;
            Layer { blob: blob.digest, parent, annotations: Some(annotations) }
        });
    let steps = image.extra.get(STEPS).and_then(|steps| serde_json::from_value::<Steps>(steps.clone()).ok());
    let steps = steps.filter(|steps| steps.version == Steps::VERSION);
    let config = Config { layers: layers.collect(), records, steps };
    config.check()?;
    let blobs = blobs.iter().map(|blob| (blob.digest, blob.clone())).collect();
    Ok(Some(Found { config, blobs, in_image: true }))
}

/// Puts the records of a config into an image. Its layers must be the image's, in their order.
pub fn write(image: &mut ImageConfig, config: &Config) {
    let records = serde_json::to_vec(&config.records).expect("records have a JSON form");
    image.extra.insert(RECORDS.to_owned(), Value::String(BASE64_STANDARD.encode(records)));
    if let Some(steps) = &config.steps {
        let steps = serde_json::to_value(steps).expect("steps have a JSON form");
        image.extra.insert(STEPS.to_owned(), steps);
    }
}

#[cfg(test)]
mod tests;
