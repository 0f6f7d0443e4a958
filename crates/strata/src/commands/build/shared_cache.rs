//! `--cache-from` and `--cache-to`: the build cache of other machines.

use super::request::bad;
use crate::failure::Failure;
use clap::Args;
use strata_engine::build::{CacheDestination, CacheSource};

#[derive(Args, Debug)]
pub(super) struct CacheFlags {
    /// Look for results in this cache too: NAME, or type=registry|local|s3,ref=NAME|src=DIRECTORY|bucket=NAME,...
    #[arg(long, value_name = "SOURCE")]
    cache_from: Vec<String>,
    /// Export the build cache: NAME, or type=registry|local|inline|s3[,ref=NAME][,dest=DIRECTORY][,mode=min|max],...
    #[arg(long, value_name = "DESTINATION")]
    cache_to: Vec<String>,
}

impl CacheFlags {
    pub(super) fn sources(&self) -> Result<Vec<CacheSource>, Failure> {
        let parse =
            |text: &String| CacheSource::parse(text).map_err(|why| bad(format!("--cache-from {why}")));
        Ok(self.cache_from.iter().map(parse).collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// `inline`: the build argument asks for it that older BuildKit knows.
    pub(super) fn destinations(&self, inline: bool) -> Result<Vec<CacheDestination>, Failure> {
        let given = self.cache_to.iter().map(String::as_str).chain(inline.then_some("type=inline"));
        let parse =
            |text: &str| CacheDestination::parse(text).map_err(|why| bad(format!("--cache-to {why}")));
        Ok(given.map(parse).collect::<Result<Vec<_>, _>>()?.concat())
    }
}
