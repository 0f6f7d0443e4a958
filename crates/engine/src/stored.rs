//! What the store keeps of a container besides its state: the engine's JSON.
use crate::EngineError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strata_runtime::net::{PortBinding, PublishSpec};
use strata_runtime::spec::ContainerSpec;
use strata_store::ContainerRecord;

/// The configuration of a container, and what starting it added.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Image as it was named.
    pub(crate) image: String,
    /// Image ID.
    pub(crate) image_id: String,
    /// Everything the runtime needs but the root file system and the network namespace.
    pub(crate) spec: ContainerSpec,
    /// Labels: the image's and `-l`.
    pub(crate) labels: BTreeMap<String, String>,
    /// `bridge`, `host` or `none`.
    pub(crate) network: String,
    /// What is to be published.
    pub(crate) publish: Vec<PublishSpec>,
    /// Ports the image or the user exposes: `80/tcp`.
    pub(crate) exposed: Vec<String>,
    /// `--add-host`.
    pub(crate) add_hosts: Vec<(String, String)>,
    /// `--dns`.
    pub(crate) dns: Vec<String>,
    /// Flags that only `inspect` asks for as they were given.
    #[serde(default)]
    pub(crate) asked: Asked,
    /// For `inspect`.
    pub(crate) mounts: Vec<ShownMount>,
    /// Entry point, as `inspect` shows it.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// Command, as `inspect` shows it.
    pub(crate) command: Option<Vec<String>>,
    /// Signal of `stop`.
    pub(crate) stop_signal: Option<String>,
    /// Seconds of `stop`.
    pub(crate) stop_timeout: Option<u32>,
    /// `--rm`.
    pub(crate) remove: bool,
    /// `-i`.
    pub(crate) interactive: bool,
    /// Where it is on the bridge, once it runs.
    pub(crate) endpoint: Option<StoredEndpoint>,
}

/// What lists show of it. To read the rest of a thousand would take half of the time of listing them.
#[derive(Deserialize)]
pub(crate) struct Listed {
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) spec: ListedSpec,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) network: String,
    pub(crate) exposed: Vec<String>,
    pub(crate) mounts: Vec<ShownMount>,
    pub(crate) endpoint: Option<StoredEndpoint>,
}

/// Of its [`ContainerSpec`], what lists show.
#[derive(Deserialize)]
pub(crate) struct ListedSpec {
    pub(crate) args: Vec<String>,
}

/// What was asked for, besides what came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// `--cap-add`.
    pub(crate) cap_add: Vec<String>,
    /// `--cap-drop`.
    pub(crate) cap_drop: Vec<String>,
    /// `--security-opt`.
    pub(crate) security_opt: Vec<String>,
    /// `--tmpfs`: path and options.
    pub(crate) tmpfs: std::collections::BTreeMap<String, String>,
    /// `-P`.
    pub(crate) publish_all: bool,
    /// `--cidfile`.
    pub(crate) cidfile: String,
}

/// A place on the bridge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredEndpoint {
    pub(crate) bridge: String,
    pub(crate) address: String,
    pub(crate) prefix: u8,
    pub(crate) gateway: String,
    pub(crate) mac: String,
    pub(crate) bindings: Vec<PortBinding>,
}

/// A mount as `inspect` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ShownMount {
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) destination: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) driver: String,
    pub(crate) mode: String,
    #[serde(rename = "RW")]
    pub(crate) writable: bool,
    pub(crate) propagation: String,
}

impl Stored {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and lists always serialise")
    }

    pub(crate) fn parse(container: &ContainerRecord) -> Result<Self, EngineError> {
        parsed(container)
    }
}

impl Listed {
    pub(crate) fn parse(container: &ContainerRecord) -> Result<Self, EngineError> {
        parsed(container)
    }
}

fn parsed<'a, T: Deserialize<'a>>(container: &'a ContainerRecord) -> Result<T, EngineError> {
    serde_json::from_str(&container.config).map_err(|error| {
        EngineError::Invalid(format!("the record of container {} is damaged: {error}", container.id))
    })
}
