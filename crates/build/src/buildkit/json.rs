//! JSON as Go writes it: fields in the order of the structure, empty ones left out by whoever calls.
use std::fmt::Write as _;

/// A string, with `<`, `>`, `&` and the two line separators of JavaScript escaped as well.
pub(super) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("text takes text");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// An object of fields that are JSON already; `None` for one that is left out.
pub(super) fn object(fields: &[(&str, Option<String>)]) -> String {
    let kept: Vec<String> = fields
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{}:{value}", string(name))))
        .collect();
    format!("{{{}}}", kept.join(","))
}

/// A list of what is JSON already.
pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(","))
}

/// A string that is left out when it is empty.
pub(super) fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| string(value))
}

/// A flag that is left out when it is not set.
pub(super) fn flag(value: bool) -> Option<String> {
    value.then(|| "true".to_owned())
}

/// A number that is left out when it is zero.
pub(super) fn number(value: i64) -> Option<String> {
    (value != 0).then(|| value.to_string())
}
