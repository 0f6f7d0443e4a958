//! `logs`.

use super::arguments::exactly;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::render::units::now;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use strata_engine::container::LogsRequest;

/// Show what a container wrote to its standard output and error.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    tail: String,
    /// Put the time before every line
    #[arg(short, long)]
    timestamps: bool,
    /// Only after a time: RFC 3339, Unix seconds, or 10m for ten minutes ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before a time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: Vec<String>,
}

impl Logs {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.container, 1)?;
        let time = |text: &Option<String>| text.as_deref().map(parse_time).transpose();
        let tail = match self.tail.as_str() {
            "all" => None,
            // Docker: a negative number means all.
            number => match number.parse::<i64>() {
                Ok(n) => usize::try_from(n).ok(),
                Err(_) => {
                    return Err(Failure::flag(format!("invalid --tail {number:?}: use a number or all")));
                }
            },
        };
        let request = LogsRequest {
            follow: self.follow,
            tail,
            timestamps: self.timestamps,
            since: time(&self.since)?,
            until: time(&self.until)?,
        };
        // Not locked for the whole time: with -f this runs for as long as the container.
        global.look()?.logs(&self.container[0], &request, &mut std::io::stdout(), &mut std::io::stderr())?;
        Ok(0)
    }
}

/// RFC 3339, a date, Unix seconds, or a duration before now (`1h30m`).
fn parse_time(text: &str) -> Result<Timestamp, Failure> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Some(time) =
        text.parse::<f64>().ok().and_then(|s| Timestamp::from_nanosecond((s * 1e9) as i128).ok())
    {
        return Ok(time);
    }
    let zone = jiff::tz::TimeZone::system();
    if let Some(time) = text.parse::<jiff::civil::DateTime>().ok().and_then(|time| time.to_zoned(zone).ok()) {
        return Ok(time.timestamp());
    }
    let before = text.parse::<SignedDuration>().ok().and_then(|before| now().checked_sub(before).ok());
    before.ok_or_else(|| {
        Failure::flag(format!(
            "invalid time {text:?}: use 2026-01-31T10:00:00Z, Unix seconds, or 10m for ten minutes ago"
        ))
    })
}
