//! `rmi`, `image rm`.

use super::arguments::at_least;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use clap::Args;
use strata_engine::EngineError;
use strata_engine::image::Removed;

/// Remove images: their names, and with the last name the image and the layers that only it used.
#[derive(Args, Debug)]
pub(crate) struct Rmi {
    /// Remove all names of an ID, and images that stopped containers use
    #[arg(short, long)]
    force: bool,
    /// Keep untagged parents
    #[arg(long)]
    no_prune: bool,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE [IMAGE...]")]
    images: Vec<String>,
}

impl Rmi {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.images, 1)?;
        let engine = global.engine()?;
        let mut code = 0;
        for image in &self.images {
            match engine.remove_image(image, self.force, self.no_prune) {
                Ok(removed) => emit(&report(&removed))?,
                Err(error) => {
                    // Docker: with -f a missing image is said, and no failure.
                    let fine = self.force && matches!(error, EngineError::NoSuchImage(_));
                    Failure::from(error).print();
                    code = if fine { code } else { 1 };
                }
            }
        }
        Ok(code)
    }
}

/// `untagged:` and `deleted:`, as Docker's prune writes them.
pub(super) fn prune_report(removed: &[Removed]) -> String {
    report(removed).lines().map(|line| line.replacen('U', "u", 1).replacen('D', "d", 1) + "\n").collect()
}

/// `Untagged: name` and `Deleted: sha256:...` lines.
pub(crate) fn report(removed: &[Removed]) -> String {
    removed
        .iter()
        .map(|line| match line {
            Removed::Untagged(name) => format!("Untagged: {name}\n"),
            Removed::Image(id) => format!("Deleted: {id}\n"),
            Removed::Layer(id) => format!("Deleted: {id}\n"),
        })
        .collect()
}
