//! `image inspect`: the document of seed 000, key by key in its order (`spec/engine.md`, section 0, D4 and D5).
use serde::Serialize;
use std::collections::BTreeMap;
use strata_oci::Healthcheck;

/// The document. Field order is the order of the keys.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are Docker's and documented in its API")]
pub struct ImageInspect {
    pub id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    pub created: String,
    pub container: String,
    pub container_config: ContainerConfig,
    pub docker_version: String,
    pub author: String,
    pub config: ContainerConfig,
    pub architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    pub os: String,
    pub size: u64,
    pub virtual_size: u64,
    pub graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFsInspect,
    pub metadata: ImageMetadata,
}

/// What a container starts with, as Docker shows it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are Docker's and documented in its API")]
pub struct ContainerConfig {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    pub image: String,
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    pub working_dir: String,
    pub entrypoint: Option<Vec<String>>,
    pub on_build: Option<Vec<String>>,
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// Where the layers are.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    /// Directories.
    pub data: GraphDriverData,
    /// `overlay2`.
    pub name: String,
}

/// Layer directories; they show something while the layers are mounted (`strata layer path` mounts them).
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriverData {
    /// All but the top one, top first, separated by `:`; left out when there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lower_dir: String,
    /// Where a merged view would be.
    pub merged_dir: String,
    /// The top layer.
    pub upper_dir: String,
    /// overlayfs's work directory beside it.
    pub work_dir: String,
}

/// The layers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFsInspect {
    /// `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// DiffIds, bottom first; left out when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What only this store knows.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageMetadata {
    /// When a name was last given.
    pub last_tag_time: String,
}

impl crate::Engine {
    /// The document of one image.
    pub fn inspect_image(&self, _image: &str) -> Result<ImageInspect, crate::EngineError> {
        todo!()
    }
}
