//! Opening a store.
use crate::core::Core;
use crate::db::Db;
use crate::layers::LayerMode;
use crate::root::Root;
use crate::staging::lock_directory;
use crate::sweep::{SweepReport, sweep};
use crate::trash::Trash;
use crate::{
    Blobs, CacheIndex, Containers, Contexts, Downloads, Images, Layers, Leases, StoreError, Volumes, meta,
};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a store is and how to open it.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `/var/lib/strata`, or `$XDG_DATA_HOME/strata`.
    pub root: PathBuf,
    /// `/run/strata`, or `$XDG_RUNTIME_DIR/strata`.
    pub run_dir: PathBuf,
    /// Forces the layer mode (`STRATA_LAYERS`).
    pub layer_mode: Option<LayerMode>,
    /// How much to tidy up.
    pub access: Access,
    /// Called by the sweep with the name of each staging directory of a dead process before it goes: what its owner
    /// had outside the store is to be removed. `false`: something of it still lives, and the directory stays for the
    /// next sweep.
    pub ended: fn(&str) -> bool,
}

/// What the caller is going to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Anything: what killed processes left is swept.
    #[default]
    Full,
    /// Look only (`images`, `ps`): nothing is swept, only containers whose process is gone are recorded as exited.
    Look,
}

/// An open store. Several threads may use it, and any number of processes may have it open.
#[derive(Debug)]
pub struct Store {
    pub(crate) core: Arc<Core>,
    parts: Parts,
    swept: SweepReport,
}

#[derive(Debug)]
struct Parts {
    layers: Layers,
    blobs: Blobs,
    downloads: Downloads,
    images: Images,
    cache: CacheIndex,
    contexts: Contexts,
    containers: Containers,
    volumes: Volumes,
    leases: Leases,
}

impl Store {
    /// Opens a store, making it if there is none, and sweeps what killed processes left.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        let root = Root { root: absolute(&options.root)?, run: absolute(&options.run_dir)? };
        let db = open_database(&root)?;
        root.create_run()?;
        let core = Arc::new(Core { trash: Trash::new(&root), root, db });
        let swept = sweep(&core, options.access, options.ended)?;
        let parts = Parts::new(&core, options.layer_mode);
        Ok(Self { core, parts, swept })
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.core.root.root
    }

    /// The directory of sockets, locks and helper state.
    pub fn run_dir(&self) -> &Path {
        &self.core.root.run
    }

    /// What opening found and tidied up.
    pub fn swept(&self) -> &SweepReport {
        &self.swept
    }

    /// Waits until everything removed so far is deleted from the disk.
    pub fn empty_trash(&self) {
        self.core.trash.wait();
    }

    /// Layers.
    pub fn layers(&self) -> &Layers {
        &self.parts.layers
    }

    /// Configs, manifests, compressed layers.
    pub fn blobs(&self) -> &Blobs {
        &self.parts.blobs
    }

    /// Blobs that are being fetched.
    pub fn downloads(&self) -> &Downloads {
        &self.parts.downloads
    }

    /// Images and their names.
    pub fn images(&self) -> &Images {
        &self.parts.images
    }

    /// The build cache.
    pub fn cache(&self) -> &CacheIndex {
        &self.parts.cache
    }

    /// Stat caches of build contexts.
    pub fn contexts(&self) -> &Contexts {
        &self.parts.contexts
    }

    /// Containers.
    pub fn containers(&self) -> &Containers {
        &self.parts.containers
    }

    /// Volumes.
    pub fn volumes(&self) -> &Volumes {
        &self.parts.volumes
    }

    /// Leases.
    pub fn leases(&self) -> &Leases {
        &self.parts.leases
    }
}

impl Parts {
    fn new(core: &Arc<Core>, mode: Option<LayerMode>) -> Self {
        let blobs = Blobs::new(Arc::clone(core));
        Self {
            layers: Layers::new(Arc::clone(core), mode),
            images: Images::new(Arc::clone(core), blobs.clone()),
            blobs,
            downloads: Downloads::new(Arc::clone(core)),
            cache: CacheIndex::new(Arc::clone(core)),
            contexts: Contexts::new(Arc::clone(core)),
            containers: Containers::new(Arc::clone(core)),
            volumes: Volumes::new(Arc::clone(core)),
            leases: Leases::new(Arc::clone(core)),
        }
    }
}

/// `meta.json` is written last, so a store without it is still being made (or was being made by a killed process);
/// with it, a missing database is a loss and not a new store.
fn open_database(root: &Root) -> Result<Db, StoreError> {
    let exists = meta::check(root)?;
    let path = root.database();
    if exists {
        if fs::metadata(&path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Err(StoreError::DatabaseMissing { path });
        }
        return Db::open(&path, false);
    }
    fs::create_dir_all(&root.root)?;
    // Two first commands at once: SQLite does not wait while another process makes the file.
    let _alone = lock_directory(&root.root, false)?;
    root.create_directories()?;
    let db = Db::open(&path, true)?;
    if !meta::check(root)? {
        meta::create(root)?;
    }
    Ok(db)
}
