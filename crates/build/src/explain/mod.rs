//! Why a step was not taken from the cache: its inputs beside those of the nearest earlier run, the first that differs
//! named with both values. A key is the hash of exactly these inputs, so that nothing else can have been the reason.
mod files;
#[cfg(test)]
mod tests;
mod words;

use crate::key::{BASE, COMMAND, ENV, FILES, PARENT};
use crate::{CacheRecord, FileEntry, Input, Place, Reason};
use std::collections::HashMap;

/// Values longer than this are cut in the one-line summary.
const SHOWN: usize = 60;

/// A step that is about to run.
pub(crate) struct Now<'a> {
    pub(crate) place: &'a Place,
    pub(crate) inputs: &'a [Input],
    /// The files of a COPY or ADD; asked for only if they are the reason.
    pub(crate) files: &'a dyn Fn() -> Vec<FileEntry>,
    /// The files that had a digest.
    pub(crate) listed: &'a dyn Fn(&str) -> Vec<FileEntry>,
    /// `--no-cache` or `--no-cache-filter` asked for it.
    pub(crate) forced: bool,
}

/// The reason, or `None` if no earlier run is known that this could be a repetition of.
pub(crate) fn reason(now: &Now<'_>, earlier: &[CacheRecord]) -> Option<Reason> {
    let before = nearest(now, earlier)?;
    if now.forced {
        return Some(line("the cache is turned off for it"));
    }
    let difference = differences(now.inputs, &before.inputs).into_iter().min_by_key(Difference::rank);
    Some(match difference {
        // Both were made of the same; so the result must have gone.
        None => line("its result is no longer in the store"),
        Some(difference) => difference.tell(now),
    })
}

/// The run to compare with: the same instruction wherever it stood, else what stood in this place.
fn nearest<'a>(now: &Now<'_>, earlier: &'a [CacheRecord]) -> Option<&'a CacheRecord> {
    let same_kind = earlier.iter().filter_map(|record| {
        let place = record.place.as_ref()?;
        (place.instruction == now.place.instruction).then_some((record, place))
    });
    let candidates: Vec<_> = same_kind.collect();
    let distance = |place: &Place| place.position.abs_diff(now.place.position);
    let same_text = candidates.iter().filter(|(record, _)| text(&record.inputs).eq(text(now.inputs)));
    same_text
        .min_by_key(|(_, place)| distance(place))
        .or_else(|| candidates.iter().find(|(_, place)| distance(place) == 0))
        .map(|(record, _)| *record)
}

/// What is written in the instruction itself.
fn text(inputs: &[Input]) -> impl Iterator<Item = &Input> {
    let written =
        |name: &str| name == COMMAND || name == "destination" || name == "path" || name.starts_with("source");
    inputs.iter().filter(move |input| written(&input.name))
}

/// An input that is not as it was; at least one side is there.
struct Difference<'a> {
    name: &'a str,
    old: Option<&'a str>,
    new: Option<&'a str>,
}

/// Inputs that differ, in their own order. Names may repeat (`source`): then the n-th is compared with the n-th.
fn differences<'a>(new: &'a [Input], old: &'a [Input]) -> Vec<Difference<'a>> {
    let mut known: HashMap<(&str, usize), &str> = numbered(old).collect();
    let mut found = Vec::new();
    for (key, value) in numbered(new) {
        match known.remove(&key) {
            Some(before) if before == value => {}
            before => found.push(Difference { name: key.0, old: before, new: Some(value) }),
        }
    }
    let gone = numbered(old).filter(|(key, _)| known.contains_key(key));
    found.extend(gone.map(|((name, _), value)| Difference { name, old: Some(value), new: None }));
    found
}

fn numbered(inputs: &[Input]) -> impl Iterator<Item = ((&str, usize), &str)> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    inputs.iter().map(move |input| {
        let count = seen.entry(&input.name).or_default();
        *count += 1;
        ((input.name.as_str(), *count), input.value.as_str())
    })
}

impl Difference<'_> {
    /// What the user did comes before what follows from it.
    fn rank(&self) -> u8 {
        match self.name {
            PARENT => 3,
            BASE => 2,
            _ => u8::from(self.name.starts_with(FILES)),
        }
    }

    fn tell(&self, now: &Now<'_>) -> Reason {
        match (self.name, self.old, self.new) {
            (COMMAND, Some(old), Some(new)) => {
                let (old, new) = (command(old), command(new));
                Reason {
                    summary: format!("the command changed: {}", words::changed(&old, &new)),
                    details: vec![words::diff(&old, &new)],
                }
            }
            (PARENT, Some(_), Some(_)) => line("the step before it changed"),
            (BASE, Some(old), Some(new)) => {
                line(&format!("the base image changed from {} to {}", image(old), image(new)))
            }
            (BASE | PARENT, ..) => line("what it stands on changed"),
            (FILES, Some(old), Some(_)) => files::reason(&(now.listed)(old), &(now.files)()),
            (name, ..) if name.starts_with(FILES) => line(&format!("the {name} changed")),
            (name, old, new) => line(&self.plain(name, old, new)),
        }
    }

    fn plain(&self, name: &str, old: Option<&str>, new: Option<&str>) -> String {
        let (what, show): (String, fn(&str) -> String) = match name.strip_prefix(ENV) {
            Some(variable) if is_secret(variable) => (format!("variable {variable}"), |_| "****".to_owned()),
            Some(variable) => (format!("variable {variable}"), shown),
            None => (name.to_owned(), shown),
        };
        match (old, new) {
            (Some(old), Some(new)) => format!("{what} changed from {} to {}", show(old), show(new)),
            (Some(old), None) => format!("{what} is gone; it was {}", show(old)),
            (None, Some(new)) => format!("{what} is new: {}", show(new)),
            (None, None) => format!("{what} changed"),
        }
    }
}

fn line(summary: &str) -> Reason {
    Reason { summary: summary.to_owned(), details: Vec::new() }
}

/// Arguments as people write them.
fn command(json: &str) -> String {
    serde_json::from_str::<Vec<String>>(json).map_or_else(|_| json.to_owned(), |argv| argv.join(" "))
}

fn image(id: &str) -> &str {
    id.strip_prefix("sha256:").map_or(id, |hex| hex.get(..12).unwrap_or(hex))
}

fn shown(value: &str) -> String {
    let cut: String = value.chars().take(SHOWN).collect();
    if cut.len() < value.len() { format!("\"{cut}…\"") } else { format!("\"{cut}\"") }
}

/// Names of variables whose values are probably not for other eyes. A build argument should not hold a secret, but
/// this output must not be where it comes to light.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.split(['_', '-', '.']).any(|part| {
        matches!(
            part,
            "token"
                | "secret"
                | "secrets"
                | "password"
                | "passwd"
                | "pword"
                | "apikey"
                | "auth"
                | "credential"
                | "credentials"
                | "key"
        )
    }) && !name.contains("public")
}
