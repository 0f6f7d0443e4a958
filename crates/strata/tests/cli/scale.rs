//! docs/scale.md: its Jobs are YAML, and a builder with exactly their rights can do what the page says.

use crate::world::World;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scale.md");

/// Every Job among the blocks of YAML, as JSON; `None`, with a word, where nothing reads YAML.
fn jobs() -> Option<Vec<Value>> {
    let text = fs_err::read_to_string(DOCUMENT).expect("the page is there");
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = python.stdin.take().expect("piped");
    input.write_all(blocks.join("\n---\n").as_bytes()).ok();
    drop(input);
    let output = python.wait_with_output().expect("python ends");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("ModuleNotFoundError") {
        eprintln!("SKIP: python3-yaml is not installed");
        return None;
    }
    assert!(output.status.success(), "{said}");
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    Some(all.into_iter().filter(|block| block["kind"] == "Job").collect())
}

/// Runs strata as the container of a Job would: its user, and no capabilities but those it adds.
fn as_container(world: &World, container: &Value, arguments: &[&str]) -> Output {
    let rights = &container["securityContext"];
    let user = rights["runAsUser"].as_u64().expect("a user").to_string();
    assert_eq!(rights["capabilities"]["drop"], serde_json::json!(["ALL"]));
    let added = rights["capabilities"]["add"].as_array().cloned().unwrap_or_default();
    let added = added.iter().map(|name| format!(",+{}", name.as_str().expect("a name").to_lowercase()));
    let bound = format!("-all{}", added.collect::<String>());
    let plain = world.command(arguments);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--inh-caps=-all"]);
    command.arg(format!("--bounding-set={bound}")).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("HOME", world.path("")).current_dir(world.path("")).output().expect("setpriv runs")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_jobs_of_the_page_have_the_rights_they_need() {
    let Some(jobs) = jobs() else { return };
    let container = |job: &Value| {
        assert_eq!((&job["apiVersion"], &job["kind"]), (&"batch/v1".into(), &"Job".into()));
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["restartPolicy"], "Never");
        let container = pod["containers"][0].clone();
        let volumes: Vec<&Value> =
            pod["volumes"].as_array().expect("volumes").iter().map(|volume| &volume["name"]).collect();
        for mount in container["volumeMounts"].as_array().expect("mounts") {
            assert!(volumes.contains(&&mount["name"]), "no volume {}", mount["name"]);
        }
        container
    };
    let [privileged, plain] = &jobs[..] else { panic!("two Jobs: {jobs:?}") };
    let (privileged, plain) = (container(privileged), container(plain));
    for container in [&privileged, &plain] {
        let help = World::new().ok(&["build", "--help"]);
        for argument in container["args"].as_array().expect("args") {
            let flag = argument.as_str().expect("text").split('=').next().unwrap_or_default();
            assert!(!flag.starts_with("--") || help.contains(flag), "build has no {flag}");
        }
    }

    let Some(world) = World::with_shell("the_jobs_of_the_page_have_the_rights_they_need") else { return };
    world.file("ctx/Dockerfile", b"FROM box:1\nCOPY f /f\nRUN cat /proc/uptime > /when; chown 5:6 /f\n");
    world.file("ctx/f", b"content");
    let cache = world.path("cache").display().to_string();
    let (to, from) = (format!("type=local,dest={cache},mode=max"), format!("type=local,src={cache}"));
    let built =
        as_container(&world, &privileged, &["build", "-q", "--network=host", "--cache-to", &to, "ctx"]);
    assert!(built.status.success(), "{}", told(&built));
    let own = as_container(&world, &privileged, &["build", "--no-cache", "ctx"]);
    assert!(
        told(&own).contains("needs CAP_NET_ADMIN, which this root does not have: build with --network host")
    );

    // The other job's builder has a store and a user of its own, and takes the RUN from the cache.
    world.ok(&["save", "-o", "box.tar", "box:1"]);
    let other = World::new();
    for name in ["ctx/Dockerfile", "ctx/f", "box.tar"] {
        other.file(name, &fs_err::read(world.path(name)).expect("it is there"));
    }
    let copied = Command::new("cp").args(["-r", &cache]).arg(other.path("cache")).status();
    assert!(copied.is_ok_and(|status| status.success()));
    let user = plain["securityContext"]["runAsUser"].to_string();
    let owned = Command::new("chown").args(["-R", &user]).arg(other.path("")).status();
    assert!(owned.is_ok_and(|status| status.success()));
    let loaded = as_container(&other, &plain, &["load", "-q", "-i", "box.tar"]);
    assert!(loaded.status.success(), "{}", told(&loaded));
    let from = from.replace(&cache, &other.path("cache").display().to_string());
    let rebuilt =
        as_container(&other, &plain, &["build", "-q", "--network=host", "--cache-from", &from, "ctx"]);
    assert_eq!((told(&rebuilt), &rebuilt.stdout), (String::new(), &built.stdout));
    let run = as_container(&other, &plain, &["build", "--no-cache", "ctx"]);
    assert!(told(&run).contains("RUN needs root"), "{}", told(&run));
    as_container(&other, &plain, &["system", "reset", "-f"]);
}
