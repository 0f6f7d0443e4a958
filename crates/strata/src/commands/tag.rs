//! `tag`, and `tag ls --remote`.

use super::arguments::exactly;
use super::place::reference;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use clap::Args;
use strata_engine::registry::Repository;

/// Give an image another name.
#[derive(Args, Debug)]
pub(crate) struct Tag {
    /// SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]
    #[arg(value_name = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]")]
    names: Vec<String>,
    /// With 'ls REPOSITORY': list the tags that the repository has on its registry
    #[arg(long)]
    remote: bool,
}

impl Tag {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.names, 2)?;
        if self.remote {
            return self.list();
        }
        let [source, target] = &self.names[..] else { return Err(Failure::silent(1)) };
        global.engine()?.tag(source, target)?;
        Ok(0)
    }

    /// One tag per line, in the registry's order.
    fn list(&self) -> Outcome {
        let [command, name] = &self.names[..] else { return Err(Failure::silent(1)) };
        if !matches!(command.as_str(), "ls" | "list") {
            return Err(Failure::usage("--remote goes with 'ls REPOSITORY'"));
        }
        let repository = Repository::from(&reference(name)?);
        let tags = crate::registries::from_environment()?.tags(&repository).map_err(Failure::new)?;
        emit(&tags.iter().map(|tag| format!("{tag}\n")).collect::<String>())?;
        Ok(0)
    }
}
