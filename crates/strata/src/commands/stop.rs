//! `stop`.

use super::arguments::{at_least, each};
use crate::failure::Outcome;
use crate::global::Global;
use clap::Args;

/// Stop containers: their stop signal first, KILL when the time is over.
#[derive(Args, Debug)]
pub(crate) struct Stop {
    /// Signal to send first [default: the image's, or TERM]
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds before KILL [default: the container's, or 10]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<i64>,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER [CONTAINER...]")]
    containers: Vec<String>,
}

impl Stop {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.containers, 1)?;
        let engine = global.engine()?;
        // Docker: a negative time waits for ever.
        let time = self.time.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
        each(&self.containers, |name| Ok(engine.stop(name, self.signal.as_deref(), time)?))
    }
}
