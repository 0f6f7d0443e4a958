//! The flags that every command has: which store.

use crate::failure::Failure;
use clap::Args;
use std::path::PathBuf;
use strata_engine::{Access, Engine, EngineOptions, LayerMode};

/// Flags of every command.
#[derive(Args, Debug, Clone)]
pub(crate) struct Global {
    /// Directory that holds everything: layers, images, containers
    /// [default: /var/lib/strata, or $XDG_DATA_HOME/strata for an ordinary user]
    #[arg(
        long,
        global = true,
        env = "STRATA_ROOT",
        hide_env_values = true,
        value_name = "DIR",
        help_heading = "Global Options"
    )]
    root: Option<PathBuf>,
    /// Directory for locks and sockets that need not survive a reboot
    #[arg(long, global = true, env = "STRATA_RUN", value_name = "DIR", hide = true)]
    run_dir: Option<PathBuf>,
    /// How layers are shown to containers: mounted in place (erofs) or unpacked (tree) [default: what works]
    #[arg(long, global = true, env = "STRATA_LAYERS", value_name = "MODE", hide = true)]
    layers: Option<LayerMode>,
}

impl Global {
    /// Opens the store.
    pub(crate) fn engine(&self) -> Result<Engine, Failure> {
        self.open(Access::Full)
    }

    /// Opens the store to look at it only: nothing is tidied up.
    pub(crate) fn look(&self) -> Result<Engine, Failure> {
        self.open(Access::Look)
    }

    /// What must stand before a command so that it finds this store: nothing when the environment or the default says it.
    pub(crate) fn root_flag(&self) -> String {
        let inherited = std::env::var_os("STRATA_ROOT").map(PathBuf::from);
        match &self.root {
            Some(root) if inherited.as_ref() != Some(root) => format!(" --root {}", root.display()),
            _ => String::new(),
        }
    }

    fn open(&self, access: Access) -> Result<Engine, Failure> {
        let engine = Engine::open(self.options(access))?;
        let object_stores = crate::registries::object_stores();
        Ok(engine.with_registries(crate::registries::from_environment()?).with_object_stores(object_stores))
    }

    /// Where the store is.
    pub(crate) fn options(&self, access: Access) -> EngineOptions {
        let defaults = default_directories();
        let run_dir = match (&self.run_dir, &self.root) {
            (Some(dir), _) => dir.clone(),
            // A store of one's own has its own locks: two stores never share a run directory.
            (None, Some(root)) => root.join("run"),
            (None, None) => defaults.1,
        };
        let root = self.root.clone().unwrap_or(defaults.0);
        EngineOptions { root, run_dir, layer_mode: self.layers, access }
    }
}

fn default_directories() -> (PathBuf, PathBuf) {
    if rustix::process::geteuid().is_root() {
        return ("/var/lib/strata".into(), "/run/strata".into());
    }
    let from = |name: &str, fallback: &str| {
        std::env::var_os(name).map(PathBuf::from).unwrap_or_else(|| {
            std::env::var_os("HOME").map(PathBuf::from).unwrap_or_else(|| "/tmp".into()).join(fallback)
        })
    };
    (from("XDG_DATA_HOME", ".local/share").join("strata"), from("XDG_RUNTIME_DIR", ".cache").join("strata"))
}
