//! `import`.

use super::arguments::{at_least, at_most};
use crate::failure::Outcome;
use crate::global::Global;
use crate::output::emit;
use clap::Args;
use std::io::Read;
use strata_engine::archive::ImportRequest;

/// Make an image of one layer from the tar of a root file system.
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Apply a Dockerfile instruction to the image: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR...
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment of the history entry
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Platform of the image, os/arch[/variant] [default: this machine's]
    #[arg(long)]
    platform: Option<String>,
    /// file|- [REPOSITORY[:TAG]]
    #[arg(value_name = "file|- [REPOSITORY[:TAG]]")]
    arguments: Vec<String>,
}

impl Import {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.arguments, 1)?;
        at_most(&self.arguments, 2)?;
        let (source, reference) = (&self.arguments[0], self.arguments.get(1).cloned());
        let input: Box<dyn Read + Send> = if source == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(fs_err::File::open(source)?.into_file())
        };
        let request = ImportRequest {
            reference,
            changes: self.change,
            message: self.message,
            platform: self.platform,
            source: source.clone(),
        };
        let id = global.engine()?.import(input, &request)?;
        emit(&format!("{id}\n"))?;
        Ok(0)
    }
}
