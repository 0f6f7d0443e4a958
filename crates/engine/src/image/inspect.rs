//! `image inspect`: the document of seed 000, key by key in its order (`spec/engine.md`, section 0, D4 and D5).
use crate::{Engine, EngineError};
use serde::Serialize;
use std::collections::BTreeMap;
use strata_oci::{DiffId, Healthcheck, RuntimeConfig};

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

impl Engine {
    /// The document of one image.
    pub fn inspect_image(&self, image: &str) -> Result<ImageInspect, EngineError> {
        let images = self.store().images();
        let id = images.resolve(image)?;
        let record = images.get(&id)?.ok_or_else(|| EngineError::NoSuchImage(image.to_owned()))?;
        let raw = images.config(&id)?;
        let config = raw.value();
        let extra = |name: &str| {
            config.extra.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
        };
        let summary = super::ImageSummary::from(record.clone());
        Ok(ImageInspect {
            id: id.to_string(),
            repo_tags: record.tags.iter().map(|tag| tag.familiar()).collect(),
            repo_digests: summary.digests,
            parent: record.parent.map(|parent| parent.to_string()).unwrap_or_default(),
            comment: config.history.last().map(|entry| entry.comment.clone()).unwrap_or_default(),
            created: config.created.map(|time| time.to_string()).unwrap_or_default(),
            container: extra("container"),
            // Seed 001 reads the environment here; a real ContainerConfig of a classic build wins (D4).
            container_config: config
                .extra
                .get("container_config")
                .and_then(|value| serde_json::from_value::<RuntimeConfig>(value.clone()).ok())
                .map(|value| ContainerConfig::from(&value))
                .unwrap_or_else(|| ContainerConfig {
                    env: Some(config.config.env.clone()),
                    ..Default::default()
                }),
            docker_version: extra("docker_version"),
            author: config.author.clone().unwrap_or_default(),
            config: ContainerConfig::from(&config.config),
            architecture: config.platform.architecture.clone(),
            variant: config.platform.variant.clone().unwrap_or_default(),
            os: config.platform.os.clone(),
            size: record.size,
            virtual_size: record.size,
            graph_driver: self.graph_driver(&record.layers)?,
            root_fs: RootFsInspect {
                kind: config.rootfs.kind.clone(),
                layers: config.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
            },
            metadata: ImageMetadata {
                last_tag_time: record
                    .last_tagged
                    .map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string()),
            },
        })
    }

    /// Where the layers of an image are shown.
    fn graph_driver(&self, layers: &[DiffId]) -> Result<GraphDriver, EngineError> {
        let mut directories = Vec::new();
        for (position, layer) in layers.iter().enumerate() {
            directories.push(self.store().layers().mount_target(layer, &layers[..position])?);
        }
        let mut data = GraphDriverData::default();
        if let Some(top) = directories.pop() {
            let beside = |name: &str| top.with_file_name(name).display().to_string();
            let lower: Vec<String> =
                directories.iter().rev().map(|path| path.display().to_string()).collect();
            data = GraphDriverData {
                lower_dir: lower.join(":"),
                merged_dir: beside("merged"),
                upper_dir: top.display().to_string(),
                work_dir: beside("work"),
            };
        }
        Ok(GraphDriver { data, name: "overlay2".to_owned() })
    }
}

impl From<&RuntimeConfig> for ContainerConfig {
    fn from(config: &RuntimeConfig) -> Self {
        let filled = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        Self {
            user: config.user.clone(),
            exposed_ports: config.exposed_ports.clone(),
            env: filled(&config.env),
            cmd: config.cmd.clone(),
            healthcheck: config.healthcheck.clone(),
            args_escaped: config.args_escaped,
            volumes: (!config.volumes.is_empty()).then(|| config.volumes.clone()),
            working_dir: config.working_dir.clone(),
            entrypoint: config.entrypoint.clone(),
            on_build: filled(&config.on_build),
            labels: (!config.labels.is_empty()).then(|| config.labels.clone()),
            stop_signal: config.stop_signal.clone(),
            shell: config.shell.clone(),
            ..Default::default()
        }
    }
}
