//! Why a step was not taken from the cache: its inputs beside those of the nearest earlier run, the first that differs
//! named with both values. A key is the hash of exactly these inputs, so that nothing else can have been the reason.
mod files;
#[cfg(test)]
mod tests;
mod words;

use crate::key::{BASE, COMMAND, ENV, FILES, PARENT};
use crate::{CacheRecord, Cause, FileEntry, Input, Place, Reason};
use std::collections::{BTreeSet, HashMap};

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
    /// Variables that are ARGs; the others are ENVs.
    pub(crate) args: &'a BTreeSet<String>,
}

/// The reason, or `None` if no earlier run is known that this could be a repetition of.
pub(crate) fn reason(now: &Now<'_>, earlier: &[CacheRecord]) -> Option<Reason> {
    let before = nearest(now, earlier)?;
    if now.forced {
        return Some(line(Cause::Forced, "the cache is turned off for it"));
    }
    let mut differences = differences(now.inputs, &before.inputs);
    differences.sort_by_key(Difference::rank);
    let Some((first, others)) = differences.split_first() else {
        // Both were made of the same; so the result must have gone.
        return Some(line(Cause::Gone, "its result is no longer in the store"));
    };
    let mut reason = first.tell(now);
    let own = others.iter().filter(|other| !matches!(other.name, PARENT | BASE));
    reason.details.extend(own.map(|other| format!("also: {}", other.tell(now).summary)));
    Some(reason)
}

/// The reason of a step whose own inputs need not be looked at, since the step before it runs.
pub(crate) fn follows() -> Reason {
    line(Cause::Parent, "the step before it runs again")
}

/// The run to compare with: the same instruction wherever it stood, of several that stood equally near the one with the
/// fewest differences; else what stood in this place. Without any run of this Dockerfile, that of another one in this place
/// on the same step before it.
fn nearest<'a>(now: &Now<'_>, earlier: &'a [CacheRecord]) -> Option<&'a CacheRecord> {
    let placed = earlier.iter().filter_map(|record| Some((record, record.place.as_ref()?)));
    let (own, foreign): (Vec<_>, Vec<_>) = placed.partition(|(_, place)| place.scope == now.place.scope);
    let same_kind = |(_, place): &&(&CacheRecord, &Place)| place.instruction == now.place.instruction;
    let distance = |place: &Place| place.position.abs_diff(now.place.position);
    if own.is_empty() {
        let parent = parent(now.inputs)?;
        let mut related = foreign.iter().filter(same_kind).filter(|(_, place)| distance(place) == 0);
        return related
            .find(|(record, _)| self::parent(&record.inputs) == Some(parent))
            .map(|(record, _)| *record);
    }
    let candidates: Vec<_> = own.iter().filter(same_kind).collect();
    let same_text = candidates.iter().filter(|(record, _)| text(&record.inputs).eq(text(now.inputs)));
    same_text
        .min_by_key(|(record, place)| {
            // A variable that changed is nearer than one that was not there.
            let (differences, count) = (differences(now.inputs, &record.inputs).len(), record.inputs.len());
            (distance(place), differences, count.abs_diff(now.inputs.len()))
        })
        .or_else(|| candidates.iter().find(|(_, place)| distance(place) == 0))
        .map(|(record, _)| *record)
}

/// The step before, if there is one.
fn parent(inputs: &[Input]) -> Option<&str> {
    inputs.iter().find(|input| input.name == PARENT).map(|input| input.value.as_str())
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
                let (old, new) = commands(old, new);
                Reason {
                    details: vec![words::diff(&old, &new)],
                    values: Some((Some(old.clone()), Some(new.clone()))),
                    ..line(Cause::Command, &format!("the command changed: {}", words::changed(&old, &new)))
                }
            }
            (PARENT, Some(_), Some(_)) => line(Cause::Parent, "the step before it changed"),
            (BASE, Some(old), Some(new)) => Reason {
                values: Some((Some(old.to_owned()), Some(new.to_owned()))),
                ..line(Cause::Base, &format!("the base image changed from {} to {}", image(old), image(new)))
            },
            (BASE | PARENT, ..) => line(Cause::Parent, "what it stands on changed"),
            (FILES, Some(old), Some(_)) => files::reason(&(now.listed)(old), &(now.files)()),
            (name, ..) if name.starts_with(FILES) => line(Cause::Files, &format!("the {name} changed")),
            (name, old, new) => self.plain(name, (old, new), now.args),
        }
    }

    fn plain(&self, name: &str, (old, new): (Option<&str>, Option<&str>), args: &BTreeSet<String>) -> Reason {
        let variable = name.strip_prefix(ENV);
        let cause = match variable {
            Some(_) => Cause::Variable,
            None if name == "destination" || name == "path" || name.starts_with("source") => Cause::Command,
            None => Cause::Input,
        };
        let secret = variable.is_some_and(is_secret);
        let show = |value: &str| if secret { "****".to_owned() } else { shown(value) };
        let what = match variable {
            Some(variable) if args.contains(variable) => format!("ARG {variable}"),
            Some(variable) if new.is_some() => format!("ENV {variable}"),
            // What it was is in no file any more.
            Some(variable) => format!("variable {variable}"),
            None => name.to_owned(),
        };
        let summary = match (old, new) {
            (Some(old), Some(new)) => format!("{what} changed from {} to {}", show(old), show(new)),
            (Some(old), None) => format!("{what} is gone; it was {}", show(old)),
            (None, Some(new)) => format!("{what} is new: {}", show(new)),
            (None, None) => format!("{what} changed"),
        };
        let values = (!secret).then(|| (old.map(str::to_owned), new.map(str::to_owned)));
        Reason { values, ..line(cause, &summary) }
    }
}

fn line(cause: Cause, summary: &str) -> Reason {
    Reason { cause, values: None, summary: summary.to_owned(), details: Vec::new() }
}

/// Two commands as people write them: without the shell, if both have the same.
fn commands(old: &str, new: &str) -> (String, String) {
    let argv =
        |json: &str| serde_json::from_str::<Vec<String>>(json).unwrap_or_else(|_| vec![json.to_owned()]);
    match (&argv(old)[..], &argv(new)[..]) {
        ([shell, flag, old], [same, also, new]) if (shell, flag) == (same, also) && flag.starts_with('-') => {
            (old.clone(), new.clone())
        }
        (old, new) => (old.join(" "), new.join(" ")),
    }
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
    let telling = ["token", "secret", "password", "passwd", "passphrase", "apikey", "credential"];
    let is_telling = telling.iter().any(|word| name.contains(word));
    let is_short = |part: &str| matches!(part, "pword" | "pass" | "auth" | "key" | "jwt" | "pat");
    (is_telling || name.split(['_', '-', '.']).any(is_short)) && !name.contains("public")
}
