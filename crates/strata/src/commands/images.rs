//! `images`, `image ls`.

use super::arguments::filter;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use crate::render::list::{Columns, Row};
use crate::render::units;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;
use strata_engine::image::{ImageFilter, ImageSummary};
use strata_oci::Reference;

/// List images, newest first.
#[derive(Args, Debug)]
pub(crate) struct Images {
    /// Also untagged parents of other images
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only some: dangling=BOOL, label=KEY[=VALUE], before=IMAGE, since=IMAGE, reference=PATTERN
    #[arg(short, long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// Format: table, 'table TEMPLATE', json or a Go template (.ID .Repository .Tag .Digest .CreatedSince
    /// .CreatedAt .Size .Containers .SharedSize .UniqueSize .VirtualSize)
    #[arg(long)]
    format: Option<String>,
    /// Cut nothing off
    #[arg(long)]
    no_trunc: bool,
    /// Only the IDs
    #[arg(short, long)]
    quiet: bool,
    /// Only these repositories
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "VIRTUAL SIZE"),
];

impl Images {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let images = global.look()?.images(&self.request()?)?;
        let now = crate::render::units::now();
        let rows: Vec<Row> = images.iter().flat_map(|image| self.rows(image, now)).collect();
        let columns = Columns {
            headers: HEADERS,
            default: if self.digests {
                "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
            } else {
                "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
            },
            context: "imageContext",
        };
        let format =
            if self.quiet && self.format.is_none() { Some("{{.ID}}") } else { self.format.as_deref() };
        let mut text = columns.render(format, rows)?;
        if self.quiet && self.format.is_none() {
            text = without_repeats(&text);
        }
        emit(&text)?;
        Ok(0)
    }

    fn request(&self) -> Result<ImageFilter, Failure> {
        let mut request =
            ImageFilter { references: self.reference.iter().cloned().collect(), ..Default::default() };
        for (key, value) in &self.filter {
            match key.as_str() {
                "reference" => request.references.push(value.clone()),
                "before" => request.before = Some(value.clone()),
                "since" => request.since = Some(value.clone()),
                "label" => {
                    let (key, value) =
                        value.split_once('=').map_or((value.as_str(), None), |(k, v)| (k, Some(v)));
                    request.labels.push((key.to_owned(), value.map(str::to_owned)));
                }
                "dangling" => match value.as_str() {
                    "true" | "1" => request.dangling = Some(true),
                    "false" | "0" => request.dangling = Some(false),
                    other => {
                        return Err(Failure::new(format!(
                            "invalid filter 'dangling={other}': use true or false"
                        )));
                    }
                },
                other => {
                    return Err(Failure::new(format!(
                        "invalid filter '{other}': use reference, before, since, label or dangling"
                    )));
                }
            }
        }
        Ok(request)
    }

    /// One row per name; one with `<none>` for an image without names.
    fn rows(&self, image: &ImageSummary, now: Timestamp) -> Vec<Row> {
        let none = || "<none>".to_owned();
        if image.tags.is_empty() {
            let digest = image.digests.first().and_then(|d| d.split_once('@'));
            let (repository, digest) = digest.map_or((none(), none()), |(r, d)| (r.to_owned(), d.to_owned()));
            return vec![self.row(image, now, repository, none(), digest)];
        }
        let row = |tag: &Reference| {
            let repository = tag.familiar_name();
            let digest =
                image.digests.iter().filter_map(|d| d.split_once('@')).find(|(name, _)| *name == repository);
            let digest = digest.map_or_else(none, |(_, digest)| digest.to_owned());
            self.row(image, now, repository, tag.tag().map_or_else(none, str::to_owned), digest)
        };
        image.tags.iter().map(row).collect()
    }

    fn row(
        &self,
        image: &ImageSummary,
        now: Timestamp,
        repository: String,
        tag: String,
        digest: String,
    ) -> Row {
        let id = if self.no_trunc { image.id.to_string() } else { image.id.short() };
        [
            ("Containers", image.containers.to_string()),
            ("CreatedAt", image.created.map(units::go_time).unwrap_or_else(|| "N/A".to_owned())),
            ("CreatedSince", units::ago(image.created, now)),
            ("Digest", digest),
            ("ID", id),
            ("Repository", repository),
            ("SharedSize", units::size_short(image.shared_size)),
            ("Size", units::size_short(image.size)),
            ("Tag", tag),
            ("UniqueSize", units::size_short(image.size.saturating_sub(image.shared_size))),
            ("VirtualSize", units::size_short(image.size)),
        ]
        .into_iter()
        .map(|(field, value)| (field.to_owned(), Value::from(value)))
        .collect()
    }
}

/// `images -q` names an image once, however many names it has.
fn without_repeats(text: &str) -> String {
    let mut seen = std::collections::HashSet::new();
    text.lines().filter(|line| seen.insert(*line)).map(|line| format!("{line}\n")).collect()
}
