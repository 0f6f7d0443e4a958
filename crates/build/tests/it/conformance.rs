//! Config and history of the conformance cases, as BuildKit made them. Files and processes are not looked at here.
use crate::fake::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use strata_build::{BuildOptions, NamedContext};
use strata_oci::ImageConfig;

const CASES: &str = include_str!("conformance.json");
const KEYS: [&str; 12] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "WorkingDir",
    "User",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "StopSignal",
    "Shell",
    "Healthcheck",
    "OnBuild",
];

fn words(args: &Value, name: &str) -> Vec<String> {
    let list = args[name].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn pairs(args: &Value, name: &str) -> BTreeMap<String, String> {
    words(args, name)
        .iter()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn options(args: &Value, world: &mut World) -> BuildOptions {
    let contexts = pairs(args, "build-context");
    for name in contexts.keys() {
        world.named.insert(name.clone(), BTreeMap::new());
    }
    BuildOptions {
        target: words(args, "target").pop(),
        build_args: pairs(args, "build-arg"),
        labels: pairs(args, "label"),
        contexts: contexts.into_keys().map(|name| (name, NamedContext::Files)).collect(),
        ..BuildOptions::default()
    }
}

/// What `conform.py` compares of a config.
fn config(image: &ImageConfig) -> Value {
    let full = serde_json::to_value(&image.config).unwrap();
    let kept = KEYS.iter().filter_map(|key| Some((*key, full.get(*key)?.clone())));
    let mut kept: serde_json::Map<String, Value> = kept.map(|(key, value)| (key.to_owned(), value)).collect();
    if let Some(author) = &image.author {
        kept.insert("Author".to_owned(), json!(author));
    }
    Value::Object(kept)
}

fn history(image: &ImageConfig) -> Value {
    let rows = image.history[1..].iter().map(|row| {
        let created_by = row.created_by.strip_suffix("# buildkit").unwrap_or(&row.created_by).trim_end();
        json!({"created_by": created_by, "empty_layer": row.empty_layer})
    });
    Value::Array(rows.collect())
}

#[test]
fn configs_and_histories_are_buildkits() {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let mut world = World::default();
        world.agreeable = true;
        for before in case["pre"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let built = world.build(before["dockerfile"].as_str().unwrap());
            world.tag(before["tag"].as_str().unwrap(), &built);
        }
        let options = options(&case["args"], &mut world);
        let outcome = world.build_with(case["dockerfile"].as_str().unwrap(), &options);
        let image = outcome.config();
        let scratch = case["name"] == "stage-scratch-chain";
        // The base of the cases has one row of its own; scratch has none.
        let mut image = image.clone();
        if scratch {
            image.history.insert(0, strata_oci::History::default());
        }
        for (part, got) in [("config", config(&image)), ("history", history(&image))] {
            if got != case[part] {
                wrong.push(format!("{} {part}\n  got  {got}\n  want {}", case["name"], case[part]));
            }
        }
        let layers = image.history.iter().filter(|row| !row.empty_layer).count();
        assert_eq!(layers - usize::from(scratch), image.rootfs.diff_ids.len(), "{}", case["name"]);
        assert!(
            image.history[usize::from(scratch)..].iter().all(|row| row.created.is_some()),
            "{}",
            case["name"]
        );
    }
    assert!(cases.len() > 80, "{}", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn an_epoch_dates_everything_new() {
    let mut world = World::default();
    let epoch = [("SOURCE_DATE_EPOCH".to_owned(), "1500000000".to_owned())];
    let options = BuildOptions { build_args: epoch.into(), ..BuildOptions::default() };
    let outcome = world.build_with("FROM conform-base:1\nRUN put /hi hi\nLABEL a=b\n", &options);
    let image = outcome.config();
    let created: Vec<String> =
        image.history[1..].iter().map(|row| row.created.unwrap().to_string()).collect();
    assert_eq!(created, ["2017-07-14T02:40:00Z"; 2]);
    assert_eq!(image.created.unwrap().to_string(), "2017-07-14T02:40:00Z");
    assert_eq!(
        image.history[0].created.unwrap().to_string(),
        "2020-09-13T12:26:40Z",
        "the base keeps its date"
    );
}
