//! `push`.

use super::arguments::exactly;
use super::pull::names_a_tag;
use super::transfer::{Cancel, Display};
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use clap::Args;
use strata_engine::transfer::{PushForm, PushRequest, Recipe};

/// Send an image, or all images of a repository, to a registry.
#[derive(Args, Debug)]
pub(crate) struct Push {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Print only the name of the image
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    compression: CompressionFlags,
    /// Also send layers that their makers hand out themselves (foreign layers), if you may
    #[arg(long)]
    allow_nondistributable_artifacts: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// NAME[:TAG]
    #[arg(value_name = "NAME[:TAG]")]
    name: Vec<String>,
}

/// How layers are sent.
#[derive(Args, Debug)]
pub(crate) struct CompressionFlags {
    /// Send every layer like this: gzip, zstd or uncompressed [default: as it is known, gzip if it is new]
    #[arg(long, value_name = "HOW")]
    compression: Option<String>,
    /// Level of the compression: 0 to 9 for gzip, 1 to 22 for zstd
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    compression_level: Option<i32>,
}

impl CompressionFlags {
    pub(crate) fn recipe(&self) -> Result<Option<Recipe>, Failure> {
        match (&self.compression, self.compression_level) {
            (None, None) => Ok(None),
            (name, level) => {
                let name = name.as_deref().unwrap_or("gzip");
                Recipe::new(name, level).map(Some).map_err(Failure::new)
            }
        }
    }
}

impl Push {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.name, 1)?;
        let text = &self.name[0];
        let reference = super::place::reference(text)?;
        let tagged = names_a_tag(text);
        if self.all_tags && tagged {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        let request = PushRequest {
            reference: reference.clone(),
            all_tags: self.all_tags,
            form: PushForm {
                recipe: self.compression.recipe()?,
                foreign: self.allow_nondistributable_artifacts,
            },
        };
        let engine = global.engine()?;
        if !self.quiet && !self.all_tags && !tagged && reference.digest().is_none() {
            emit("Using default tag: latest\n")?;
        }
        let display = if self.quiet { Display::silent() } else { Display::stdout() };
        let cancel = Cancel::by_signals(&engine)?;
        let pushed = engine.push(&request, &|progress| display.show(progress), cancel.flag());
        display.end();
        pushed?;
        if self.quiet {
            let name = if self.all_tags { reference.name() } else { reference.to_string() };
            emit(&format!("{name}\n"))?;
        }
        Ok(0)
    }
}
