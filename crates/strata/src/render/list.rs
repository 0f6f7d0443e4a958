//! Lists: `table` templates with headers, `json`, plain templates, `-q` (`spec/engine.md`, section 3).

use super::table;
use super::template::{Mode, Template};
use crate::failure::Failure;
use serde_json::{Map, Value};

/// One row: field name to value, as the templates see it.
pub(crate) type Row = Map<String, Value>;

/// What a list can show.
pub(crate) struct Columns {
    /// Field names with their headers.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// The template without `--format`.
    pub(crate) default: &'static str,
    /// Docker's name of the row type, for messages: `imageContext`.
    pub(crate) context: &'static str,
}

impl Columns {
    /// The whole output.
    pub(crate) fn render(&self, format: Option<&str>, rows: Vec<Row>) -> Result<String, Failure> {
        let format = match format {
            None | Some("table") => self.default,
            Some(format) => format,
        };
        if format == "json" {
            return rows.iter().map(json_line).collect();
        }
        if let Some(body) = format.strip_prefix("table ").or_else(|| format.strip_prefix("table\t")) {
            let template = self.parse(body)?;
            let headers: Row = self
                .headers
                .iter()
                .map(|(field, header)| ((*field).to_owned(), Value::from(*header)))
                .collect();
            let mut text = self.execute(&template, &Value::Object(headers), Mode::Header)?;
            text.push('\n');
            for row in rows {
                text.push_str(&self.execute(&template, &Value::Object(row), Mode::Row)?);
                text.push('\n');
            }
            return Ok(table::lay_out_text(&text));
        }
        let template = self.parse(format)?;
        let mut text = String::new();
        for row in rows {
            text.push_str(&self.execute(&template, &Value::Object(row), Mode::Row)?);
            text.push('\n');
        }
        Ok(text)
    }

    fn parse(&self, text: &str) -> Result<Template, Failure> {
        // The shell hands `\t` over as two characters; Docker's formats mean the tab.
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        Template::parse(&text)
            .map_err(|error| Failure::with_code(format!("template parsing error: {error}"), 64))
    }

    fn execute(&self, template: &Template, data: &Value, mode: Mode) -> Result<String, Failure> {
        template.execute(data, mode).map_err(|error| {
            let place = if error.is_unknown_field() {
                format!(" in type *formatter.{}", self.context)
            } else {
                String::new()
            };
            Failure::with_code(format!("template parsing error: {error}{place}"), 1)
        })
    }
}

/// One object, keys sorted, HTML-escaped, as Go's encoder writes it.
fn json_line(row: &Row) -> Result<String, Failure> {
    let sorted: std::collections::BTreeMap<_, _> = row.iter().collect();
    let text = serde_json::to_string(&sorted).map_err(Failure::new)?;
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n")
}
