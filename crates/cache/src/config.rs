//! BuildKit's cache config, version 0, as it stands in registries, directories and object stores.
use crate::Steps;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use strata_oci::{Descriptor, DiffId, Digest, media_type};

/// Media type of a config.
pub const CONFIG_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";

/// The longest config that is read, bytes. One of a thousand steps has less than two million.
pub const CONFIG_LIMIT: u64 = 32 << 20;

/// The annotation of a layer's descriptor that names its uncompressed form.
pub const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// The annotation of a layer's descriptor that says when it was made.
pub const CREATED: &str = "buildkit/createdat";

/// All that a place knows: which steps gave which layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Blobs, each with what it stands on.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// Steps.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Record>,
    /// What only strata knows of its own records.
    #[serde(rename = "strata", deserialize_with = "readable", skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
}

/// A layer on its parent. A blob that stands on two parents is two layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The compressed layer.
    pub blob: Digest,
    /// Index of the layer below; -1 for the lowest.
    #[serde(default)]
    pub parent: i64,
    /// What a manifest would say of the blob. Object stores have none; we write them everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// What is known of a layer's blob.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Annotations {
    /// Media type of the blob.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// Name of the uncompressed layer.
    #[serde(rename = "diffID", skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<DiffId>,
    /// Bytes of the blob.
    pub size: u64,
    /// When the layer was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// A step: what it is called, what went in, what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the step's operation; of our own records the step's key, as if it were a SHA-256.
    pub digest: Digest,
    /// For each input of the step, the records that may stand there.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Vec<Link>>,
    /// Results that are a layer with all below it.
    #[serde(
        rename = "layers",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub results: Vec<Outcome>,
    /// Results whose layers are listed one by one.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<Chain>,
}

/// A record that another one stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Digest of the part of the input that is taken, where it is not all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Index of the record.
    pub link: usize,
}

/// A result: a layer with all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Index of the top layer.
    pub layer: usize,
    /// When it was made.
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// A result: layers, bottom first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Indexes of layers; here their parents do not count.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<usize>,
    /// When it was made.
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// Why a config cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// More bytes than are read.
    #[error("the cache config has more than {CONFIG_LIMIT} bytes")]
    TooLong,
    /// Not the JSON that it should be.
    #[error("the cache config cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Some other JSON, or none.
    #[error("the cache config cannot be read: it is not a JSON object")]
    NotAnObject,
    /// Records of an image that are not in base64.
    #[error("the cache records of the image cannot be read: {0}")]
    Base64(String),
    /// An image whose parts contradict each other.
    #[error("the image is damaged: its manifest has {manifest} layers, its config {config}")]
    Layers {
        /// By the manifest.
        manifest: usize,
        /// By the config.
        config: usize,
    },
    /// An index that leads nowhere.
    #[error("the cache config is damaged: {what} {index} names {kind} {target}, which does not exist")]
    Dangling {
        /// `layer`, `record`, `step`.
        what: &'static str,
        /// Which.
        index: usize,
        /// What it names.
        kind: &'static str,
        /// Which.
        target: i64,
    },
    /// Something that stands on itself.
    #[error("the cache config is damaged: {what} {index} stands on itself")]
    Loop {
        /// `layer` or `record`.
        what: &'static str,
        /// Which.
        index: usize,
    },
}

impl Config {
    /// Reads a config, and checks that every index in it leads somewhere and that nothing loops.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() as u64 > CONFIG_LIMIT {
            return Err(ConfigError::TooLong);
        }
        // serde would take a list for the fields in their order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(ConfigError::NotAnObject);
        }
        let config: Self = serde_json::from_slice(bytes)?;
        config.check()?;
        Ok(config)
    }

    /// As it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and lists have a JSON form")
    }

    /// Checks indexes and looks for loops; [`Self::parse`] has done it.
    ///
    /// # Errors
    /// [`ConfigError::Dangling`], [`ConfigError::Loop`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_layers()?;
        self.check_records()?;
        self.steps.as_ref().map_or(Ok(()), |steps| steps.check(self.layers.len(), self.records.len()))
    }

    fn check_layers(&self) -> Result<(), ConfigError> {
        for (index, layer) in self.layers.iter().enumerate() {
            let exists = layer.parent == -1
                || usize::try_from(layer.parent).is_ok_and(|parent| parent < self.layers.len());
            if !exists {
                let (what, kind, target) = ("layer", "layer", layer.parent);
                return Err(ConfigError::Dangling { what, index, kind, target });
            }
        }
        let parent = |index: usize| usize::try_from(self.layers[index].parent).into_iter().collect();
        acyclic(self.layers.len(), "layer", &parent)
    }

    fn check_records(&self) -> Result<(), ConfigError> {
        for (index, record) in self.records.iter().enumerate() {
            let dangling = |kind, target: usize| {
                let target = i64::try_from(target).unwrap_or(i64::MAX);
                ConfigError::Dangling { what: "record", index, kind, target }
            };
            let mut links = record.inputs.iter().flatten().map(|input| input.link);
            if let Some(link) = links.find(|link| *link >= self.records.len()) {
                return Err(dangling("record", link));
            }
            let results = record.results.iter().map(|result| result.layer);
            let chained = record.chains.iter().flat_map(|chain| chain.layers.iter().copied());
            if let Some(layer) = results.chain(chained).find(|layer| *layer >= self.layers.len()) {
                return Err(dangling("layer", layer));
            }
        }
        let links = |index: usize| {
            let inputs = self.records[index].inputs.iter().flatten();
            inputs.map(|input| input.link).collect()
        };
        acyclic(self.records.len(), "record", &links)
    }

    /// A layer with all below it, bottom first, as indexes.
    pub fn stack(&self, top: usize) -> Vec<usize> {
        let below = |index: &usize| usize::try_from(self.layers[*index].parent).ok();
        // A config that was checked does not loop; one that was put together by hand ends here.
        let mut stack: Vec<usize> = std::iter::successors(Some(top), below).take(self.layers.len()).collect();
        stack.reverse();
        stack
    }

    /// The blobs, as far as their annotations tell of them: where there is no manifest, this is what is there.
    pub fn blobs(&self) -> BTreeMap<Digest, Descriptor> {
        self.layers.iter().filter_map(|layer| Some((layer.blob, layer.descriptor()?))).collect()
    }
}

impl Layer {
    /// The blob, as a manifest names it, if the annotations say enough.
    pub fn descriptor(&self) -> Option<Descriptor> {
        let annotations = self.annotations.as_ref()?;
        let mut descriptor = Descriptor::new(annotations.media_type.clone(), self.blob, annotations.size);
        if descriptor.media_type.is_empty() {
            descriptor.media_type = media_type::OCI_LAYER_GZIP.to_owned();
        }
        let mut note = |name: &str, value: Option<String>| {
            descriptor.annotations.extend(value.map(|value| (name.to_owned(), value)));
        };
        note(UNCOMPRESSED, annotations.diff_id.map(|diff_id| diff_id.to_string()));
        note(CREATED, annotations.created_at.map(|time| time.to_string()));
        Some(descriptor)
    }
}

/// Looks for a loop among `count` things, each of which leads to others.
fn acyclic(
    count: usize,
    what: &'static str,
    leads_to: &dyn Fn(usize) -> Vec<usize>,
) -> Result<(), ConfigError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Not,
        OnTheWay,
        Done,
    }
    let mut seen = vec![Seen::Not; count];
    for start in 0..count {
        if seen[start] != Seen::Not {
            continue;
        }
        seen[start] = Seen::OnTheWay;
        let mut way = vec![(start, leads_to(start))];
        while let Some((index, left)) = way.last_mut() {
            let index = *index;
            match left.pop() {
                None => {
                    seen[index] = Seen::Done;
                    way.pop();
                }
                Some(next) => match seen[next] {
                    Seen::OnTheWay => return Err(ConfigError::Loop { what, index: next }),
                    Seen::Done => {}
                    Seen::Not => {
                        seen[next] = Seen::OnTheWay;
                        way.push((next, leads_to(next)));
                    }
                },
            }
        }
    }
    Ok(())
}

/// Go writes a nil slice as `null`.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}

/// A part of ours that a later version wrote is as good as none; the rest of the config is still BuildKit's.
fn readable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Steps>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(from)?;
    let steps = value.and_then(|value| serde_json::from_value::<Steps>(value).ok());
    Ok(steps.filter(|steps| steps.version == Steps::VERSION))
}

#[cfg(test)]
mod tests;
