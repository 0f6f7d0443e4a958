//! `tests/cases/{ok,fail}/NAME/Dockerfile` beside what must come of it. `UPDATE=1 cargo test` writes the latter anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use strata_dockerfile::{LineIndex, ParseError, parse_bytes, text_of};

use crate::dump::dump;

fn cases(kind: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(kind);
    let mut cases: Vec<PathBuf> = fs_err::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn compare(case: &Path, name: &str, found: &str) -> Option<String> {
    let path = case.join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs_err::write(&path, found).unwrap();
        return None;
    }
    let wanted = fs_err::read_to_string(&path).unwrap_or_default();
    (wanted != found).then(|| format!("{}\n--- wanted\n{wanted}--- found\n{found}", path.display()))
}

fn run(kind: &str, least: usize, name: &str, result: impl Fn(&[u8]) -> String) {
    let cases = cases(kind);
    assert!(cases.len() >= least, "only {} cases in {kind}", cases.len());
    let differences: Vec<String> = cases
        .iter()
        .filter_map(|case| compare(case, name, &result(&fs_err::read(case.join("Dockerfile")).unwrap())))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn files_that_are_right() {
    run("ok", 45, "parsed", |bytes| match parse_bytes(bytes) {
        Ok(file) => dump(&file, Some(&text_of(bytes).unwrap())),
        Err(error) => panic!("{error}:\n{}", String::from_utf8_lossy(bytes)),
    });
}

#[test]
fn files_that_are_wrong() {
    run("fail", 45, "error", |bytes| match parse_bytes(bytes) {
        Ok(_) => "NO ERROR\n".to_owned(),
        Err(error) => describe(&error, &String::from_utf8_lossy(bytes)),
    });
}

fn describe(error: &ParseError, text: &str) -> String {
    let mut out = format!("{error}\n");
    let (line, column) = LineIndex::new(text).position(error.span.start);
    let slice = text.get(error.span.start..error.span.end).unwrap_or("?");
    writeln!(out, "lines {}-{}, {line}:{column} {slice:?}", error.line_range.0, error.line_range.1).unwrap();
    if let Some(hint) = &error.hint {
        writeln!(out, "hint: {hint}").unwrap();
    }
    for more in &error.more {
        out.push_str(&describe(more, text));
    }
    out
}
