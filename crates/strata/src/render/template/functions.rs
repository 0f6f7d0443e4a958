//! Functions: Docker's (`json`, `join`, ...) and those every Go template has.

use super::Mode;
use super::value;
use serde_json::Value;
use std::cmp::Ordering;

const DOCKER: [&str; 8] = ["json", "split", "join", "title", "lower", "upper", "pad", "truncate"];
const GO: [&str; 17] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "println",
    "printf", "html", "js",
];

pub(super) fn exists(name: &str) -> bool {
    DOCKER.contains(&name) || GO.contains(&name) || matches!(name, "urlquery" | "call")
}

/// Calls a function; the error is the part after `error calling NAME: `.
pub(super) fn call(name: &str, arguments: &[Value], mode: Mode) -> Result<Value, String> {
    // Headers go through the template like rows do, and must come out as they are.
    if mode == Mode::Header && DOCKER.contains(&name) && name != "pad" {
        return Ok(arguments.first().cloned().unwrap_or(Value::Null));
    }
    match name {
        "json" => Ok(Value::from(value::json(one(arguments)?))),
        "split" => split(arguments),
        "join" => join(arguments),
        "title" => Ok(Value::from(title(&text(one(arguments)?)))),
        "lower" => Ok(Value::from(text(one(arguments)?).to_lowercase())),
        "upper" => Ok(Value::from(text(one(arguments)?).to_uppercase())),
        "pad" => pad(arguments),
        "truncate" => truncate(arguments),
        "not" => Ok(Value::from(!value::truth(one(arguments)?))),
        "eq" => equal(arguments).map(Value::from),
        "ne" => exactly_two(arguments).and_then(|(a, b)| same(a, b)).map(|same| Value::from(!same)),
        "lt" | "le" | "gt" | "ge" => compare(name, arguments),
        "len" => len(one(arguments)?),
        "index" => index(arguments),
        "slice" => slice(arguments),
        "print" => Ok(Value::from(print(arguments))),
        "println" => Ok(Value::from(arguments.iter().map(value::print).collect::<Vec<_>>().join(" ") + "\n")),
        "printf" => printf(arguments),
        "html" => Ok(Value::from(html(&print(arguments)))),
        "js" => {
            Ok(Value::from(print(arguments).replace('\\', "\\\\").replace('\'', "\\'").replace('"', "\\\"")))
        }
        "urlquery" => Ok(Value::from(url_query(&print(arguments)))),
        other => Err(format!("{other} cannot be called here")),
    }
}

fn one(arguments: &[Value]) -> Result<&Value, String> {
    match arguments {
        [value] => Ok(value),
        _ => Err(format!("wrong number of args: want 1 got {}", arguments.len())),
    }
}

fn exactly_two(arguments: &[Value]) -> Result<(&Value, &Value), String> {
    match arguments {
        [first, second] => Ok((first, second)),
        _ => Err(format!("wrong number of args: want 2 got {}", arguments.len())),
    }
}

fn text(value: &Value) -> String {
    value::print(value)
}

fn whole(value: &Value) -> Result<usize, String> {
    let number = value.as_i64().ok_or_else(|| format!("expected integer; found {}", value::print(value)))?;
    usize::try_from(number).map_err(|_| format!("index out of range: {number}"))
}

fn split(arguments: &[Value]) -> Result<Value, String> {
    let (subject, separator) = exactly_two(arguments)?;
    let (subject, separator) = (text(subject), text(separator));
    if separator.is_empty() {
        return Ok(subject.chars().map(String::from).collect());
    }
    Ok(subject.split(&separator).map(str::to_owned).collect())
}

fn join(arguments: &[Value]) -> Result<Value, String> {
    let (list, separator) = exactly_two(arguments)?;
    match list {
        Value::Null => Ok(Value::from("")),
        Value::Array(items) => {
            Ok(Value::from(items.iter().map(text).collect::<Vec<_>>().join(&text(separator))))
        }
        other => Err(format!("wrong type for value; expected []string; got {}", value::print(other))),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let upper = start && c.is_alphabetic();
            start = !c.is_alphanumeric();
            if upper { c.to_uppercase().next().unwrap_or(c) } else { c }
        })
        .collect()
}

fn pad(arguments: &[Value]) -> Result<Value, String> {
    let [subject, before, after] = arguments else {
        return Err(format!("wrong number of args: want 3 got {}", arguments.len()));
    };
    let subject = text(subject);
    if subject.is_empty() {
        return Ok(Value::from(""));
    }
    Ok(Value::from(format!("{}{subject}{}", " ".repeat(whole(before)?), " ".repeat(whole(after)?))))
}

/// Cuts bytes, as Docker does; a character that would be cut in two goes as a whole.
fn truncate(arguments: &[Value]) -> Result<Value, String> {
    let (subject, length) = exactly_two(arguments)?;
    let (mut subject, mut length) = (text(subject), whole(length)?);
    if subject.len() > length {
        while !subject.is_char_boundary(length) {
            length -= 1;
        }
        subject.truncate(length);
    }
    Ok(Value::from(subject))
}

/// `eq a b c`: a equals b or c.
fn equal(arguments: &[Value]) -> Result<bool, String> {
    let Some((first, rest)) = arguments.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Err("missing argument for comparison".to_owned());
    };
    for other in rest {
        if same(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn same(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => Ok(a.as_f64() == b.as_f64()),
        (Value::Null, _) | (_, Value::Null) => Ok(a == b),
        _ if std::mem::discriminant(a) == std::mem::discriminant(b) => match a {
            Value::Array(_) | Value::Object(_) => Err("non-comparable types".to_owned()),
            _ => Ok(a == b),
        },
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn compare(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let (a, b) = exactly_two(arguments)?;
    let ordering = match (a, b) {
        (Value::Number(_), Value::Number(_)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => return Err("incompatible types for comparison".to_owned()),
    };
    Ok(Value::from(match name {
        "lt" => ordering == Some(Ordering::Less),
        "le" => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        "gt" => ordering == Some(Ordering::Greater),
        _ => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    }))
}

fn len(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => Ok(Value::from(text.len())),
        Value::Array(items) => Ok(Value::from(items.len())),
        Value::Object(fields) => Ok(Value::from(fields.len())),
        Value::Null => Ok(Value::from(0)),
        other => Err(format!("len of type {}", value::print(other))),
    }
}

/// `index x 1 "k"`: one step per key. A map without the key gives an empty string, as `map[string]string` does.
fn index(arguments: &[Value]) -> Result<Value, String> {
    let Some((first, keys)) = arguments.split_first() else {
        return Err("wrong number of args: want at least 1 got 0".to_owned());
    };
    let mut value = first.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Object(fields), Value::String(key)) => {
                fields.get(key).cloned().unwrap_or_else(|| Value::from(""))
            }
            (Value::Array(items), key) => {
                let at = whole(key)?;
                items.get(at).cloned().ok_or_else(|| format!("index out of range: {at}"))?
            }
            (Value::String(text), key) => {
                let at = whole(key)?;
                text.as_bytes()
                    .get(at)
                    .map(|byte| Value::from(*byte))
                    .ok_or_else(|| format!("index out of range: {at}"))?
            }
            (Value::Null, _) => return Err("index of untyped nil".to_owned()),
            (other, _) => return Err(format!("can't index item of type {}", value::print(other))),
        };
    }
    Ok(value)
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let Some((subject, bounds)) = arguments.split_first() else {
        return Err("wrong number of args: want at least 1 got 0".to_owned());
    };
    let length = match subject {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        other => return Err(format!("can't slice item of type {}", value::print(other))),
    };
    let bounds = bounds.iter().map(whole).collect::<Result<Vec<_>, _>>()?;
    let (start, end) = match bounds[..] {
        [] => (0, length),
        [start] => (start, length),
        [start, end, ..] => (start, end),
    };
    if end > length {
        return Err(format!("index out of range: {end}"));
    }
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    match subject {
        Value::String(text) => Ok(Value::from(String::from_utf8_lossy(&text.as_bytes()[start..end]))),
        Value::Array(items) => Ok(Value::from(items[start..end].to_vec())),
        _ => Ok(Value::Null),
    }
}

/// Go's Sprint: blanks only between operands that are both not strings.
fn print(arguments: &[Value]) -> String {
    let mut out = String::new();
    for (i, argument) in arguments.iter().enumerate() {
        if i > 0 && !argument.is_string() && !arguments[i - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&value::print(argument));
    }
    out
}

fn printf(arguments: &[Value]) -> Result<Value, String> {
    let Some((Value::String(format), rest)) = arguments.split_first() else {
        return Err("wrong type for value; expected string".to_owned());
    };
    let mut out = String::new();
    let mut rest = rest.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '#' | '0' | ' ')) {
            match flag {
                '-' => verb.left = true,
                '+' => verb.plus = true,
                '0' => verb.zero = true,
                _ => {}
            }
        }
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            verb.width =
                verb.width.saturating_mul(10).saturating_add(digit as usize - '0' as usize).min(10_000);
        }
        if chars.next_if_eq(&'.').is_some() {
            let mut precision = 0usize;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                precision =
                    precision.saturating_mul(10).saturating_add(digit as usize - '0' as usize).min(10_000);
            }
            verb.precision = Some(precision);
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(letter) => match rest.next() {
                None => out.push_str(&format!("%!{letter}(MISSING)")),
                Some(argument) => out.push_str(&verb.format(letter, argument)),
            },
        }
    }
    let extra: Vec<String> = rest.map(value::print).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(Value::from(out))
}

/// Flags, width and precision of a printf verb.
#[derive(Default)]
struct Verb {
    left: bool,
    plus: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

impl Verb {
    fn format(&self, letter: char, argument: &Value) -> String {
        let cut = |text: String| match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        };
        let body = match (letter, argument) {
            ('s' | 'v', Value::String(text)) => cut(text.clone()),
            ('v', other) => value::print(other),
            ('s', Value::Array(_) | Value::Object(_)) => value::print(argument),
            ('q', Value::String(text)) => value::quote(text),
            ('q', Value::Array(items)) => {
                format!(
                    "[{}]",
                    items.iter().map(|item| value::quote(&value::print(item))).collect::<Vec<_>>().join(" ")
                )
            }
            ('t', Value::Bool(value)) => value.to_string(),
            ('d', Value::Number(number)) => match number.as_i64() {
                Some(value) if self.plus && value >= 0 => format!("+{value}"),
                _ => number.to_string(),
            },
            ('x' | 'X', Value::Number(number)) => {
                number.as_i64().map(|value| format!("{value:x}")).unwrap_or_default()
            }
            ('x' | 'X', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('f' | 'F', Value::Number(number)) => {
                format!("{:.*}", self.precision.unwrap_or(6), number.as_f64().unwrap_or_default())
            }
            ('g' | 'e', Value::Number(number)) => value::float(number.as_f64().unwrap_or_default()),
            ('c', Value::Number(number)) => number
                .as_u64()
                .and_then(|n| u32::try_from(n).ok())
                .and_then(char::from_u32)
                .map(String::from)
                .unwrap_or_default(),
            (letter, other) => format!("%!{letter}({})", value::print(other)),
        };
        let body = if letter == 'X' { body.to_uppercase() } else { body };
        self.padded(body, argument.is_number())
    }

    fn padded(&self, body: String, number: bool) -> String {
        let missing = self.width.saturating_sub(body.chars().count());
        match (self.left, self.zero && number) {
            (true, _) => body + &" ".repeat(missing),
            (false, true) => match body.strip_prefix(['-', '+']) {
                Some(digits) => format!("{}{}{digits}", &body[..1], "0".repeat(missing)),
                None => "0".repeat(missing) + &body,
            },
            (false, false) => " ".repeat(missing) + &body,
        }
    }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

fn url_query(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            b' ' => "+".to_owned(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
