//! A registry of one's own: what `registry serve` and `registry gc` need of it.

pub use strata_serve::{
    CollectError, CollectOptions, Collected, Exchange, Handle, Options, ServeError, Server, collect,
};
