//! `image inspect --remote`: what an image's documents say, without fetching the image.

use crate::commands::place::{place, with_copier};
use crate::failure::Failure;
use crate::global::Global;
use serde_json::{Map, Value, json};
use strata_engine::copy::remote::Seen;
use strata_engine::copy::{Place, PlatformImage};
use strata_oci::Platform;

/// The document: the fields of `image inspect` that need no store, and what only the registry knows.
pub(super) fn image(global: &Global, name: &str, platform: Option<&Platform>) -> Result<Value, Failure> {
    let place = place(name)?;
    let seen = with_copier(global, &|_| {}, |copier| copier.look(&place, platform))?;
    let mut document = Map::new();
    let mut set = |key: &str, value: Value| drop(document.insert(key.to_owned(), value));
    let (tags, digests) = names(&place, &seen);
    set("Id", json!(seen.manifest.config.digest));
    set("RepoTags", json!(tags));
    set("RepoDigests", json!(digests));
    set("Digest", json!(seen.root.digest));
    set("MediaType", json!(seen.root.media_type));
    if let Some(config) = &seen.config {
        let value = serde_json::to_value(config.value()).map_err(Failure::new)?;
        set("Created", value["created"].clone());
        set("Author", json!(config.value().author.clone().unwrap_or_default()));
        set("Architecture", value["architecture"].clone());
        if let Some(variant) = value.get("variant") {
            set("Variant", variant.clone());
        }
        set("Os", value["os"].clone());
        set("Config", value["config"].clone());
        set("RootFS", json!({ "Type": "layers", "Layers": config.value().rootfs.diff_ids }));
        set("History", value["history"].clone());
    }
    let layers = &seen.manifest.layers;
    set("Size", json!(layers.iter().map(|layer| layer.size).sum::<u64>()));
    let rows = layers
        .iter()
        .map(|layer| json!({ "MediaType": layer.media_type, "Digest": layer.digest, "Size": layer.size }));
    set("Layers", rows.collect());
    set("Manifest", json!({ "MediaType": seen.document.media_type, "Digest": seen.document.digest }));
    set("Platforms", seen.platforms.iter().map(row).collect());
    set("Annotations", json!(seen.manifest.annotations));
    Ok(Value::Object(document))
}

fn row(image: &PlatformImage) -> Value {
    json!({
        "Platform": image.platform.as_ref().map(ToString::to_string).unwrap_or_default(),
        "MediaType": image.media_type,
        "Digest": image.digest,
        "Size": image.size,
    })
}

fn names(place: &Place, seen: &Seen) -> (Vec<String>, Vec<String>) {
    match place {
        Place::Registry(name) | Place::Local(name) => {
            let tag = name.tag().map(|tag| format!("{}:{tag}", name.familiar_name()));
            (tag.into_iter().collect(), vec![format!("{}@{}", name.familiar_name(), seen.root.digest)])
        }
        Place::Layout { .. } | Place::Archive { .. } => (Vec::new(), Vec::new()),
    }
}
