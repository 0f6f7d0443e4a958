//! `history`.

use super::arguments::exactly;
use crate::failure::Outcome;
use crate::global::Global;
use crate::output::emit;
use crate::render::list::{Columns, Row};
use crate::render::units;
use clap::{ArgAction, Args};
use jiff::Timestamp;
use serde_json::Value;
use strata_engine::image::HistoryRow;

/// Show the history of an image: one row per instruction, newest first.
#[derive(Args, Debug)]
pub(crate) struct History {
    /// Format: table, 'table TEMPLATE', json or a Go template
    /// (.ID .CreatedSince .CreatedAt .CreatedBy .Size .Comment .Layer .ChainID .Tags)
    #[arg(long)]
    format: Option<String>,
    /// Sizes and times for people
    #[arg(short = 'H', long, default_value = "true", default_missing_value = "true", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    human: bool,
    /// Cut nothing off
    #[arg(long)]
    no_trunc: bool,
    /// Only the IDs
    #[arg(short, long)]
    quiet: bool,
    /// Image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: Vec<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
    ("Layer", "LAYER"),
    ("ChainID", "CHAIN ID"),
    ("Tags", "TAGS"),
];

impl History {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        exactly(&self.image, 1)?;
        let rows = global.look()?.history(&self.image[0])?;
        let now = crate::render::units::now();
        let rows: Vec<Row> = rows.iter().map(|row| self.row(row, now)).collect();
        let created = if self.human { "CreatedSince" } else { "CreatedAt" };
        let table = format!(
            "table {{{{.ID}}}}\t{{{{.{created}}}}}\t{{{{.CreatedBy}}}}\t{{{{.Size}}}}\t{{{{.Comment}}}}"
        );
        let columns = Columns { headers: HEADERS, default: "", context: "historyContext" };
        let format = match (&self.format, self.quiet) {
            (None, true) => "{{.ID}}",
            (None, false) => &table,
            (Some(format), _) if format == "table" => &table,
            (Some(format), _) => format,
        };
        emit(&columns.render(Some(format), rows)?)?;
        Ok(0)
    }

    fn row(&self, row: &HistoryRow, now: Timestamp) -> Row {
        let id = match &row.id {
            None => "<missing>".to_owned(),
            Some(id) if self.no_trunc => id.to_string(),
            Some(id) => id.short(),
        };
        let created_by = row.created_by.replace('\t', " ");
        let created_by = if self.no_trunc { created_by } else { units::ellipsis(&created_by, 45) };
        let size = if self.human { units::size_short(row.size) } else { row.size.to_string() };
        let digest = |digest: Option<String>| digest.unwrap_or_default();
        let tags: Vec<String> = row.tags.iter().map(|tag| tag.familiar()).collect();
        [
            ("ID", id),
            ("CreatedSince", units::ago(row.created, now)),
            ("CreatedAt", row.created.map(units::rfc3339).unwrap_or_else(|| "N/A".to_owned())),
            ("CreatedBy", created_by),
            ("Size", size),
            ("Comment", row.comment.clone()),
            ("Layer", digest(row.diff_id.map(|id| id.to_string()))),
            ("ChainID", digest(row.chain_id.map(|id| id.to_string()))),
            ("Tags", tags.join(",")),
        ]
        .into_iter()
        .map(|(field, value)| (field.to_owned(), Value::from(value)))
        .collect()
    }
}
