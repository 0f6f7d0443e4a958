//! `system df`.

use super::ps;
use crate::failure::Outcome;
use crate::global::Global;
use crate::output::emit;
use crate::render::list::{Columns, Row};
use crate::render::units;
use crate::render::units::now;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;
use strata_engine::container::ContainerState;
use strata_engine::system::DiskUsage;

/// Show disk usage: logical bytes, every layer once.
#[derive(Args, Debug)]
pub(crate) struct Df {
    /// One row per image, container, volume and cache record
    #[arg(short, long, conflicts_with = "format")]
    verbose: bool,
    /// Format: table, 'table TEMPLATE', json or a Go template (.Type .TotalCount .Active .Size .Reclaimable)
    #[arg(long)]
    format: Option<String>,
    /// Also the bytes the store takes on disk
    #[arg(long)]
    disk: bool,
}

const SUMMARY: Columns = Columns {
    headers: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    default: "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    context: "diskUsageContext",
};
const IMAGES: Columns = Columns {
    headers: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
    default: "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    context: "imageContext",
};
const CONTAINERS: Columns = Columns {
    headers: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
    default: "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    context: "containerContext",
};
const VOLUMES: Columns = Columns {
    headers: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
    default: "table {{.Name}}\t{{.Links}}\t{{.Size}}",
    context: "volumeContext",
};
const CACHE: Columns = Columns {
    headers: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ],
    default: "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
    context: "buildCacheContext",
};

impl Df {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let usage = global.look()?.disk_usage()?;
        let mut text = if self.verbose {
            verbose(&usage, now())?
        } else {
            SUMMARY.render(self.format.as_deref(), summary(&usage))?
        };
        if self.disk {
            text.push_str(&format!(
                "\nOn disk: {} ({} bytes)\n",
                units::size(usage.physical),
                usage.physical
            ));
            if usage.downloads > 0 {
                let size = units::size(usage.downloads);
                text.push_str(&format!(
                    "of it interrupted downloads: {size} (builder prune -a removes them)\n"
                ));
            }
        }
        emit(&text)?;
        Ok(0)
    }
}

fn fields<const N: usize>(fields: [(&str, String); N]) -> Row {
    fields.into_iter().map(|(field, value)| (field.to_owned(), Value::from(value))).collect()
}

/// `946.2MB (100%)`; without the share when there is nothing.
fn reclaimable(bytes: u64, total: u64) -> String {
    match (bytes * 100).checked_div(total) {
        Some(share) => format!("{} ({share}%)", units::size(bytes)),
        None => units::size(bytes),
    }
}

fn summary(usage: &DiskUsage) -> Vec<Row> {
    let row = |kind: &str, total: usize, active: usize, size: u64, free: String| {
        fields([
            ("Type", kind.to_owned()),
            ("TotalCount", total.to_string()),
            ("Active", active.to_string()),
            ("Size", units::size(size)),
            ("Reclaimable", free),
        ])
    };
    let images = &usage.images;
    let active = images.iter().filter(|image| image.containers > 0);
    let running = |state: &ContainerState| matches!(state, ContainerState::Running { .. });
    let containers: u64 = usage.containers.iter().map(|(_, own, _)| own).sum();
    let stopped: u64 =
        usage.containers.iter().filter(|(c, ..)| !running(&c.state)).map(|(_, own, _)| own).sum();
    let volumes: u64 = usage.volumes.iter().map(|(_, size)| size).sum();
    let unused = usage.volumes.iter().filter(|(volume, _)| volume.containers.is_empty());
    vec![
        row(
            "Images",
            images.len(),
            active.count(),
            usage.layers_size,
            reclaimable(usage.reclaimable_layers, usage.layers_size),
        ),
        row(
            "Containers",
            usage.containers.len(),
            usage.containers.iter().filter(|(container, ..)| running(&container.state)).count(),
            containers,
            reclaimable(stopped, containers),
        ),
        row(
            "Local Volumes",
            usage.volumes.len(),
            usage.volumes.iter().filter(|(volume, _)| !volume.containers.is_empty()).count(),
            volumes,
            reclaimable(unused.map(|(_, size)| size).sum(), volumes),
        ),
        row(
            "Build Cache",
            usage.cache.len(),
            usage.cache.iter().filter(|record| record.in_use).count(),
            usage.cache_only_size,
            units::size(usage.cache_only_size),
        ),
    ]
}

fn verbose(usage: &DiskUsage, now: Timestamp) -> Result<String, crate::failure::Failure> {
    let images: Vec<Row> = usage.images.iter().map(|image| image_row(image, now)).collect();
    let containers: Vec<Row> = usage
        .containers
        .iter()
        .map(|(container, own, _)| {
            let mut row = ps::row(container, None, now, false);
            row.insert("Size".to_owned(), units::size_short(*own).into());
            row
        })
        .collect();
    let volumes: Vec<Row> = usage
        .volumes
        .iter()
        .map(|(volume, size)| {
            fields([
                ("Name", volume.name.clone()),
                ("Links", volume.containers.len().to_string()),
                ("Size", units::size_short(*size)),
            ])
        })
        .collect();
    let cache: Vec<Row> = usage
        .cache
        .iter()
        .map(|record| {
            fields([
                ("ID", record.id.clone()),
                ("CacheType", record.kind.clone()),
                ("Size", units::size_short(record.size)),
                ("CreatedSince", units::ago(Some(record.created), now)),
                (
                    "LastUsedSince",
                    record.last_used.map_or_else(String::new, |time| units::ago(Some(time), now)),
                ),
                ("UsageCount", record.usage_count.to_string()),
                ("Shared", record.shared.to_string()),
            ])
        })
        .collect();
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {}\n\n{}",
        IMAGES.render(None, images)?,
        CONTAINERS.render(None, containers)?,
        VOLUMES.render(None, volumes)?,
        units::size(usage.cache_only_size),
        CACHE.render(None, cache)?,
    ))
}

fn image_row(image: &strata_engine::image::ImageSummary, now: Timestamp) -> Row {
    let name = image.tags.first();
    let none = || "<none>".to_owned();
    fields([
        ("Repository", name.map_or_else(none, |name| name.familiar_name())),
        ("Tag", name.and_then(|name| name.tag()).map_or_else(none, str::to_owned)),
        ("ID", image.id.short()),
        ("CreatedSince", units::ago(image.created, now)),
        ("Size", units::size_short(image.size)),
        ("SharedSize", units::size_short(image.shared_size)),
        ("UniqueSize", units::size_short(image.size - image.shared_size)),
        ("Containers", image.containers.to_string()),
    ])
}
