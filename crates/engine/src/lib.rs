//! What strata does, one module per verb: sequencing only. Layers are `layer`'s and `store`'s business,
//! processes `runtime`'s, the build graph `build`'s; values pass between them through here.
//!
//! Nothing in here prints, reads the environment or ends the process: the command line does.

#![forbid(unsafe_code)]

pub mod archive;
pub mod build;
pub mod cdi;
pub mod container;
pub mod copy;
mod error;
pub mod exec;
pub mod image;
pub mod login;
mod network;
mod open;
pub mod run;
pub mod serve;
mod stored;
pub mod system;
pub mod transfer;
mod unpack;
pub mod volume;

pub use error::EngineError;
pub use open::{
    Access, Engine, EngineOptions, LayerMode, handle_end_signals, prepare_process, seal_process, with_signals,
};
pub use run::helper_main;
pub use strata_cache::s3 as object_store;
pub use strata_registry as registry;
