//! `--check`, and what an ordinary build says of the same findings.

use super::call::location;
use super::excerpt::Excerpt;
use super::request::Dockerfile;
use crate::failure::{Failure, Outcome};
use crate::output::emit;
use serde_json::{Value, json};
use std::io::Write;
use strata_engine::build::{CheckReport, Finding, Span, position};

/// Prints all findings. Warnings are no failure unless the Dockerfile says `# check=error=true`.
pub(super) fn answer(report: &CheckReport, dockerfile: &Dockerfile, as_json: bool) -> Outcome {
    if as_json {
        let text = serde_json::to_string_pretty(&document(report, dockerfile)).map_err(Failure::new)?;
        emit(&format!("{text}\n"))?;
        return Ok(u8::from(report.violation.is_some()));
    }
    let mut text = match report.findings.len() {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for finding in &report.findings {
        text.push('\n');
        text.push_str(&told(finding, dockerfile));
    }
    emit(&text)?;
    match &report.violation {
        Some(sentence) => Err(Failure::with_code(format!("ERROR: {sentence}"), 1)),
        None => Ok(0),
    }
}

/// The last words of a build: how many warnings, one line each.
pub(super) fn remind(findings: &[(String, Span)], dockerfile: &Dockerfile) {
    let text = reminder(findings, dockerfile);
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn reminder(findings: &[(String, Span)], dockerfile: &Dockerfile) -> String {
    let count = match findings.len() {
        0 => return String::new(),
        1 => "1 warning".to_owned(),
        count => format!("{count} warnings"),
    };
    let mut text = format!("\n {count} found (use --check to expand):\n");
    for (message, span) in findings {
        let line = position(&dockerfile.text, span.start).0;
        text.push_str(&format!(" - {message} (line {line})\n"));
    }
    text
}

fn told(finding: &Finding, dockerfile: &Dockerfile) -> String {
    let page = url(finding).map_or_else(String::new, |url| format!(" - {url}"));
    let excerpt = Excerpt::at(finding.span, dockerfile).render();
    let mut text = format!("WARNING: {}{page}\n{}\n{excerpt}", finding.rule, finding.message);
    if finding.own {
        text.push_str(&format!("Why: {}.\n", finding.why));
    }
    if let Some(correction) = &finding.correction {
        text.push_str("Better:\n");
        text.extend(correction.lines().map(|line| format!("           {line}\n")));
    }
    text
}

/// BuildKit's rules have a page each.
fn url(finding: &Finding) -> Option<String> {
    (!finding.own).then(|| format!("https://docs.docker.com/go/dockerfile/rule/{}/", kebab(finding.rule)))
}

/// `JSONArgsRecommended` is `json-args-recommended`.
fn kebab(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let lower = |at: usize| letters.get(at).is_some_and(char::is_ascii_lowercase);
        if at > 0 && letter.is_ascii_uppercase() && (lower(at - 1) || lower(at + 1)) {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// BuildKit's document, and beside it what only strata knows.
fn document(report: &CheckReport, dockerfile: &Dockerfile) -> Value {
    let warning = |finding: &Finding| {
        let mut warning = json!({
            "ruleName": finding.rule,
            "description": finding.why,
            "detail": finding.message,
            "location": location(dockerfile, finding.span),
        });
        if let Some(url) = url(finding) {
            warning["url"] = Value::from(url);
        }
        if let Some(correction) = &finding.correction {
            warning["correction"] = Value::from(correction.as_str());
        }
        warning
    };
    let mut document = json!({
        "warnings": report.findings.iter().map(warning).collect::<Vec<_>>(),
        "sources": [{ "filename": dockerfile.name, "language": "Dockerfile" }],
    });
    if let Some(sentence) = &report.violation {
        document["buildError"] = json!({ "message": sentence });
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_counted_at_the_end() {
        let dockerfile = Dockerfile { name: "Dockerfile".to_owned(), text: "FROM a\nCMD x\n".to_owned() };
        assert_eq!(reminder(&[], &dockerfile), "");
        let found = [("Rule: why".to_owned(), Span { start: 7, end: 12 })];
        let wanted = "\n 1 warning found (use --check to expand):\n - Rule: why (line 2)\n";
        assert_eq!(reminder(&found, &dockerfile), wanted);
    }

    #[test]
    fn names_of_pages() {
        assert_eq!(kebab("JSONArgsRecommended"), "json-args-recommended");
        assert_eq!(kebab("SecretsUsedInArgOrEnv"), "secrets-used-in-arg-or-env");
        assert_eq!(kebab("FromAsCasing"), "from-as-casing");
    }
}
