//! `image copy`, `image rebase`.

use super::arguments::exactly;
use super::place::{place, platform, with_copier};
use crate::failure::Outcome;
use crate::global::Global;
use crate::output::emit;
use crate::render::units;
use clap::Args;
use std::io::Write;
use strata_engine::copy::rebase::RebaseRequest;
use strata_engine::copy::{Copied, CopyRequest, Place, Placed, Step};
use strata_oci::Platform;

/// Copy an image from one place to another with all its platforms, byte for byte.
#[derive(Args, Debug)]
#[command(
    after_help = "Places: NAME on a registry, oci:DIR[:TAG], docker-archive:FILE[:NAME], local:NAME in this store"
)]
pub(crate) struct ImageCopy {
    /// Only the image for this platform (os/arch[/variant]) [default: all of them]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,
    /// Also what refers to the image: signatures, attestations, bills of materials
    #[arg(long)]
    referrers: bool,
    /// Print the digest only
    #[arg(short, long)]
    quiet: bool,
    /// SOURCE DESTINATION
    #[arg(value_name = "SOURCE DESTINATION")]
    places: Vec<String>,
}

/// Put an image on a newer base without building it again.
#[derive(Args, Debug)]
#[command(
    after_help = "Places: NAME on a registry, oci:DIR[:TAG], docker-archive:FILE[:NAME], local:NAME in this store"
)]
pub(crate) struct ImageRebase {
    /// What the image was built on [default: what its annotations say]
    #[arg(long, value_name = "PLACE")]
    old_base: Option<String>,
    /// What it shall stand on
    #[arg(long, value_name = "PLACE", required = true)]
    new_base: String,
    /// Only the image for this platform (os/arch[/variant]) [default: all of them]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,
    /// Print the digest only
    #[arg(short, long)]
    quiet: bool,
    /// IMAGE DESTINATION
    #[arg(value_name = "IMAGE DESTINATION")]
    places: Vec<String>,
}

impl ImageCopy {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.places, 2)?;
        let request = CopyRequest {
            source: place(&self.places[0])?,
            destination: place(&self.places[1])?,
            platform: self.platform,
            referrers: self.referrers,
        };
        let copied = with_copier(global, &observer(self.quiet), |copier| copier.copy(&request))?;
        report(&copied, &request.destination, self.quiet)
    }
}

impl ImageRebase {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.places, 2)?;
        let request = RebaseRequest {
            image: place(&self.places[0])?,
            old_base: self.old_base.as_deref().map(place).transpose()?,
            new_base: place(&self.new_base)?,
            destination: place(&self.places[1])?,
            platform: self.platform,
        };
        let copied = with_copier(global, &observer(self.quiet), |copier| copier.rebase(&request))?;
        report(&copied, &request.destination, self.quiet)
    }
}

/// A line per blob, in Docker's words where it has some.
fn observer(quiet: bool) -> impl Fn(&Step) + Sync {
    move |step| {
        if quiet {
            return;
        }
        let what = match &step.placed {
            Placed::Copied => match step.size {
                Some(size) => format!("Copied {}", units::size(size)),
                None => "Pushed".to_owned(),
            },
            Placed::Exists => "Already exists".to_owned(),
            Placed::Mounted(from) => format!("Mounted from {from}"),
            Placed::Elsewhere => "Skipped foreign layer".to_owned(),
        };
        // Whoever read the lines may be gone; the copy goes on.
        let _ = writeln!(std::io::stdout(), "{}: {what}", step.id);
    }
}

fn report(copied: &Copied, destination: &Place, quiet: bool) -> Outcome {
    let digest = copied.digest.map(|digest| digest.to_string()).unwrap_or_default();
    if quiet {
        emit(&format!("{digest}\n"))?;
    } else {
        let sent = copied.bytes.map(|bytes| format!(" sent: {}", units::size(bytes))).unwrap_or_default();
        emit(&format!("{destination}: digest: {digest}{sent}\n"))?;
    }
    Ok(0)
}
