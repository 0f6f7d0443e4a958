//! All on-disk state: layers, blobs, images, containers, volumes, build cache, leases, sweep, gc, fsck.
//!
//! # How anything gets onto the disk
//!
//! There is one way (`design.md`, section 4): write into a *staging* directory below `ingest/`, fsync, rename into
//! place, then record it in one database transaction. The staging directory is held by `flock`, so that another
//! process can tell a live one from what a killed process left. A publisher holds the store's publication lock
//! shared from the rename to the record; whoever removes holds it exclusively.
//!
//! Removal runs the other way round: one transaction deletes the record and notes the path as *doomed*, then the
//! path is renamed into `trash/` and deleted by a background thread.
//!
//! So a crash leaves a dead staging directory, a doomed path or something in `trash/`, and [`Store::open`] sweeps
//! all three. After a dead staging directory, and at the first open after a boot, it also looks for files that no
//! record names.
//!
//! # What keeps a layer
//!
//! An image, a build cache record, a container, or a [`Lease`]. Whoever makes or uses layers that nothing else
//! names yet holds a lease: [`Layers::begin`] demands one. [`Store::gc`] deletes the rest.
//!
//! # Example: a build
//!
//! ```text
//! let lease  = store.leases().acquire()?;
//! let ingest = store.layers().begin(&lease)?;
//! let (_, info, contents) = builder_writing_to(ingest.tar_file()?).finish()?;
//! ingest.commit(info, &contents, &below)?;              // kept by the lease
//! let id = store.images().put(&config, None)?;          // kept by the image
//! store.images().tag(&reference, &id)?;                 // visible to everyone
//! drop(lease);
//! ```

#![forbid(unsafe_code)]

mod blobs;
mod cache;
mod containers;
mod contexts;
mod core;
mod db;
mod downloads;
mod error;
mod fsck;
mod gc;
mod images;
mod layers;
mod leases;
mod meta;
mod name;
mod open;
mod orphans;
mod process;
mod reserve;
mod root;
mod staging;
mod sweep;
mod trash;
mod usage;
mod volumes;

pub use blobs::{BlobInfo, BlobKind, BlobWriter, Blobs, RemoteBlob};
pub use cache::{CacheIndex, CacheKey, CachePrune, CacheRecord, CacheUsage};
pub use containers::{ContainerRecord, ContainerState, Containers, NewContainer, random_name};
pub use contexts::Contexts;
pub use downloads::{Download, Downloads};
pub use error::StoreError;
pub use fsck::{FsckReport, Problem};
pub use gc::{GcOptions, GcReport};
pub use images::{
    ImageRecord, Images, LabelFilter, NamedManifest, Origin, Prune, RemoveConflict, RemoveOptions, Removed,
    Resolved, StoredManifest, Used,
};
pub use layers::{Ingest, LayerMode, LayerModeRecord, LayerRecord, Layers, TarFile};
pub use leases::{Lease, Leases};
pub use open::{Access, Store, StoreOptions};
pub use process::ProcessId;
pub use sweep::SweepReport;
pub use usage::{ContainerUsage, ImageUsage, PhysicalUsage, Usage, VolumeUsage};
pub use volumes::{NewVolume, VolumeRecord, Volumes};
