//! The build cache that machines share.
//!
//! What one machine built is written down as a [`Config`]: BuildKit's cache config, of layers (blobs, each on its parent)
//! and records (digests of steps, with the layers they gave). A [`Place`] keeps such a config under a name, and the blobs
//! that it speaks of: a repository of a registry, a directory, an object store.
//!
//! Our own steps are records as well, named by their [`CacheKey`](strata_build::CacheKey); what BuildKit has no room for
//! stands beside them in a field of its own ([`Steps`]), which Go's decoder passes over.
//!
//! What comes from a place is somebody else's word. The config is bounded and checked before anything uses it: no index
//! leads outside its list, nothing loops. Blobs are hashed by whoever reads them, and the DiffIds of what they unpack to
//! are compared when they enter a store. Nobody but the writer of a cache can say whether a layer is the result of the
//! step whose key it stands under: a cache is believed as much as whoever may write to it.

#![forbid(unsafe_code)]

mod assemble;
mod config;
pub mod inline;
mod listings;
mod local;
mod place;
mod registry;
pub mod s3;
mod spec;
mod steps;
mod vertices;

pub use assemble::{Assembly, Exported};
pub use config::{
    Annotations, CONFIG_LIMIT, CONFIG_TYPE, CREATED, Chain, Config, ConfigError, Layer, Link, Outcome,
    Record, UNCOMPRESSED,
};
pub use listings::{LISTINGS_TYPE, Listings, ListingsError, Packed};
pub use local::LocalPlace;
pub use place::{Content, Found, Place, PlaceError, Sent};
pub use registry::{Form, RegistryPlace};
pub use spec::{Destination, Directory, Location, Mounts, Source, SpecError};
pub use steps::{KeptMount, Made, Selected, Step, Steps};
pub use vertices::Vertices;
