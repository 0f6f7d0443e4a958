//! Devices by the Container Device Interface: files in which the vendor of a device says what a container needs to use it.
//!
//! Files of several directories are read; of two devices of one name that of the later directory counts, and within one
//! directory neither. A file that cannot be read hides its own devices alone.

mod file;

use file::{ContainerEdits, DeviceNode};
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strata_build::KnownDevice;
use strata_runtime::spec::{ContainerSpec, Device, DeviceAccess, Mount, Propagation};

/// Where the files are unless the settings say otherwise: the interface's own two directories, and BuildKit's.
pub const DIRECTORIES: [&str; 3] = ["/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi"];

/// Annotations by which whoever installed a device tells builders about it.
const CLASS: &str = "org.mobyproject.buildkit.device.class";
const AUTO_ALLOW: &str = "org.mobyproject.buildkit.device.autoallow";

/// Why a container cannot have a device.
#[derive(Debug, thiserror::Error)]
#[error("CDI device {device} of {}: {reason}", file.display())]
pub struct DeviceError {
    /// Its full name.
    device: String,
    /// What describes it.
    file: PathBuf,
    /// What is wrong.
    reason: String,
}

/// The devices of this machine.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    devices: BTreeMap<String, Entry>,
    /// Files that cannot be used, each with the reason.
    faults: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    file: Arc<file::File>,
    path: PathBuf,
    /// Which of the file's devices.
    index: usize,
}

impl Catalog {
    pub(crate) fn read(directories: &[PathBuf]) -> Self {
        let mut catalog = Self::default();
        for directory in directories {
            let mut here: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
            for path in files_of(directory) {
                match fs_err::read_to_string(&path)
                    .map_err(|error| error.to_string())
                    .and_then(|text| file::parse(&text))
                {
                    Ok(file) => {
                        let file = Arc::new(file);
                        for (index, device) in file.devices.iter().enumerate() {
                            let name = format!("{}={}", file.kind, device.name);
                            let entry = Entry { file: Arc::clone(&file), path: path.clone(), index };
                            here.entry(name).or_default().push(entry);
                        }
                    }
                    Err(fault) => catalog.faults.push(format!("{}: {fault}", path.display())),
                }
            }
            for (name, mut entries) in here {
                let last = entries.pop();
                match last.filter(|_| entries.is_empty()) {
                    Some(entry) => drop(catalog.devices.insert(name, entry)),
                    None => {
                        catalog
                            .faults
                            .push(format!("{}: device {name} is described twice", directory.display()));
                        catalog.devices.remove(&name);
                    }
                }
            }
        }
        catalog
    }

    /// What the planner of a build needs to know.
    pub(crate) fn known(&self) -> Vec<KnownDevice> {
        let known = |(name, entry): (&String, &Entry)| {
            let annotation = |key| {
                let device = &entry.file.devices[entry.index];
                device
                    .annotations
                    .get(key)
                    .or_else(|| entry.file.annotations.get(key))
                    .map(file::Scalar::text)
            };
            KnownDevice {
                name: name.clone(),
                class: annotation(CLASS),
                auto_allowed: annotation(AUTO_ALLOW).is_some_and(|value| {
                    matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")
                }),
            }
        };
        self.devices.iter().map(known).collect()
    }

    /// What to say when a device was not found.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Gives a container the devices of these names, which were found before.
    pub(crate) fn give(&self, names: &[String], spec: &mut ContainerSpec) -> Result<(), DeviceError> {
        let mut common: Vec<&Path> = Vec::new();
        for name in names {
            let Some(entry) = self.devices.get(name) else { continue };
            let refuse =
                |reason: String| DeviceError { device: name.clone(), file: entry.path.clone(), reason };
            let first = !common.contains(&entry.path.as_path());
            common.push(&entry.path);
            let own = &entry.file.devices[entry.index].container_edits;
            for edits in first.then_some(&entry.file.container_edits).into_iter().chain([own]) {
                apply(edits, spec).map_err(refuse)?;
            }
        }
        Ok(())
    }
}

/// The files of one directory, sorted.
fn files_of(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(directory) else { return Vec::new() };
    let is_spec = |path: &PathBuf| path.extension().is_some_and(|end| end == "json" || end == "yaml");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_spec).collect();
    files.sort();
    files
}

fn apply(edits: &ContainerEdits, spec: &mut ContainerSpec) -> Result<(), String> {
    if let Some(hook) = edits.hooks.first() {
        return Err(format!("it needs the {} hook {}; strata runs no hooks", hook.hook_name, hook.path));
    }
    if !edits.net_devices.is_empty() || edits.intel_rdt.is_some() {
        return Err("it needs a network interface or Intel RDT, which strata does not give".to_owned());
    }
    for variable in &edits.env {
        let (name, _) = variable.split_once('=').unwrap_or((variable, ""));
        spec.env.retain(|line| line.split_once('=').is_none_or(|(have, _)| have != name));
        spec.env.push(variable.clone());
    }
    for node in &edits.device_nodes {
        let device = device(node)?;
        spec.devices.retain(|have| have.path != device.path);
        spec.devices.push(device);
    }
    for mount in &edits.mounts {
        let mount = bind(mount)?;
        spec.mounts.retain(|have| have.dest() != mount.dest());
        spec.mounts.push(mount);
    }
    let groups = edits.additional_gids.iter().filter(|group| **group != 0);
    spec.extra_groups.extend(groups.map(u32::to_string));
    Ok(())
}

/// What the file leaves out is as the host's node has it.
fn device(node: &DeviceNode) -> Result<Device, String> {
    let host_path = PathBuf::from(node.host_path.as_ref().unwrap_or(&node.path));
    let found = fs_err::metadata(&host_path);
    let (block, number, mode) = match (&found, node.major.zip(node.minor)) {
        (Ok(found), numbers) if found.file_type().is_block_device() || found.file_type().is_char_device() => {
            let number = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
            (found.file_type().is_block_device(), numbers.unwrap_or(number), found.mode() & 0o7777)
        }
        (Ok(_), None) => return Err(format!("{} is no device", host_path.display())),
        (Err(error), None) => return Err(error.to_string()),
        (_, Some(numbers)) => (false, numbers, 0o666),
    };
    let block = match node.kind.as_str() {
        "" => block,
        "b" => true,
        "c" | "u" => false,
        other => return Err(format!("device nodes of type {other:?} are not supported")),
    };
    let access = if node.permissions.is_empty() { "rwm" } else { &node.permissions };
    let has = |letter| access != "none" && access.contains(letter);
    Ok(Device {
        path: PathBuf::from(&node.path),
        host_path,
        block,
        major: number.0,
        minor: number.1,
        mode: node.file_mode.unwrap_or(mode),
        uid: node.uid.unwrap_or(0),
        gid: node.gid.unwrap_or(0),
        access: DeviceAccess { read: has('r'), write: has('w'), make: has('m') },
    })
}

fn bind(mount: &file::Mount) -> Result<Mount, String> {
    let has = |option: &str| mount.options.iter().any(|have| have == option);
    if !matches!(mount.kind.as_str(), "" | "none" | "bind") && !has("bind") && !has("rbind") {
        return Err(format!("mounts of type {:?} are not supported", mount.kind));
    }
    let source = PathBuf::from(&mount.host_path);
    fs_err::metadata(&source).map_err(|error| error.to_string())?;
    Ok(Mount::Bind {
        source,
        dest: PathBuf::from(&mount.container_path),
        read_only: has("ro"),
        recursive: !has("bind"),
        propagation: Propagation::Private,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = r#"
cdiVersion: "0.6.0"
kind: acme.com/card
annotations:
  org.mobyproject.buildkit.device.autoallow: true
containerEdits:
  env: [COMMON=1, PATH=/card]
devices:
- name: zero
  annotations: {org.mobyproject.buildkit.device.class: card}
  containerEdits:
    deviceNodes:
    - {path: /dev/acme/zero, hostPath: /dev/zero, permissions: r, uid: 7, fileMode: 384}
    mounts:
    - {hostPath: /etc/hostname, containerPath: /etc/acme, options: [ro, bind]}
    additionalGids: [0, 44]
- name: "2"
  containerEdits:
    env: [SECOND=2]
"#;

    fn catalog(files: &[(&str, &str)]) -> (Catalog, tempfile::TempDir) {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = directory.path().join(name);
            fs_err::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs_err::write(path, text).expect("written");
        }
        let places = ["etc", "run"].map(|name| directory.path().join(name));
        (Catalog::read(&places), directory)
    }

    #[test]
    fn what_a_file_says_reaches_the_container() {
        let (catalog, _directory) = catalog(&[("etc/card.yaml", CARD), ("etc/readme.txt", "{")]);
        assert!(catalog.faults().is_empty(), "{:?}", catalog.faults());
        let known = catalog.known();
        assert_eq!(known.len(), 2);
        assert_eq!((known[0].name.as_str(), known[0].class.as_deref()), ("acme.com/card=2", None));
        assert_eq!((known[1].class.as_deref(), known[1].auto_allowed), (Some("card"), true));

        let mut spec =
            ContainerSpec { env: vec!["PATH=/bin".into(), "A=1".into()], ..ContainerSpec::default() };
        let names = known.into_iter().rev().map(|known| known.name).collect::<Vec<_>>();
        catalog.give(&names, &mut spec).expect("given");
        assert_eq!(spec.env, ["A=1", "COMMON=1", "PATH=/card", "SECOND=2"]);
        let device = &spec.devices[0];
        assert_eq!((device.major, device.minor, device.mode, device.uid), (1, 5, 0o600, 7));
        assert_eq!(device.access, DeviceAccess { read: true, write: false, make: false });
        assert!(matches!(&spec.mounts[0], Mount::Bind { read_only: true, recursive: false, .. }));
        assert_eq!(spec.extra_groups, ["44"]);
    }

    #[test]
    fn later_directories_win_and_two_in_one_do_not() {
        let other = CARD.replace("SECOND=2", "SECOND=run");
        let (found, _directory) = catalog(&[("etc/card.yaml", CARD), ("run/card.yaml", &other)]);
        let mut spec = ContainerSpec::default();
        found.give(&["acme.com/card=2".to_owned()], &mut spec).expect("given");
        assert!(spec.env.contains(&"SECOND=run".to_owned()));
        let (found, _directory) = catalog(&[("etc/a.yaml", CARD), ("etc/b.yaml", CARD)]);
        assert!(found.known().is_empty());
        assert!(found.faults()[0].contains("acme.com/card=2 is described twice"), "{:?}", found.faults());
    }

    #[test]
    fn json_is_read_and_nonsense_is_told() {
        let json = r#"{"cdiVersion":"0.5.0","kind":"a.b/c","devices":[{"name":"x","containerEdits":{"env":["A=1"]}}]}"#;
        let hooks =
            json.replace(r#""env":["A=1"]"#, r#""hooks":[{"hookName":"createContainer","path":"/bin/h"}]"#);
        let typo = json.replace("env", "enf");
        let (found, _directory) = catalog(&[
            ("etc/a.json", json),
            ("etc/b.json", &typo),
            ("run/h.json", &hooks.replace("a.b/c", "a.b/h")),
        ]);
        assert_eq!(found.known().len(), 2);
        assert!(
            found.faults()[0].contains("b.json: ") && found.faults()[0].contains("enf"),
            "{:?}",
            found.faults()
        );
        let error = found.give(&["a.b/h=x".to_owned()], &mut ContainerSpec::default()).expect_err("refused");
        assert!(
            error.to_string().ends_with("it needs the createContainer hook /bin/h; strata runs no hooks")
        );
    }
}
