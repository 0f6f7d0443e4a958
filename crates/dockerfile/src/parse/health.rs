//! `HEALTHCHECK`.

use super::flags::{Flags, Kind};
use super::parts::{Source, cut_kind};
use crate::error::Fault;
use crate::{CommandLine, Healthcheck, duration, go_quote};

const MILLISECOND: i64 = 1_000_000;

pub(crate) fn read(mut source: Source<'_>) -> Result<Healthcheck, Fault> {
    let (kind, rest) = cut_kind(source.line, source.parts.args.clone());
    if kind.is_empty() {
        return Err(Fault::new("HEALTHCHECK requires at least one argument"));
    }
    let kind = source.line.word(kind);
    let name = kind.text.to_uppercase();
    if name == "NONE" {
        if !rest.is_empty() {
            let fault = Fault::new("HEALTHCHECK NONE takes no arguments");
            return Err(fault.at(source.line.span(&rest)));
        }
        return Ok(Healthcheck::None);
    }
    let flags = source.flags(&[
        ("interval", Kind::One),
        ("timeout", Kind::One),
        ("start-period", Kind::One),
        ("start-interval", Kind::One),
        ("retries", Kind::One),
    ])?;
    if name != "CMD" {
        let message = format!("Unknown type {} in HEALTHCHECK (try CMD)", go_quote(&name));
        return Err(Fault::new(message).at(kind.span));
    }
    let command = match source.parts.json {
        Some(words) => CommandLine::Exec(words.into_iter().map(|word| word.text).collect()),
        None => CommandLine::Shell(source.line.text[rest].to_owned()),
    };
    match &command {
        CommandLine::Exec(words) if words.is_empty() => {
            Err(Fault::new("Missing command after HEALTHCHECK CMD"))
        }
        CommandLine::Shell(text) if text.is_empty() => {
            Err(Fault::new("Missing command after HEALTHCHECK CMD"))
        }
        _ => Ok(Healthcheck::Cmd {
            interval: interval(&flags, "interval")?,
            timeout: interval(&flags, "timeout")?,
            start_period: interval(&flags, "start-period")?,
            start_interval: interval(&flags, "start-interval")?,
            retries: retries(&flags)?,
            command,
        }),
    }
}

fn interval(flags: &Flags, name: &str) -> Result<i64, Fault> {
    let Some(word) = flags.filled(name) else { return Ok(0) };
    let nanos = duration::parse(&word.text).map_err(|error| Fault::new(error.to_string()).at(word.span))?;
    if nanos != 0 && nanos < MILLISECOND {
        let message = format!("Interval {} cannot be less than 1ms", go_quote(name));
        return Err(Fault::new(message).at(word.span));
    }
    Ok(nanos)
}

fn retries(flags: &Flags) -> Result<i64, Fault> {
    let Some(word) = flags.filled("retries") else { return Ok(0) };
    let text = word.text.as_str();
    let fail = |message: String| Fault::new(message).at(word.span);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(fail(format!("strconv.ParseInt: parsing {}: invalid syntax", go_quote(text))));
    }
    match text.parse::<i32>() {
        Ok(retries) if retries < 0 => Err(fail(format!("--retries cannot be negative ({retries})"))),
        Ok(retries) => Ok(i64::from(retries)),
        Err(_) => Err(fail(format!("strconv.ParseInt: parsing {}: value out of range", go_quote(text)))),
    }
}
