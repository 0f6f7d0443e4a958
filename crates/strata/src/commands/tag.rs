//! `tag`.

use super::arguments::exactly;
use crate::cli::Global;
use crate::failure::{Failure, Outcome};
use clap::Args;

/// Give an image another name.
#[derive(Args, Debug)]
pub(crate) struct Tag {
    /// SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]
    #[arg(value_name = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]")]
    names: Vec<String>,
}

impl Tag {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.names, 2)?;
        let [source, target] = &self.names[..] else { return Err(Failure::silent(1)) };
        global.engine()?.tag(source, target)?;
        Ok(0)
    }
}
