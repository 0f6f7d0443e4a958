//! `--call=outline` and `--call=targets`.

use super::call::location;
use super::request::Dockerfile;
use crate::failure::{Failure, Outcome};
use crate::output::emit;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Map, Value, json};
use strata_engine::build::outline::{self, Resource};
use strata_engine::build::{BuildRequest, Dockerfile as Parsed, Outline, Target};

/// What can be given to the build of the target.
pub(super) fn outline(
    request: &BuildRequest,
    parsed: &Parsed,
    dockerfile: &Dockerfile,
    as_json: bool,
) -> Outcome {
    let target = request.options.target.as_deref();
    let found = outline::outline(parsed, target, &request.options.build_args).ok_or_else(|| {
        let name = target.unwrap_or_default();
        Failure::with_code(
            format!("ERROR: failed to build: failed to solve: target stage {name:?} could not be found"),
            1,
        )
    })?;
    emit(&if as_json { json_text(&outline_document(&found, dockerfile))? } else { outline_text(&found) })?;
    Ok(0)
}

/// The stages that can be built by name.
pub(super) fn targets(parsed: &Parsed, dockerfile: &Dockerfile, as_json: bool) -> Outcome {
    let found = outline::targets(parsed);
    emit(&if as_json { json_text(&targets_document(&found, dockerfile))? } else { targets_text(&found) })?;
    Ok(0)
}

fn json_text(document: &Value) -> Result<String, Failure> {
    Ok(format!("{}\n", serde_json::to_string_pretty(document).map_err(Failure::new)?))
}

/// Columns three blanks apart.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0) + 3).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

fn outline_text(found: &Outline) -> String {
    let mut parts = Vec::new();
    if found.name.is_some() || found.description.is_some() {
        let mut rows = vec![row(&["TARGET:", found.name.as_deref().unwrap_or("(default)")])];
        rows.extend(found.description.as_ref().map(|text| row(&["DESCRIPTION:", text])));
        parts.push(columns(&rows));
    }
    if !found.arguments.is_empty() {
        let mut rows = vec![row(&["BUILD ARG", "VALUE", "DESCRIPTION"])];
        rows.extend(found.arguments.iter().map(|argument| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            vec![argument.name.clone(), text(&argument.value), text(&argument.description)]
        }));
        parts.push(columns(&rows));
    }
    for (title, list) in [("SECRET", &found.secrets), ("SSH", &found.ssh), ("CACHE", &found.caches)] {
        if !list.is_empty() {
            let mut rows = vec![row(&[title, if title == "CACHE" { "" } else { "REQUIRED" }])];
            rows.extend(list.iter().map(|found| row(&[&found.id, if found.required { "true" } else { "" }])));
            parts.push(columns(&rows));
        }
    }
    parts.join("\n")
}

fn targets_text(found: &[Target]) -> String {
    let mut rows = vec![row(&["TARGET", "DESCRIPTION"])];
    let offered = found.iter().filter(|target| target.name.is_some() || target.default);
    rows.extend(offered.map(|target| {
        let name = match (&target.name, target.default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, _) => "(default)".to_owned(),
        };
        vec![name, target.description.clone().unwrap_or_default()]
    }));
    columns(&rows)
}

/// Leaves out what is empty, as BuildKit's documents do.
fn object(fields: Vec<(&str, Value)>) -> Value {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    let kept = fields.into_iter().filter(|(_, value)| !empty(value));
    Value::Object(kept.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn outline_document(found: &Outline, dockerfile: &Dockerfile) -> Value {
    let argument = |argument: &outline::Argument| {
        object(vec![
            ("name", json!(argument.name)),
            ("description", json!(argument.description)),
            ("value", json!(argument.value)),
            ("location", location(dockerfile, argument.span)),
        ])
    };
    let resource = |key: &'static str| {
        move |found: &Resource| {
            object(vec![
                (key, json!(found.id)),
                ("required", json!(found.required)),
                ("location", location(dockerfile, found.span)),
            ])
        }
    };
    object(vec![
        ("name", json!(found.name)),
        ("description", json!(found.description)),
        ("args", found.arguments.iter().map(argument).collect()),
        ("secrets", found.secrets.iter().map(resource("name")).collect()),
        ("ssh", found.ssh.iter().map(resource("name")).collect()),
        ("cache", found.caches.iter().map(resource("ID")).collect()),
        ("sources", json!([BASE64.encode(&dockerfile.text)])),
    ])
}

fn targets_document(found: &[Target], dockerfile: &Dockerfile) -> Value {
    let target = |target: &Target| {
        object(vec![
            ("name", json!(target.name)),
            ("default", json!(target.default)),
            ("description", json!(target.description)),
            ("base", json!(target.base)),
            ("platform", json!(target.platform)),
            ("location", location(dockerfile, target.span)),
        ])
    };
    let sources = [BASE64.encode(&dockerfile.text)];
    json!({ "targets": found.iter().map(target).collect::<Vec<_>>(), "sources": sources })
}
