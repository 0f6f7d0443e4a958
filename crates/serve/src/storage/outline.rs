//! What a registry has to know of a manifest: its kind, what it refers to, and what refers to it.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use strata_oci::{Digest, media_type};

/// A manifest as far as a registry reads it.
#[derive(Debug)]
pub(crate) struct Outline {
    /// Its media type: what the client said, or what the document says itself.
    pub(crate) media_type: String,
    /// The blobs that it needs.
    pub(crate) blobs: Vec<Digest>,
    /// The manifests that it needs.
    pub(crate) manifests: Vec<Digest>,
    /// The manifest that it tells something about.
    pub(crate) subject: Option<Digest>,
    artifact_type: Option<String>,
    annotations: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u32>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Pointer>,
    layers: Option<Vec<Pointer>>,
    manifests: Option<Vec<Pointer>>,
    subject: Option<Pointer>,
    annotations: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pointer {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl Pointer {
    /// A layer that its maker does not let others hand out: it stays where its URLs point.
    fn is_elsewhere(&self) -> bool {
        let kept_away = media_type::is_nondistributable(&self.media_type);
        kept_away && self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
    }
}

impl Outline {
    /// Reads a manifest or an index. `declared` is the request's content type without parameters.
    pub(crate) fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if document.schema_version != Some(2) {
            return Err("schemaVersion must be 2".to_owned());
        }
        let media_type = match (declared, &document.media_type) {
            (Some(declared), Some(own)) if declared != own => {
                return Err(format!("it was sent as {declared}, but says of itself that it is {own}"));
            }
            (Some(declared), _) => declared.to_owned(),
            (None, Some(own)) => own.clone(),
            (None, None) if document.manifests.is_some() => media_type::OCI_INDEX.to_owned(),
            (None, None) => media_type::OCI_MANIFEST.to_owned(),
        };
        match media_type.as_str() {
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => Self::image(media_type, document),
            media_type::OCI_INDEX | media_type::DOCKER_INDEX => Self::index(media_type, document),
            other => Err(format!("the media type {other} is none of a manifest or an index")),
        }
    }

    fn image(media_type: String, document: Document) -> Result<Self, String> {
        if document.manifests.is_some() {
            return Err(format!("a list of manifests has no place in {media_type}"));
        }
        let Some(config) = document.config else { return Err("config is missing".to_owned()) };
        let layers = document.layers.unwrap_or_default();
        let here = layers.iter().filter(|layer| !layer.is_elsewhere());
        let blobs = std::iter::once(config.digest).chain(here.map(|layer| layer.digest)).collect();
        let artifact_type = document.artifact_type.filter(|text| !text.is_empty());
        Ok(Self {
            media_type,
            blobs,
            manifests: Vec::new(),
            subject: document.subject.map(|subject| subject.digest),
            artifact_type: artifact_type.or(Some(config.media_type)),
            annotations: document.annotations.unwrap_or_default(),
        })
    }

    fn index(media_type: String, document: Document) -> Result<Self, String> {
        if document.config.is_some() || document.layers.is_some() {
            return Err(format!("config and layers have no place in {media_type}"));
        }
        let Some(manifests) = document.manifests else { return Err("manifests is missing".to_owned()) };
        Ok(Self {
            media_type,
            blobs: Vec::new(),
            manifests: manifests.into_iter().map(|manifest| manifest.digest).collect(),
            subject: document.subject.map(|subject| subject.digest),
            artifact_type: document.artifact_type.filter(|text| !text.is_empty()),
            annotations: document.annotations.unwrap_or_default(),
        })
    }

    /// The entry of the referrers API for this manifest.
    pub(crate) fn descriptor(&self, digest: &Digest, size: usize) -> Value {
        let mut descriptor = json!({ "mediaType": self.media_type, "digest": digest, "size": size });
        if let Some(artifact_type) = &self.artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        if !self.annotations.is_empty() {
            descriptor["annotations"] = Value::Object(self.annotations.clone());
        }
        descriptor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn parse(document: &Value, declared: Option<&str>) -> Result<Outline, String> {
        Outline::parse(document.to_string().as_bytes(), declared)
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2,
            "config": { "mediaType": "application/x-config", "digest": digest("c"), "size": 1 },
            "layers": [
                { "mediaType": "application/x-layer", "digest": digest("l"), "size": 1 },
                { "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
                  "digest": digest("far"), "size": 1, "urls": ["https://example.com/far"] },
            ],
        })
    }

    #[test]
    fn images_and_indexes_are_told_apart() {
        let outline = parse(&image(), None).expect("an image");
        assert_eq!(outline.media_type, media_type::OCI_MANIFEST);
        assert_eq!(outline.blobs, [digest("c"), digest("l")], "what is elsewhere need not be here");
        assert_eq!(outline.descriptor(&digest("m"), 7)["artifactType"], "application/x-config");
        let index = json!({ "schemaVersion": 2, "manifests": [{ "digest": digest("m"), "size": 7 }] });
        let outline = parse(&index, None).expect("an index");
        assert_eq!((outline.media_type.as_str(), outline.manifests.len()), (media_type::OCI_INDEX, 1));
        assert!(outline.descriptor(&digest("i"), 7).get("artifactType").is_none());
    }

    #[test]
    fn the_declared_type_decides_and_must_not_contradict() {
        let docker = parse(&image(), Some(media_type::DOCKER_MANIFEST)).expect("no contradiction");
        assert_eq!(docker.media_type, media_type::DOCKER_MANIFEST);
        let mut own = image();
        own["mediaType"] = json!(media_type::OCI_MANIFEST);
        assert!(parse(&own, Some(media_type::OCI_MANIFEST)).is_ok());
        assert!(parse(&own, Some(media_type::DOCKER_MANIFEST)).is_err());
        assert!(parse(&image(), Some(media_type::OCI_INDEX)).is_err());
        assert!(parse(&image(), Some("text/plain")).is_err());
    }

    #[test]
    fn what_is_no_manifest() {
        for text in ["", "[]", "{}", "{\"schemaVersion\":1}", "{\"schemaVersion\":2}", "\u{0}", "{"] {
            assert!(Outline::parse(text.as_bytes(), None).is_err(), "{text}");
        }
        let mut bad = image();
        bad["config"]["digest"] = json!("sha256:../../x");
        assert!(parse(&bad, None).is_err());
    }
}
