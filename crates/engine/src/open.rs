//! Opening the engine.
use crate::EngineError;
use crate::stored::Stored;
use rustix::thread::CapabilitySet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use strata_cache::s3::Stores;
use strata_oci::DiffId;
use strata_registry::Registries;
use strata_runtime::cgroup::Layout;
use strata_runtime::mount;
use strata_runtime::signal::{self, Signal};
use strata_store::{GcOptions, Store, StoreOptions};

pub use strata_store::{Access, LayerMode};

/// How long ago the last sweep of groups was at least, and how old is what it takes.
const GROUP_SWEEP: Duration = Duration::from_secs(60);

/// Where the engine keeps things.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The store.
    pub root: PathBuf,
    /// Locks, sockets, helper state: need not survive a reboot.
    pub run_dir: PathBuf,
    /// Forces a layer mode.
    pub layer_mode: Option<LayerMode>,
    /// How much is tidied up while opening.
    pub access: Access,
}

/// The store, and the verbs on it.
pub struct Engine {
    options: EngineOptions,
    store: Store,
    registries: Registries,
    object_stores: Stores,
}

impl Engine {
    /// Opens (and on first use makes) the store, and sweeps what dead processes left.
    pub fn open(options: EngineOptions) -> Result<Self, EngineError> {
        let store = Store::open(StoreOptions {
            root: options.root.clone(),
            run_dir: options.run_dir.clone(),
            layer_mode: options.layer_mode,
            access: options.access,
            ended: discard_groups,
        })?;
        let registries = Registries::new(strata_registry::Config::default());
        let engine = Self { options, store, registries, object_stores: Stores::default() };
        engine.tidy_reaped()?;
        if engine.options.access != Access::Look {
            engine.sweep_groups();
        }
        Ok(engine)
    }

    /// Groups of steps and containers whose store was deleted while nobody looked: no other command knows their names. A look
    /// now and then is enough, and what cannot be removed hurts nobody.
    fn sweep_groups(&self) {
        let marker = self.store.run_dir().join("groups-swept");
        let swept = fs_err::metadata(&marker).and_then(|metadata| metadata.modified());
        let lately = swept.is_ok_and(|time| time.elapsed().is_ok_and(|since| since < GROUP_SWEEP));
        if lately || !rustix::process::geteuid().is_root() || fs_err::write(&marker, "").is_err() {
            return;
        }
        if let Ok(layout) = Layout::of_host() {
            strata_runtime::cgroup::sweep(layout, GROUP_SWEEP);
        }
    }

    /// What a supervisor that was killed could not do any more does the opening that notices the container's end: its
    /// groups go, and with `--rm` the container.
    fn tidy_reaped(&self) -> Result<(), EngineError> {
        for id in &self.store.swept().containers {
            discard_groups(id);
            let container = self.store.containers().lookup(id)?;
            if Stored::parse(&container).is_ok_and(|stored| stored.remove) {
                self.store.containers().remove(id, true)?;
            }
        }
        Ok(())
    }

    /// The same engine with another client of registries: who the user is, mirrors, certificates. Without it, an engine
    /// knows no credentials.
    #[must_use]
    pub fn with_registries(mut self, registries: Registries) -> Self {
        self.registries = registries;
        self
    }

    /// The client of registries.
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// The same engine with what the user's environment says of object stores. Without it, an engine knows no keys.
    #[must_use]
    pub fn with_object_stores(mut self, object_stores: Stores) -> Self {
        self.object_stores = object_stores;
        self
    }

    pub(crate) fn object_stores(&self) -> &Stores {
        &self.object_stores
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Finds out how layers are shown here, unless this boot knows already.
    pub(crate) fn ensure_layer_mode(&self) -> Result<(), EngineError> {
        if self.store.layers().layer_mode().is_some() {
            return Ok(());
        }
        let probed = mount::probe(self.store.root());
        let mode = match probed.kind {
            mount::ProbeKind::Erofs => LayerMode::Erofs,
            mount::ProbeKind::ErofsLoop => LayerMode::ErofsLoop,
            mount::ProbeKind::Tree => LayerMode::Tree,
        };
        Ok(self.store.layers().set_layer_mode(mode, &probed.reason)?)
    }

    /// Makes the layers visible and gives their directories, bottom first.
    pub(crate) fn mount_layers(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>, EngineError> {
        self.mount_layers_where(layers, &|_| true)
    }

    /// Like [`Self::mount_layers`], for some positions of the stack only.
    pub(crate) fn mount_layers_where(
        &self,
        layers: &[DiffId],
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<PathBuf>, EngineError> {
        self.ensure_layer_mode()?;
        let mounts = self.store.layers().mounts_where(layers, wanted)?;
        if let Err(error) = mount::mount_layers(&mounts) {
            if self.store.layers().repair_indexes(layers)? == 0 {
                return Err(EngineError::runtime(error));
            }
            mount::mount_layers(&mounts).map_err(EngineError::runtime)?;
        }
        Ok(mounts.into_iter().map(|mount| mount.target).collect())
    }

    /// The error for an image that is not here, with local names that look like it.
    pub(crate) fn not_local(&self, name: &str) -> EngineError {
        EngineError::ImageNotLocal { name: name.to_owned(), near: self.near(name) }
    }

    /// The error for an image that is neither here nor to be had from its registry.
    pub fn not_pulled(&self, name: &str, error: EngineError) -> EngineError {
        match self.near(name) {
            near if near.is_empty() => error,
            near => EngineError::NotPulled { near, source: Box::new(error) },
        }
    }

    fn near(&self, name: &str) -> Vec<String> {
        let images = self.store().images().list().unwrap_or_default();
        let names: Vec<String> =
            images.iter().flat_map(|image| image.tags.iter().map(|tag| tag.familiar())).collect();
        strata_dockerfile::nearest(name, names.iter().map(String::as_str), true).into_iter().collect()
    }

    /// Deletes layers that nothing names any more, unmounting them first; bytes given back.
    pub(crate) fn collect_garbage(&self, include_cache: bool) -> Result<u64, EngineError> {
        let unmount = |target: &Path| match mount::unmount_layer(target) {
            Ok(_) => Ok(()),
            Err(error) => Err(std::io::Error::other(error)),
        };
        let report = self.store.gc(&GcOptions { include_cache, unmount: &unmount })?;
        Ok(report.bytes)
    }
}

/// Removes the cgroups of a container or of a build step, which is named after its staging directory. `false`: a process
/// in them has not ended yet.
pub(crate) fn discard_groups(id: &str) -> bool {
    // An ordinary user has none.
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    Layout::of_host().is_ok_and(|layout| strata_runtime::cgroup::discard(layout, id))
}

/// What the kernel lets only root do, refused before anything is made for it. A root in a container may lack what it takes.
pub(crate) fn need_root(what: &'static str) -> Result<(), EngineError> {
    if !rustix::process::geteuid().is_root() {
        return Err(EngineError::NeedsRoot(what));
    }
    need(what, CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN", "add SYS_ADMIN to the container's capabilities")
}

/// A network of a step's own, likewise.
pub(crate) fn need_network(what: &'static str) -> Result<(), EngineError> {
    let instead = "build with --network host, or add NET_ADMIN to the container's capabilities";
    need(what, CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", instead)
}

fn need(
    what: &'static str,
    capability: CapabilitySet,
    name: &'static str,
    instead: &'static str,
) -> Result<(), EngineError> {
    if has(capability) { Ok(()) } else { Err(EngineError::NeedsCapability { what, name, instead }) }
}

pub(crate) fn has(capability: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|own| own.effective.contains(capability))
}

/// To be called first by commands that start processes in containers (`build`, `run`, `exec`), before any thread: runs
/// this program again from a read-only mount of itself, so that no container can overwrite it through
/// `/proc/<pid>/exe` (CVE-2019-5736), and blocks the signals that are forwarded. Without root, where nothing can be
/// mounted and no container be started, it does nothing.
pub fn prepare_process(forward_signals: bool) -> Result<(), EngineError> {
    seal_process()?;
    if forward_signals {
        strata_runtime::supervise::block_forwarded_signals()?;
    }
    Ok(())
}

/// The first half of [`prepare_process`], for a program that knows earlier that it will be needed: what it has done by
/// then it does again.
pub fn seal_process() -> Result<(), EngineError> {
    if rustix::process::geteuid().is_root() && has(CapabilitySet::SYS_ADMIN) {
        strata_runtime::helper::seal_executable()?;
    }
    Ok(())
}

/// Installs handlers of the signals that ask a program to end so that none is lost meanwhile: they wait until `install`
/// is done. A signal that was ignored from the start (`nohup`) is not among those it is given, and stays ignored.
pub fn handle_end_signals<T>(install: impl FnOnce(&[i32]) -> T) -> Result<T, EngineError> {
    let signals = [Signal::INT, Signal::TERM, Signal::HUP];
    let wanted: Vec<i32> = signals
        .into_iter()
        .filter(|signal| *signal != Signal::HUP || !signal::is_ignored(*signal))
        .map(Signal::number)
        .collect();
    Ok(signal::deferred(&signals, || install(&wanted))?)
}

/// Lets signals through while `body` runs, in a program that prepared for forwarding them.
pub fn with_signals<T>(body: impl FnOnce() -> T) -> Result<T, EngineError> {
    Ok(strata_runtime::supervise::with_signals(body)?)
}
