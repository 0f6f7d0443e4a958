//! `volume ls|create|inspect|rm|prune`.

use super::arguments::{at_least, confirmed, each, filter, has_names, label};
use super::inspect;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use crate::render::list::{Columns, Row};
use crate::render::units;
use clap::Subcommand;
use serde_json::Value;
use strata_engine::volume::VolumeSummary;

/// Manage volumes.
#[derive(Subcommand, Debug)]
pub(crate) enum Volume {
    /// List volumes
    #[command(alias = "list")]
    Ls {
        /// Only the names
        #[arg(short, long)]
        quiet: bool,
        /// Only some: name=, label=, dangling=BOOL
        #[arg(short, long, value_name = "FILTER", value_parser = filter)]
        filter: Vec<(String, String)>,
        /// Format: table, 'table TEMPLATE', json or a Go template (.Name .Driver .Mountpoint .Labels .Scope)
        #[arg(long)]
        format: Option<String>,
    },
    /// Create a volume
    Create {
        /// Driver: local
        #[arg(short, long, default_value = "local")]
        driver: String,
        /// Labels
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<String>,
        /// Name [default: a random one]
        #[arg(value_name = "VOLUME")]
        name: Option<String>,
    },
    /// Show details of volumes
    Inspect {
        /// A Go template, or json
        #[arg(short, long)]
        format: Option<String>,
        /// Names
        #[arg(value_name = "VOLUME [VOLUME...]")]
        names: Vec<String>,
    },
    /// Remove volumes with their files
    #[command(alias = "remove")]
    Rm {
        /// It is no error when one is not there
        #[arg(short, long)]
        force: bool,
        /// Names
        #[arg(value_name = "VOLUME [VOLUME...]")]
        names: Vec<String>,
    },
    /// Remove unused anonymous volumes
    Prune {
        /// Named ones too
        #[arg(short, long)]
        all: bool,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
}

/// What `ls` can be asked for.
const FILTERS: [&str; 3] = ["name", "label", "dangling"];

const COLUMNS: Columns = Columns {
    headers: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
    ],
    default: "table {{.Driver}}\t{{.Name}}",
    context: "volumeContext",
};

impl Volume {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Ls { quiet, filter, format } => list(global, quiet, &filter, format.as_deref()),
            Self::Create { driver, label: labels, name } => {
                if driver != "local" {
                    return Err(Failure::new(format!(
                        "error looking up volume plugin {driver}: only local exists"
                    )));
                }
                has_names("label", &labels)?;
                let labels: Vec<_> = labels.iter().map(|text| label(text)).collect();
                let name = global.engine()?.create_volume(name.as_deref(), &labels)?;
                emit(&format!("{name}\n"))?;
                Ok(0)
            }
            Self::Inspect { format, names } => {
                at_least(&names, 1)?;
                let engine = global.look()?;
                inspect::show(format.as_deref(), &names, |name| inspect::volume(&engine, name))
            }
            Self::Rm { force, names } => {
                at_least(&names, 1)?;
                let engine = global.engine()?;
                each(&names, |name| Ok(engine.remove_volume(name, force)?))
            }
            Self::Prune { all, force } => prune(global, all, force),
        }
    }
}

fn list(global: &Global, quiet: bool, filters: &[(String, String)], format: Option<&str>) -> Outcome {
    if let Some((key, _)) = filters.iter().find(|(key, _)| !FILTERS.contains(&key.as_str())) {
        return Err(Failure::new(format!("invalid filter '{key}': use {}", FILTERS.join(" or "))));
    }
    let mut rows = Vec::new();
    for volume in global.engine()?.volumes()? {
        if filters.iter().all(|(key, value)| matches(&volume, key, value)) {
            let labels: Vec<String> =
                volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let fields = [
                ("Name", volume.name),
                ("Driver", "local".to_owned()),
                ("Scope", "local".to_owned()),
                ("Mountpoint", volume.mountpoint.display().to_string()),
                ("Labels", labels.join(",")),
                ("Links", volume.containers.len().to_string()),
            ];
            rows.push(fields.into_iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect::<Row>());
        }
    }
    let format = if quiet { Some("{{.Name}}") } else { format };
    emit(&COLUMNS.render(format, rows)?)?;
    Ok(0)
}

fn matches(volume: &VolumeSummary, key: &str, value: &str) -> bool {
    match key {
        "name" => volume.name.contains(value),
        "dangling" => volume.containers.is_empty() == matches!(value, "true" | "1"),
        "label" => match value.split_once('=') {
            Some((key, value)) => volume.labels.get(key).is_some_and(|have| have == value),
            None => volume.labels.contains_key(value),
        },
        _ => false,
    }
}

fn prune(global: &Global, all: bool, force: bool) -> Outcome {
    let what = if all { "all local volumes" } else { "anonymous local volumes" };
    if !force && !confirmed(&format!("WARNING! This will remove {what} not used by at least one container."))?
    {
        return Ok(0);
    }
    let (names, reclaimed) = global.engine()?.prune_volumes(all)?;
    if !names.is_empty() {
        emit(&format!("Deleted Volumes:\n{}\n\n", names.join("\n")))?;
    }
    emit(&format!("Total reclaimed space: {}\n", units::size(reclaimed)))?;
    Ok(0)
}
