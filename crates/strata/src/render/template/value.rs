//! Values as Go's fmt prints them.

use serde_json::{Number, Value};

/// Go's `%v`. A null whose field is a list or a map in Docker's types prints as an empty one.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => print_number(number),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) if is_root_fs(fields) && fields.len() == 1 => {
            format!("{{{} []}}", fields.values().map(print).collect::<String>())
        }
        Value::Object(fields) if is_struct(fields) => {
            format!("{{{}}}", fields.values().map(print).collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => {
            let mut entries: Vec<_> = fields.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}:{}", entry(key, value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// Ports and volume paths are keys of empty structs, which Go prints as `{}`.
fn entry(key: &str, value: &Value) -> String {
    if key.contains('/') && value.as_object().is_some_and(|fields| fields.is_empty()) {
        return "{}".to_owned();
    }
    print(value)
}

/// Docker's types have structs where JSON has objects; those that people print whole are told by their keys.
fn is_struct(fields: &serde_json::Map<String, Value>) -> bool {
    is_root_fs(fields) || fields.contains_key("LastTagTime") || fields.contains_key("MaximumRetryCount")
}

/// `.RootFS`: its JSON leaves the layers out when there are none.
pub(super) fn is_root_fs(fields: &serde_json::Map<String, Value>) -> bool {
    fields.contains_key("Type") && (fields.contains_key("Layers") || fields.len() == 1)
}

fn print_number(number: &Number) -> String {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(value), ..) => value.to_string(),
        (_, Some(value), _) => value.to_string(),
        (_, _, Some(value)) => float(value),
        _ => number.to_string(),
    }
}

/// Go's `%v` of a float64: `%g` with the shortest digits.
pub(super) fn float(value: f64) -> String {
    let exponent = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    if !(-4..21).contains(&exponent) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits_of_exponent) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{digits_of_exponent:0>2}");
    }
    format!("{value}")
}

/// Go's truth: false, 0, nil, and empty strings, lists and maps are false.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Go's `%q`.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)))
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Go's JSON without HTML escaping, on one line.
pub(super) fn json(value: &Value) -> String {
    value.to_string()
}
