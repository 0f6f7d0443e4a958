//! `load`.

use crate::failure::{Failure, Outcome, with_causes};
use crate::global::Global;
use crate::output::emit;
use clap::Args;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use strata_engine::EngineError;
use strata_engine::archive::Loaded;

/// Load images from a tar archive: Docker's or an OCI layout, plain, gzip or zstd.
#[derive(Args, Debug)]
pub(crate) struct Load {
    /// Read from a file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Accepted for Docker's sake: there is no progress to leave out
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let input: Box<dyn Read + Send> = match &self.input {
            Some(path) => Box::new(fs_err::File::open(path)?.into_file()),
            None if std::io::stdin().is_terminal() => {
                return Err(Failure::new(
                    "requested load from stdin, but stdin is a terminal: use -i FILE or redirect",
                ));
            }
            None => Box::new(std::io::stdin()),
        };
        let named = |error: EngineError| match &self.input {
            Some(path) => Failure::new(format!("{}: {}", path.display(), with_causes(&error))),
            None => error.into(),
        };
        for loaded in global.engine()?.load(input).map_err(named)? {
            let line = match loaded {
                Loaded::Tagged(reference) => format!("Loaded image: {}\n", reference.familiar()),
                Loaded::Untagged(id) => format!("Loaded image ID: {id}\n"),
            };
            emit(&line)?;
        }
        Ok(0)
    }
}
