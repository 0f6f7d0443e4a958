//! `save`.

use super::arguments::at_least;
use crate::cli::Global;
use crate::failure::{Failure, Outcome};
use clap::Args;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

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
            Some(path) => self.to_file(&engine, path)?,
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

    /// Writes beside the target and renames, so that a failed save leaves no half archive.
    fn to_file(&self, engine: &strata_engine::Engine, path: &Path) -> Result<(), Failure> {
        let mut name = path.file_name().ok_or_else(|| Failure::new("the output is a directory"))?.to_owned();
        if path.exists() && !path.is_file() {
            // A FIFO or a device (`-o /dev/stdout`) is written straight.
            let file = fs_err::OpenOptions::new().write(true).open(path)?;
            return Ok(engine.save(&self.images, file.file())?);
        }
        name.push(format!(".tmp{}", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = fs_err::File::create(&temporary)?;
        let saved = engine.save(&self.images, file.file()).map_err(Failure::from);
        let outcome = saved.and_then(|()| Ok(fs_err::rename(&temporary, path)?));
        if outcome.is_err() {
            let _ = fs_err::remove_file(&temporary);
        }
        outcome
    }
}
