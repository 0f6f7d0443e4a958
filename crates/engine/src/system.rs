//! `system df`, `info`, `system fsck`, `system reset`, build cache.
use crate::container::{ContainerFilter, ContainerState, ContainerSummary};
use crate::image::ImageSummary;
use crate::volume::VolumeSummary;
use crate::{Engine, EngineError};
use jiff::Timestamp;
use rustix::thread::CapabilitySet;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use strata_runtime::mount;
use strata_runtime::net::Bridge;
use strata_store::CachePrune;

/// `system df`.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// Images with their shared and unique sizes.
    pub images: Vec<ImageSummary>,
    /// Logical bytes of all image layers, each counted once.
    pub layers_size: u64,
    /// Bytes of those layers that no container uses.
    pub reclaimable_layers: u64,
    /// Containers with the bytes of their own layers and of their images.
    pub containers: Vec<(ContainerSummary, u64, u64)>,
    /// Volumes with their bytes.
    pub volumes: Vec<(VolumeSummary, u64)>,
    /// Build cache.
    pub cache: Vec<CacheUsage>,
    /// Logical bytes of layers that only the build cache keeps.
    pub cache_only_size: u64,
    /// Bytes of interrupted downloads, which the next pull goes on with.
    pub downloads: u64,
    /// Bytes the whole store takes on disk, as `du` counts them.
    pub physical: u64,
}

/// One build cache record.
#[derive(Clone, Debug)]
pub struct CacheUsage {
    /// Short key.
    pub id: String,
    /// `regular`.
    pub kind: String,
    /// The instruction.
    pub description: String,
    /// Logical bytes of its layer.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
    /// How often.
    pub usage_count: u64,
    /// In use by a running build.
    pub in_use: bool,
    /// An image holds its layer too.
    pub shared: bool,
}

/// `system fsck`.
#[derive(Clone, Debug)]
pub struct FsckSummary {
    /// Layers, blobs and indexes looked at.
    pub checked: usize,
    /// One line per damage.
    pub problems: Vec<String>,
}

/// `info`.
#[derive(Clone, Debug)]
pub struct Info {
    /// Where everything is.
    pub root: PathBuf,
    /// Containers: running, stopped.
    pub containers: (usize, usize),
    /// Images.
    pub images: usize,
    /// How layers are shown (`erofs`, `tree`), and why.
    pub layer_mode: (String, String),
    /// File system below the root: `extfs`, `xfs`...
    pub backing_filesystem: String,
    /// cgroup version: `1`, `2`, `hybrid`.
    pub cgroup_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Distribution name.
    pub os: String,
    /// Processor architecture as uname has it.
    pub architecture: String,
    /// Processors.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Host name.
    pub name: String,
    /// Things the user should know.
    pub warnings: Vec<String>,
}

impl Engine {
    /// What takes how much space.
    pub fn disk_usage(&self) -> Result<DiskUsage, EngineError> {
        let usage = self.store().usage()?;
        let images = self.store().images().list()?.into_iter().map(ImageSummary::from).collect();
        let sizes: BTreeMap<String, (u64, u64)> = usage
            .containers
            .iter()
            .map(|container| {
                (container.id.clone(), (container.size, container.virtual_size - container.size))
            })
            .collect();
        let containers = self.containers(&ContainerFilter { all: true, ..Default::default() })?;
        let containers = containers.into_iter().map(|container| {
            let (own, image) = sizes.get(&container.id).copied().unwrap_or_default();
            (container, own, image)
        });
        let volume_sizes: BTreeMap<&str, u64> =
            usage.volumes.iter().map(|volume| (volume.name.as_str(), volume.size)).collect();
        let volumes = self.volumes()?.into_iter().map(|volume| {
            let size = volume_sizes.get(volume.name.as_str()).copied().unwrap_or(0);
            (volume, size)
        });
        Ok(DiskUsage {
            images,
            layers_size: usage.layers_size,
            reclaimable_layers: usage.reclaimable_layers,
            containers: containers.collect(),
            volumes: volumes.collect(),
            cache: usage.cache.iter().map(cache_usage).collect(),
            cache_only_size: usage.cache_only_size,
            downloads: self.store().downloads().usage()?,
            physical: self.store().physical_usage()?.allocated,
        })
    }

    /// About this installation.
    pub fn info(&self) -> Result<Info, EngineError> {
        self.ensure_layer_mode()?;
        let containers = self.containers(&ContainerFilter { all: true, ..Default::default() })?;
        let running = containers
            .iter()
            .filter(|container| matches!(container.state, ContainerState::Running { .. }))
            .count();
        let mode = self.store().layers().layer_mode();
        let uname = rustix::system::uname();
        let sysinfo = rustix::system::sysinfo();
        let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
        Ok(Info {
            root: self.store().root().to_owned(),
            containers: (running, containers.len() - running),
            images: self.store().images().list()?.len(),
            layer_mode: mode.map(|mode| (mode.mode.name().to_owned(), mode.reason)).unwrap_or_default(),
            backing_filesystem: filesystem(self.store().root())?,
            cgroup_version: cgroup_version(),
            kernel: text(uname.release()),
            os: os_name(),
            architecture: text(uname.machine()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: sysinfo.totalram as u64 * u64::from(sysinfo.mem_unit),
            name: text(uname.nodename()),
            warnings: Vec::new(),
        })
    }

    /// Checks all layers and blobs against their digests; one line per damage.
    pub fn fsck(&self) -> Result<FsckSummary, EngineError> {
        let report = self.store().fsck()?;
        Ok(FsckSummary {
            checked: report.checked,
            problems: report.problems.iter().map(ToString::to_string).collect(),
        })
    }

    /// Stops and removes everything, mounts and networks included, then the store's own files.
    pub fn reset(self) -> Result<(), EngineError> {
        for container in self.store().containers().list()? {
            self.remove_container(&container.id, true, true)?;
        }
        let root = self.store().root().to_owned();
        let run_dir = self.store().run_dir().to_owned();
        for mounted in mount::mounts_below(&root).map_err(EngineError::runtime)? {
            mount::unmount_layer(&mounted.target).map_err(EngineError::runtime)?;
        }
        let bridge = self.bridge_config();
        self.store().empty_trash();
        drop(self);
        // An ordinary user has none, and may not even look.
        // Who may not make a network has none to remove.
        if crate::open::has(CapabilitySet::NET_ADMIN) {
            Bridge::remove(&bridge).map_err(EngineError::runtime)?;
        }
        fs_err::remove_dir_all(&root)?;
        if run_dir.exists() {
            fs_err::remove_dir_all(&run_dir)?;
        }
        Ok(())
    }

    /// Removes build cache (`all`: what images still hold too); records removed and bytes given back.
    pub fn prune_cache(&self, all: bool) -> Result<(Vec<CacheUsage>, u64), EngineError> {
        let removed = self.store().cache().prune(CachePrune { all, ..Default::default() })?;
        let mut reclaimed = 0;
        if all {
            // What registries said of base images, and what they were about to send.
            self.store().images().forget_resolved()?;
            reclaimed += self.store().downloads().collect(true)?;
        }
        reclaimed += self.collect_garbage(false)?;
        Ok((removed.iter().map(cache_usage).collect(), reclaimed))
    }
}

fn cache_usage(usage: &strata_store::CacheUsage) -> CacheUsage {
    let record = &usage.record;
    let parsed: Option<strata_build::CacheRecord> = serde_json::from_str(&record.value).ok();
    // A record needs all layers up to its own; what it adds is the last one.
    let own = parsed.as_ref().and_then(|parsed| match &parsed.result {
        strata_build::CacheResult::Layers(layers) => layers.last().map(|layer| layer.size),
        strata_build::CacheResult::Selection(_) => Some(0),
    });
    CacheUsage {
        id: hex::encode(&record.key[..6]),
        kind: "regular".to_owned(),
        description: parsed
            .and_then(|parsed| parsed.place)
            .map(|place| place.instruction)
            .unwrap_or_default(),
        size: own.unwrap_or(usage.size),
        created: record.created,
        last_used: (record.uses > 0).then_some(record.last_used),
        usage_count: record.uses,
        in_use: false,
        shared: usage.shared,
    }
}

fn filesystem(path: &Path) -> Result<String, EngineError> {
    // Magic numbers of statfs(2).
    let kind = rustix::fs::statfs(path).map_err(std::io::Error::from)?.f_type as u64;
    Ok(match kind {
        0xef53 => "extfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        other => format!("0x{other:x}"),
    })
}

/// `2` when the v2 tree has the controllers, `hybrid` when both trees are mounted, `1` otherwise.
fn cgroup_version() -> String {
    let root = Path::new("/sys/fs/cgroup");
    let version = if root.join("cgroup.controllers").exists() {
        "2"
    } else if root.join("unified/cgroup.controllers").exists() {
        "1 (hybrid)"
    } else {
        "1"
    };
    version.to_owned()
}

fn os_name() -> String {
    let text = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches('"').to_owned()).unwrap_or_else(|| "Linux".to_owned())
}
