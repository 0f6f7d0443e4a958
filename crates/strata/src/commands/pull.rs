//! `pull`.

use super::arguments::exactly;
use super::transfer::{Cancel, Display};
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use clap::Args;
use std::io::Write;
use strata_engine::transfer::{PullRequest, Pulled};
use strata_engine::{Engine, EngineError};
use strata_oci::Reference;

/// Fetch an image, or all images of a repository, from a registry.
#[derive(Args, Debug)]
pub(crate) struct Pull {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Platform of the image, if there are several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Print only the name of the image
    #[arg(short, long)]
    quiet: bool,
    /// How many times its compressed size a layer may unpack to, beyond 512 MiB; 0: any number
    #[arg(long, value_name = "N", default_value_t = PullRequest::MAX_INFLATION)]
    max_inflation: u64,
    /// Accepted for Docker's sake: digests are always checked
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// NAME[:TAG|@DIGEST]
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: Vec<String>,
}

impl Pull {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.name, 1)?;
        let text = &self.name[0];
        let reference = super::place::reference(text)?;
        let tagged = names_a_tag(text);
        if self.all_tags && (tagged || reference.digest().is_some()) {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        let platform = self.platform.as_deref().map(str::parse).transpose().map_err(Failure::new)?;
        if !self.quiet && !self.all_tags && !tagged && reference.digest().is_none() {
            emit("Using default tag: latest\n")?;
        }
        let request =
            PullRequest { reference, all_tags: self.all_tags, platform, max_inflation: self.max_inflation };
        let engine = global.engine()?;
        let display = if self.quiet { Display::silent() } else { Display::stdout() };
        let pulled = pull(&engine, &request, &display)?;
        match pulled.last() {
            Some(last) if self.all_tags => emit(&format!("{}\n", last.reference.name()))?,
            Some(last) => emit(&format!("{}\n", last.reference))?,
            None => {}
        }
        Ok(0)
    }
}

/// Whether the text has a tag of its own.
pub(super) fn names_a_tag(text: &str) -> bool {
    let name = text.split('@').next().unwrap_or(text);
    name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// Pulls, and says what became of it.
fn pull(engine: &Engine, request: &PullRequest, display: &Display) -> Result<Vec<Pulled>, EngineError> {
    let cancel = Cancel::by_signals(engine)?;
    let pulled = engine.pull(request, &|progress| display.show(progress), cancel.flag());
    display.end();
    let pulled = pulled?;
    if let Some(last) = pulled.last() {
        let newer = pulled.iter().any(|image| image.newer);
        let status = if newer { "Downloaded newer image for" } else { "Image is up to date for" };
        let name = if request.all_tags { last.reference.familiar_name() } else { last.reference.familiar() };
        display.line(&format!("Status: {status} {name}"));
    }
    Ok(pulled)
}

/// `--pull`: when `run` and its like fetch the image first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// If it is not here.
    Missing,
    /// Anyway.
    Always,
    /// Never.
    Never,
}

impl std::str::FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "missing" | "" => Ok(Self::Missing),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => Err(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            )),
        }
    }
}

/// Gets the image that a container is to be made of, as Docker does: what happens is told on standard error.
pub(super) fn ensure(
    engine: &Engine,
    name: &str,
    policy: Policy,
    platform: Option<&strata_oci::Platform>,
    quiet: bool,
) -> Result<(), EngineError> {
    let wanted = match policy {
        Policy::Never => false,
        Policy::Always => true,
        Policy::Missing => !engine.has_image(name, platform),
    };
    // An ID cannot be pulled; whoever uses it says that it is not here.
    let Some(reference) = name.parse::<Reference>().ok().filter(|_| wanted) else { return Ok(()) };
    if policy == Policy::Missing {
        let _ = writeln!(std::io::stderr(), "Unable to find image '{}' locally", reference.familiar());
    }
    let display = if quiet { Display::silent() } else { Display::stderr() };
    let request = PullRequest { platform: platform.cloned(), ..PullRequest::new(reference.clone()) };
    let pulled = strata_engine::with_signals(|| pull(engine, &request, &display)).flatten();
    pulled.map(drop).map_err(|error| engine.not_pulled(&reference.familiar(), error))
}
