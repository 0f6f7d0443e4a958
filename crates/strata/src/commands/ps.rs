//! `ps`, `container ls`.

use super::arguments::filter;
use crate::failure::Outcome;
use crate::global::Global;
use crate::output::emit;
use crate::render::list::{Columns, Row};
use crate::render::template::quote;
use crate::render::units;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;
use strata_engine::container::{ContainerFilter, ContainerState, ContainerSummary};

/// List containers, newest first.
#[derive(Args, Debug)]
pub(crate) struct Ps {
    /// All, not only running ones
    #[arg(short, long)]
    all: bool,
    /// Only some: id=, name=, label=, status=, exited=, ancestor=, before=, since=, volume=, network=, publish=
    #[arg(short, long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// Format: table, 'table TEMPLATE', json or a Go template (.ID .Image .Command .CreatedAt .RunningFor .Ports
    /// .State .Status .Size .Names .Labels .Label .LocalVolumes .Mounts .Networks)
    #[arg(long)]
    format: Option<String>,
    /// The last N created, in any state
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// The last one created, in any state
    #[arg(short, long)]
    latest: bool,
    /// Cut nothing off
    #[arg(long)]
    no_trunc: bool,
    /// Only the IDs
    #[arg(short, long)]
    quiet: bool,
    /// Show sizes
    #[arg(short, long)]
    size: bool,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Networks", "NETWORKS"),
];

const DEFAULT: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const WITH_SIZE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

impl Ps {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let engine = global.look()?;
        let last = self.last.or(self.latest.then_some(1));
        let request = ContainerFilter { all: self.all, last, filters: self.filter.clone() };
        let now = crate::render::units::now();
        let wants_size = self.size || self.format.as_deref().is_some_and(|format| format.contains(".Size"));
        let mut rows = Vec::new();
        for container in engine.containers(&request)? {
            let size = if wants_size { Some(engine.container_size(&container.id)?) } else { None };
            rows.push(row(&container, size, now, self.no_trunc));
        }
        let columns = Columns {
            headers: HEADERS,
            default: if self.size { WITH_SIZE } else { DEFAULT },
            context: "containerContext",
        };
        let format =
            if self.quiet && self.format.is_none() { Some("{{.ID}}") } else { self.format.as_deref() };
        emit(&columns.render(format, rows)?)?;
        Ok(0)
    }
}

/// The row of one container; `size` is own layer and image.
pub(super) fn row(
    container: &ContainerSummary,
    size: Option<(u64, u64)>,
    now: Timestamp,
    no_trunc: bool,
) -> Row {
    let command: Vec<String> =
        container.command.iter().enumerate().map(|(at, word)| shown(at, word)).collect();
    let command = command.join(" ");
    let command = if no_trunc { command } else { units::ellipsis(&command, 20) };
    let id = if no_trunc { &container.id[..] } else { &container.id[..12] };
    let cut = |mount: &String| if no_trunc { mount.clone() } else { units::ellipsis(mount, 15) };
    let mounts: Vec<String> = container.mounts.iter().map(cut).collect();
    let labels: Vec<String> = container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let size = size
        .map(|(own, image)| {
            format!("{} (virtual {})", units::size_short(own), units::size_short(own + image))
        })
        .unwrap_or_else(|| "0B".to_owned());
    [
        ("Command", quote(&command)),
        ("CreatedAt", units::go_time(container.created)),
        ("ID", id.to_owned()),
        ("Image", container.image.clone()),
        ("Labels", labels.join(",")),
        ("LocalVolumes", container.volumes.to_string()),
        ("Mounts", mounts.join(",")),
        ("Names", container.name.clone()),
        ("Networks", container.networks.join(",")),
        ("Ports", container.ports.join(", ")),
        ("RunningFor", units::ago(Some(container.created), now)),
        ("Size", size),
        ("State", state(&container.state).to_owned()),
        ("Status", status(&container.state, now)),
    ]
    .into_iter()
    .map(|(field, value)| (field.to_owned(), Value::from(value)))
    .collect()
}

/// Docker puts arguments with blanks into single quotes.
fn shown(position: usize, word: &str) -> String {
    if position > 0 && word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

fn state(state: &ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running { .. } => "running",
        ContainerState::Exited { .. } => "exited",
    }
}

/// `Up 3 seconds`, `Exited (137) 2 minutes ago`, `Created`.
fn status(state: &ContainerState, now: Timestamp) -> String {
    let since = |time: Timestamp| units::duration(now.as_second() - time.as_second());
    match state {
        ContainerState::Created => "Created".to_owned(),
        ContainerState::Running { started, .. } => format!("Up {}", since(*started)),
        ContainerState::Exited { code, finished, .. } => format!("Exited ({code}) {} ago", since(*finished)),
    }
}
