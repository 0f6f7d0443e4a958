//! Rules about names and letter case.

use super::Found;
use super::context::{Finder, keyword};
use crate::{Stage, go_quote};

/// The words `AS name` as written.
fn as_and_name(stage: &Stage) -> Option<(&str, &str)> {
    stage.name.as_ref()?;
    let mut words = stage.original.split_whitespace().rev();
    let name = words.next()?;
    Some((words.next()?, name))
}

pub(super) fn stage_name_casing(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, stage) in finder.stages() {
        if let Some((_, name)) = as_and_name(stage)
            && name != name.to_lowercase()
        {
            found.stage(stage, format!("Stage name '{name}' should be lowercase"));
        }
    }
}

pub(super) fn from_as_casing(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, stage) in finder.stages() {
        let Some((as_word, _)) = as_and_name(stage) else { continue };
        let from = keyword(&stage.original);
        let odd = match is_lower(from) {
            Some(true) => as_word != as_word.to_lowercase(),
            Some(false) => as_word != as_word.to_uppercase(),
            None => false,
        };
        if odd {
            found.stage(stage, format!("'{as_word}' and '{from}' keywords' casing do not match"));
        }
    }
}

/// All lower, all upper, or neither.
fn is_lower(word: &str) -> Option<bool> {
    if word == word.to_lowercase() {
        Some(true)
    } else if word == word.to_uppercase() {
        Some(false)
    } else {
        None
    }
}

pub(super) fn consistent_instruction_casing(finder: &Finder<'_>, found: &mut Found<'_>) {
    let mut words = Vec::new();
    for (_, stage) in finder.stages() {
        words.push((keyword(&stage.original), stage.doc.as_deref(), stage.span));
        for instruction in &stage.instructions {
            words.push((keyword(&instruction.original), instruction.doc.as_deref(), instruction.span));
        }
    }
    let count = |lower| words.iter().filter(|(word, ..)| is_lower(word) == Some(lower)).count();
    let lower = count(true) > count(false);
    let casing = if lower { "lowercase" } else { "uppercase" };
    for (word, doc, span) in words {
        if is_lower(word) != Some(lower) {
            let message =
                format!("Command '{word}' should match the case of the command majority ({casing})");
            found.add(doc, span, message);
        }
    }
}

pub(super) fn duplicate_stage_name(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (index, stage) in finder.stages() {
        let Some(name) = &stage.name else { continue };
        let earlier = &finder.file.stages[..index];
        if earlier.iter().any(|other| other.name.as_ref().is_some_and(|other| other.text == name.text)) {
            let message =
                format!("Duplicate stage name {}, stage names should be unique", go_quote(&name.text));
            found.stage(stage, message);
        }
    }
}

pub(super) fn reserved_stage_name(finder: &Finder<'_>, found: &mut Found<'_>) {
    for (_, stage) in finder.stages() {
        if let Some(name) =
            stage.name.as_ref().filter(|name| matches!(name.text.as_str(), "scratch" | "context"))
        {
            let name = go_quote(&name.text);
            found.stage(stage, format!("Stage name should not use the same name as reserved stage {name}"));
        }
    }
}

pub(super) fn invalid_base_image_platform(finder: &Finder<'_>, found: &mut Found<'_>) {
    let Some(known) = finder.input.base_platform else { return };
    for (_, stage) in finder.stages() {
        if let Some((actual, expected)) = known(stage) {
            let message = format!(
                "Base image {} was pulled with platform {}, expected {} for current build",
                stage.base.text,
                go_quote(&actual),
                go_quote(&expected)
            );
            found.stage(stage, message);
        }
    }
}
