//! `system df`, `info`, `system fsck`, `system reset`, build cache.
use crate::container::ContainerSummary;
use crate::image::ImageSummary;
use crate::volume::VolumeSummary;
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::path::PathBuf;

/// `system df`.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// Images with their shared and unique sizes.
    pub images: Vec<ImageSummary>,
    /// Logical bytes of all image layers, each counted once.
    pub layers_size: u64,
    /// Containers with the bytes of their own layers and of their images.
    pub containers: Vec<(ContainerSummary, u64, u64)>,
    /// Volumes with their bytes.
    pub volumes: Vec<(VolumeSummary, u64)>,
    /// Build cache.
    pub cache: Vec<CacheUsage>,
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
        todo!()
    }
    /// About this installation.
    pub fn info(&self) -> Result<Info, EngineError> {
        todo!()
    }
    /// Checks all layers and blobs against their digests; one line per damage.
    pub fn fsck(&self, _progress: &mut dyn FnMut(&str)) -> Result<Vec<String>, EngineError> {
        todo!()
    }
    /// Stops and removes everything, mounts and networks included, then the store's own files.
    pub fn reset(self) -> Result<(), EngineError> {
        todo!()
    }
    /// Removes build cache (`all`: what images still hold too); records removed and bytes given back.
    pub fn prune_cache(&self, _all: bool) -> Result<(Vec<CacheUsage>, u64), EngineError> {
        todo!()
    }
}
