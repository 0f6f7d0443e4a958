//! The walls between the crates, and the rules of the house that no compiler checks.
//!
//! The table below is the list in "The parts" of `docs/architecture.md`: a crate may import what stands behind it, and
//! nothing else of this workspace. Development dependencies obey it as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const ALLOWED: &[(&str, &[&str])] = &[
    ("strata-oci", &[]),
    ("strata-dockerfile", &[]),
    ("strata-erofs", &[]),
    ("strata-layer", &["strata-oci", "strata-erofs"]),
    ("strata-store", &["strata-oci", "strata-layer"]),
    ("strata-build", &["strata-oci", "strata-dockerfile"]),
    ("strata-runtime", &["strata-layer"]),
    ("strata-http", &[TESTBED]),
    ("strata-registry", &["strata-oci", "strata-http", TESTBED]),
    ("strata-serve", &["strata-oci", "strata-http", TESTBED]),
    ("strata-cache", &["strata-oci", "strata-build", "strata-http", "strata-registry", TESTBED]),
    (
        "strata-engine",
        &[
            "strata-oci",
            "strata-dockerfile",
            "strata-erofs",
            "strata-layer",
            "strata-store",
            "strata-build",
            "strata-runtime",
            "strata-http",
            "strata-registry",
            "strata-cache",
            "strata-serve",
            TESTBED,
        ],
    ),
    ("strata", &["strata-engine", "strata-oci", TESTBED]),
    (TESTBED, &[]),
];

/// For tests alone: nobody has it among the dependencies that are shipped.
const TESTBED: &str = "strata-testbed";

/// The only place where `unsafe` may stand, relative to the workspace.
const UNSAFE_HOME: &str = "crates/runtime/src/sys";

const LONGEST_FILE: usize = 500;
const NAMES_OF_NOTHING: &[&str] = &["util", "utils", "helpers", "common", "misc"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace this test was built in")
}

/// Crate -> the crates of this workspace it depends on, for any reason.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    dependencies_that(|_| true)
}

fn dependencies_that(count: impl Fn(&serde_json::Value) -> bool) -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .expect("cargo ran this test, so it can be run");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("names are strings").to_owned();
    let packages = metadata["packages"].as_array().expect("packages is a list");
    let names: BTreeSet<String> = packages.iter().map(|package| text(&package["name"])).collect();
    let dependencies = |package: &serde_json::Value| -> BTreeSet<String> {
        let list = package["dependencies"].as_array().expect("dependencies is a list");
        let counted = list.iter().filter(|dependency| count(dependency));
        counted.map(|dependency| text(&dependency["name"])).filter(|name| names.contains(name)).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), dependencies(package))).collect()
}

/// Every Rust file below `crates/*/src`, relative to the workspace, with its text.
fn sources() -> Vec<(String, String)> {
    let root = workspace();
    let mut found = Vec::new();
    let crates = fs_err::read_dir(root.join("crates")).expect("crates/ exists");
    let mut waiting: Vec<PathBuf> = crates.map(|entry| entry.expect("readable").path().join("src")).collect();
    while let Some(directory) = waiting.pop() {
        for entry in fs_err::read_dir(&directory).expect("a source directory") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("below the workspace").display().to_string();
                found.push((name, fs_err::read_to_string(&path).expect("sources are UTF-8")));
            }
        }
    }
    assert!(found.len() > 100, "only {} source files found: the test looks in the wrong place", found.len());
    found.sort();
    found
}

fn refuse(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn crates_import_only_what_their_wall_allows() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut faults = Vec::new();
    for (name, dependencies) in edges() {
        let Some(allowed) = allowed.get(name.as_str()) else {
            faults.push(format!("{name} is not in the table of walls"));
            continue;
        };
        for dependency in dependencies.iter().filter(|dependency| !allowed.contains(&dependency.as_str())) {
            faults.push(format!("{name} must not import {dependency}"));
        }
    }
    refuse(faults);
}

#[test]
fn the_testbed_is_not_shipped() {
    let shipped = dependencies_that(|dependency| dependency["kind"].is_null());
    let users = shipped.iter().filter(|(_, dependencies)| dependencies.contains(TESTBED));
    refuse(users.map(|(name, _)| format!("{name} has {TESTBED} among what it ships")).collect());
}

#[test]
fn every_wall_belongs_to_a_crate() {
    let edges = edges();
    refuse(
        ALLOWED
            .iter()
            .filter(|(name, _)| !edges.contains_key(*name))
            .map(|(name, _)| format!("no crate {name}"))
            .collect(),
    );
}

#[test]
fn the_architecture_page_has_the_same_walls() {
    let page = fs_err::read_to_string(workspace().join("docs/architecture.md")).expect("the page is there");
    let rows = page.lines().filter_map(|line| line.split_once(" -> "));
    let crates = |text: &str| -> BTreeSet<String> {
        let text = text.split('(').next().unwrap_or_default();
        text.split_whitespace()
            .map(|name| format!("strata-{name}").replace("strata-strata", "strata"))
            .collect()
    };
    let told: BTreeMap<String, BTreeSet<String>> = rows
        .filter(|(name, _)| name.trim().chars().all(|c| c.is_ascii_lowercase()))
        .flat_map(|(name, allowed)| crates(name).into_iter().map(move |name| (name, crates(allowed))))
        .collect();
    let table = ALLOWED.iter().map(|(name, allowed)| {
        let allowed = allowed.iter().filter(|name| **name != TESTBED).map(|name| (*name).to_owned());
        ((*name).to_owned(), allowed.collect::<BTreeSet<String>>())
    });
    assert_eq!(told, table.filter(|(_, allowed)| !allowed.is_empty()).collect(), "docs/architecture.md");
}

#[test]
fn unsafe_stays_in_its_module() {
    let mut faults = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !name.starts_with(UNSAFE_HOME)) {
        for (number, line) in text.lines().enumerate() {
            if has_unsafe(line) {
                faults.push(format!("{name}:{}: unsafe outside {UNSAFE_HOME}", number + 1));
            }
        }
    }
    refuse(faults);
}

/// The keyword, outside comments and string literals that stand on the same line.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let code: String = code.split('"').step_by(2).collect();
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

#[test]
fn files_stay_readable() {
    let too_long = |(name, text): &(String, String)| {
        let lines = text.lines().count();
        (lines > LONGEST_FILE)
            .then(|| format!("{name} has {lines} lines, at most {LONGEST_FILE} are allowed"))
    };
    refuse(sources().iter().filter_map(too_long).collect());
}

#[test]
fn modules_are_named_after_what_they_do() {
    let mut faults = Vec::new();
    for (name, _) in sources() {
        let path = Path::new(&name);
        let module = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let parent = path
            .parent()
            .and_then(|parent| parent.file_name())
            .and_then(|parent| parent.to_str())
            .unwrap_or_default();
        if NAMES_OF_NOTHING.contains(&module) || NAMES_OF_NOTHING.contains(&parent) {
            faults.push(format!("{name}: a name that says nothing"));
        }
        if module == parent {
            faults.push(format!("{name}: repeats the name of its parent"));
        }
    }
    refuse(faults);
}

#[test]
fn the_search_for_unsafe_knows_code_from_words() {
    assert!(has_unsafe("    unsafe { libc::fork() }"));
    assert!(has_unsafe("pub unsafe fn f() {"));
    assert!(!has_unsafe("#![forbid(unsafe_code)]"));
    assert!(!has_unsafe("// unsafe because of CLONE_FILES"));
    assert!(!has_unsafe("#[expect(deprecated, reason = \"its successor is unsafe\")]"));
}
