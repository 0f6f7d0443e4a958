//! The format of a file: JSON, or YAML, of which JSON is a part. Unknown fields are errors, as the specification wants:
//! what is not understood might be what the device needs.
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    #[allow(dead_code, reason = "must be there, and decides nothing: fields say what they need")]
    cdi_version: String,
    /// `vendor.com/class`
    pub(super) kind: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, Scalar>,
    pub(super) devices: Vec<Device>,
    #[serde(default)]
    pub(super) container_edits: ContainerEdits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Device {
    pub(super) name: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(super) container_edits: ContainerEdits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ContainerEdits {
    pub(super) env: Vec<String>,
    pub(super) device_nodes: Vec<DeviceNode>,
    pub(super) net_devices: Vec<serde::de::IgnoredAny>,
    pub(super) hooks: Vec<Hook>,
    pub(super) mounts: Vec<Mount>,
    pub(super) intel_rdt: Option<serde::de::IgnoredAny>,
    pub(super) additional_gids: Vec<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DeviceNode {
    pub(super) path: String,
    pub(super) host_path: Option<String>,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) file_mode: Option<u32>,
    #[serde(default)]
    pub(super) permissions: String,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mount {
    pub(super) host_path: String,
    pub(super) container_path: String,
    #[serde(default)]
    pub(super) options: Vec<String>,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
}

/// Of a hook only that it is there: none is run.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hook {
    pub(super) hook_name: String,
    pub(super) path: String,
}

/// The value of an annotation: `true` without quotes means the text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Bool(bool),
    Number(i64),
    Text(String),
}

impl Scalar {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}

/// Reads a file; the error says what is wrong with it, in one line.
pub(super) fn parse(text: &str) -> Result<File, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| one_line(&error.to_string()))?;
    let (vendor, class) =
        file.kind.split_once('/').ok_or_else(|| format!("kind {:?} is not vendor/class", file.kind))?;
    if !is_name(vendor) || !is_name(class) {
        return Err(format!("kind {:?} is not vendor/class", file.kind));
    }
    if file.devices.is_empty() {
        return Err("no devices".to_owned());
    }
    match file.devices.iter().find(|device| !is_name(&device.name)) {
        Some(device) => Err(format!("{:?} is no name of a device", device.name)),
        None => Ok(file),
    }
}

fn is_name(text: &str) -> bool {
    let ends = [text.chars().next(), text.chars().last()];
    ends.iter().all(|end| end.is_some_and(|end| end.is_ascii_alphanumeric()))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
}

/// The parser draws excerpts below its sentence.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}
