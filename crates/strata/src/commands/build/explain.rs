//! `--explain` and `--dry-run`: for every step, whether it runs and why.

use super::request::Dockerfile;
use crate::failure::Failure;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use strata_engine::build::{Cause, Event, EventSink, Forecast, Reason, Span, StepId, StepInfo, position};

/// Details shown below a step; JSON has all of them.
const SHOWN: usize = 10;

#[derive(Args, Debug)]
pub(super) struct ExplainFlags {
    /// Say what would run and why; run nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Tell in full why steps could not be taken from the cache [possible values: text, json]
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    explain: Option<String>,
}

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl ExplainFlags {
    /// `None`: nothing is to be explained.
    pub(super) fn format(&self) -> Result<Option<Format>, Failure> {
        match self.explain.as_deref() {
            None if self.dry_run => Ok(Some(Format::Text)),
            None => Ok(None),
            Some("text") => Ok(Some(Format::Text)),
            Some("json") => Ok(Some(Format::Json)),
            Some(other) => {
                Err(Failure::flag(format!("invalid value {other:?} for --explain: use text or json")))
            }
        }
    }
}

/// What happened, or would happen, to every step.
#[derive(Default)]
pub(super) struct Account {
    steps: Vec<StepInfo>,
    fates: BTreeMap<StepId, Forecast>,
    findings: Vec<(String, Span)>,
    dry: bool,
}

/// Keeps an account of a build and passes its events on.
pub(super) struct Accountant<'a> {
    next: &'a dyn EventSink,
    account: Mutex<Account>,
}

impl<'a> Accountant<'a> {
    pub(super) fn new(next: &'a dyn EventSink) -> Self {
        Self { next, account: Mutex::default() }
    }

    /// The account of a build that is over.
    pub(super) fn account(self) -> Account {
        self.account.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of a build that did not take place.
    pub(super) fn forecast(self, fates: BTreeMap<StepId, Forecast>) -> Account {
        Account { fates, dry: true, ..self.account() }
    }
}

impl EventSink for Accountant<'_> {
    fn event(&self, event: Event<'_>) {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Lint(finding) => {
                account.findings.push((format!("{}: {}", finding.rule, finding.message), finding.span));
            }
            Event::Planned(steps) => account.steps = steps.to_vec(),
            Event::Cached(id) => drop(account.fates.insert(*id, Forecast::Cached)),
            Event::Started(id) => drop(account.fates.entry(*id).or_insert(Forecast::Runs(None))),
            Event::Missed(id, reason) => {
                account.fates.insert(*id, Forecast::Runs(Some((*reason).clone())));
            }
            _ => {}
        }
        drop(account);
        self.next.event(event);
    }
}

impl Account {
    /// What lint rules found, and where.
    pub(super) fn findings(&self) -> &[(String, Span)] {
        &self.findings
    }

    /// Steps that make a layer or name a base, as progress counts them.
    fn layers(&self) -> impl Iterator<Item = (usize, &StepInfo, Option<&Forecast>)> {
        let steps = self.steps.iter().enumerate().filter(|(_, step)| step.layered);
        steps.map(|(at, step)| (at, step, self.fates.get(&step.id)))
    }

    /// The step of the same stage whose change made this one run.
    fn origin(&self, at: usize) -> Option<&StepInfo> {
        let stage = &self.steps[at].stage;
        let before = self.layers().filter(|(index, step, _)| *index < at && step.stage == *stage);
        let of_its_own = before.filter(|(_, _, fate)| {
            matches!(fate, Some(Forecast::Runs(reason)) if !reason.as_ref().is_some_and(follows))
                || matches!(fate, Some(Forecast::Undecided))
        });
        of_its_own.last().map(|(_, step, _)| step)
    }

    pub(super) fn text(&self, colour: bool) -> String {
        let paint = Paint { colour };
        let count = |test: fn(&Forecast) -> bool| {
            self.layers().filter_map(|(_, _, fate)| fate).filter(|fate| test(fate)).count()
        };
        let all = self.layers().count();
        let running = count(|fate| matches!(fate, Forecast::Runs(_)));
        let open = count(|fate| matches!(fate, Forecast::Undecided));
        let mut out = match (running + open, self.dry) {
            (0, true) => format!("All {all} steps are in the cache: nothing would run\n"),
            (0, false) => format!("All {all} steps came from the cache\n"),
            (_, true) => format!(
                "{running} of {all} steps would run{}\n",
                if open > 0 { format!(", {open} may") } else { String::new() }
            ),
            (_, false) => format!("{running} of {all} steps ran\n"),
        };
        let first = self.is_first();
        if first {
            out.push_str("Nothing like this Dockerfile was built here before\n");
        }
        out.push('\n');
        for (at, step, fate) in self.layers() {
            self.step_text((at, step, fate), first, paint, &mut out);
        }
        out
    }

    /// True if no step of it was known before: then there is nothing to explain.
    fn is_first(&self) -> bool {
        let mut fates =
            self.layers().filter(|(_, step, _)| !is_from(step)).filter_map(|(_, _, fate)| fate).peekable();
        fates.peek().is_some() && fates.all(|fate| matches!(fate, Forecast::Runs(None)))
    }

    fn step_text(
        &self,
        (at, step, fate): (usize, &StepInfo, Option<&Forecast>),
        first: bool,
        paint: Paint,
        out: &mut String,
    ) {
        let name = one_line(&step.name);
        let status = match fate {
            _ if is_from(step) => paint.dim("base   "),
            Some(Forecast::Cached) => paint.dim("cached "),
            Some(Forecast::Runs(_)) if self.dry => paint.bold("runs   "),
            Some(Forecast::Runs(_)) => paint.bold("ran    "),
            Some(Forecast::Undecided) => paint.yellow("open   "),
            None => paint.dim("-      "),
        };
        let shown =
            if matches!(fate, Some(Forecast::Cached) | None) { paint.dim(&name) } else { paint.bold(&name) };
        let _ = writeln!(out, "  {status} {shown}");
        let mut tell = |text: &str| out.push_str(&format!("          {text}\n"));
        match fate {
            Some(Forecast::Runs(None)) if first => {}
            Some(Forecast::Runs(None)) => tell(&paint.dim("new: no earlier build had this step")),
            Some(Forecast::Runs(Some(reason))) => {
                for line in self.reason_text(at, step, reason, paint) {
                    tell(&line);
                }
            }
            Some(Forecast::Undecided) => tell(
                "may run: it takes files that steps above make anew; if those come out the same, it stays cached",
            ),
            _ => {}
        }
    }

    fn reason_text(&self, at: usize, step: &StepInfo, reason: &Reason, paint: Paint) -> Vec<String> {
        if follows(reason)
            && let Some(origin) = self.origin(at)
        {
            let mut lines = vec![format!("follows from {}: nothing of its own changed", label(origin))];
            if is_copy(origin) && step.instruction.to_ascii_uppercase().starts_with("RUN") {
                let hint = format!(
                    "hint: if it does not need those files, move it above {}: there it stays cached",
                    label(origin)
                );
                lines.push(paint.yellow(&hint));
            }
            return lines;
        }
        let files = reason.details.iter().filter(|detail| !detail.starts_with("also: ")).count();
        let mut lines = vec![match reason.cause {
            Cause::Files if files > 1 => paint.yellow(&format!("{files} files changed:")),
            _ => paint.yellow(&reason.summary),
        }];
        let details: Vec<&String> =
            reason.details.iter().filter(|detail| !reason.summary.ends_with(detail.as_str())).collect();
        for detail in details.iter().take(SHOWN) {
            lines.push(match reason.cause {
                Cause::Command => paint.words(detail),
                Cause::Files if files > 1 => format!("  {}", paint.file(detail)),
                _ => (*detail).clone(),
            });
        }
        if details.len() > SHOWN {
            lines
                .push(paint.dim(&format!("… and {} more (--explain=json lists all)", details.len() - SHOWN)));
        }
        lines
    }

    pub(super) fn json(&self, dockerfile: &Dockerfile) -> Value {
        let steps: Vec<Value> = self
            .layers()
            .map(|(at, step, fate)| {
                let status = match fate {
                    _ if is_from(step) => "base",
                    Some(Forecast::Cached) => "cached",
                    Some(Forecast::Runs(_)) => "run",
                    Some(Forecast::Undecided) => "undecided",
                    None => "not reached",
                };
                let mut document = json!({
                    "step": step.name,
                    "stage": step.stage,
                    "instruction": step.instruction,
                    "line": position(&dockerfile.text, step.span.start).0,
                    "status": status,
                });
                if let Some(Forecast::Runs(Some(reason))) = fate {
                    document["reason"] = reason_document(reason);
                    if follows(reason)
                        && let Some(origin) = self.origin(at)
                    {
                        document["reason"]["followsFrom"] = Value::from(origin.name.as_str());
                    }
                }
                document
            })
            .collect();
        json!({ "dryRun": self.dry, "steps": steps })
    }
}

fn reason_document(reason: &Reason) -> Value {
    let cause = match reason.cause {
        Cause::Command => "instruction",
        Cause::Variable => "variable",
        Cause::Files => "files",
        Cause::Input => "input",
        Cause::Base => "base",
        Cause::Parent => "parent",
        Cause::Forced => "no-cache",
        Cause::Gone => "gone",
    };
    let mut document = json!({ "cause": cause, "summary": reason.summary, "details": reason.details });
    if let Some((old, new)) = &reason.values {
        document["old"] = json!(old);
        document["new"] = json!(new);
    }
    document
}

fn follows(reason: &Reason) -> bool {
    reason.cause == Cause::Parent
}

fn is_from(step: &StepInfo) -> bool {
    step.instruction.to_ascii_uppercase().starts_with("FROM")
}

fn is_copy(step: &StepInfo) -> bool {
    let instruction = step.instruction.to_ascii_uppercase();
    instruction.starts_with("COPY") || instruction.starts_with("ADD")
}

/// `[build 2/4]`
fn label(step: &StepInfo) -> &str {
    step.name.find(']').map_or(step.name.as_str(), |end| &step.name[..=end])
}

pub(super) fn one_line(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, _)) => format!("{first} …"),
        None => text.to_owned(),
    }
}

/// Whether a stream shows colours: a terminal, and `NO_COLOR` not set.
pub(super) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Files that came green, those that went red.
    fn file(self, text: &str) -> String {
        if text.contains(": added") {
            self.with("32", text)
        } else if text.contains(": removed") {
            self.with("31", text)
        } else {
            text.to_owned()
        }
    }

    /// `[-old-] {+new+}`: red and green where there are colours.
    fn words(self, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let removed = text.replace("[-", "\x1b[31m").replace("-]", "\x1b[0m");
        removed.replace("{+", "\x1b[32m").replace("+}", "\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: usize, name: &str) -> StepInfo {
        let instruction = name.split_once("] ").map_or(name, |(_, instruction)| instruction).to_owned();
        let (stage, layered, span) = ("stage-0".to_owned(), true, Default::default());
        StepInfo { id: StepId(at), stage, name: name.to_owned(), instruction, layered, span }
    }

    fn reason(cause: Cause, summary: &str, details: &[&str]) -> Forecast {
        let details = details.iter().map(|&detail| detail.to_owned()).collect();
        Forecast::Runs(Some(Reason { cause, values: None, summary: summary.to_owned(), details }))
    }

    fn account(fates: Vec<(&str, Option<Forecast>)>) -> Account {
        let steps = fates.iter().enumerate().map(|(at, (name, _))| step(at, name)).collect();
        let known = fates.into_iter().enumerate().filter_map(|(at, (_, fate))| Some((StepId(at), fate?)));
        Account { steps, fates: known.collect(), findings: Vec::new(), dry: true }
    }

    fn exercise() -> Account {
        let files = ["api.py: content, 13 → 21 bytes", "other: mode 0644 → 0755"];
        account(vec![
            ("[1/4] FROM python:3", None),
            ("[2/4] COPY requirements.txt /", Some(Forecast::Cached)),
            (
                "[3/4] COPY app /app",
                Some(reason(Cause::Files, "2 files changed, first api.py, and 1 more", &files)),
            ),
            ("[4/4] RUN pip install", Some(reason(Cause::Parent, "the step before it changed", &[]))),
        ])
    }

    #[test]
    fn a_step_that_only_follows_says_from_where() {
        assert_eq!(
            exercise().text(false),
            "\
2 of 4 steps would run

  base    [1/4] FROM python:3
  cached  [2/4] COPY requirements.txt /
  runs    [3/4] COPY app /app
          2 files changed:
            api.py: content, 13 → 21 bytes
            other: mode 0644 → 0755
  runs    [4/4] RUN pip install
          follows from [3/4]: nothing of its own changed
          hint: if it does not need those files, move it above [3/4]: there it stays cached
"
        );
    }

    #[test]
    fn machines_get_the_cause_and_the_origin() {
        let dockerfile = Dockerfile { name: "Dockerfile".to_owned(), text: String::new() };
        let document = exercise().json(&dockerfile);
        assert_eq!(document["steps"][2]["reason"]["cause"], "files");
        assert_eq!(document["steps"][2]["reason"]["details"][1], "other: mode 0644 → 0755");
        assert_eq!(document["steps"][3]["reason"]["followsFrom"], "[3/4] COPY app /app");
        assert_eq!(document["steps"][1]["status"], "cached");
    }

    #[test]
    fn long_lists_end_and_words_have_colours() {
        let files: Vec<String> = (0..30).map(|number| format!("f{number}: added")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let text =
            account(vec![("[1/1] COPY . .", Some(reason(Cause::Files, "30 files", &files)))]).text(false);
        assert!(text.contains("30 files changed:") && text.contains("… and 20 more"), "{text}");
        let diff =
            [("[1/1] RUN x", Some(reason(Cause::Command, "the command changed: a → b", &["x [-a-] {+b+}"])))];
        let text = account(diff.into()).text(true);
        assert!(text.contains("x \x1b[31ma\x1b[0m \x1b[32mb\x1b[0m"), "{text}");
    }
}
