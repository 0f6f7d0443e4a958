//! `save`.

use super::arguments::at_least;
use super::destination::write_file;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use clap::Args;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Save images to a tar archive that is both a Docker archive and an OCI layout.
#[derive(Args, Debug)]
pub(crate) struct Save {
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE [IMAGE...]")]
    images: Vec<String>,
}

impl Save {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.images, 1)?;
        let engine = global.engine()?;
        match &self.output {
            Some(path) => write_file(path, |file| Ok(engine.save(&self.images, file)?))?,
            None if std::io::stdout().is_terminal() => {
                return Err(Failure::new(
                    "cowardly refusing to save to a terminal: use the -o flag or redirect standard output",
                ));
            }
            None => {
                engine.save(&self.images, &File::from(std::io::stdout().as_fd().try_clone_to_owned()?))?
            }
        }
        Ok(0)
    }
}
