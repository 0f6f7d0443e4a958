//! What `--explain` and `--dry-run` say in the situations that people meet, word for word as docs/explain.md shows it.

use crate::world::World;
use std::os::unix::fs::PermissionsExt;

/// The documentation shows what is printed: every block of `transcript` that begins with `$ strata build` stands in it.
fn documented(transcript: &str) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/explain.md");
    let page = fs_err::read_to_string(page).expect("docs/explain.md");
    for block in transcript.split("$ strata build").skip(1) {
        let block = format!("$ strata build{}", block.trim_end());
        assert!(page.contains(&block), "docs/explain.md lacks:\n{block}");
    }
}

/// Second seed: the list of dependencies is copied, then the application, then everything is installed.
#[test]
fn an_edited_application_installs_everything_again() {
    let Some(world) = World::with_shell("explain::an_edited_application") else { return };
    world.file("python/Dockerfile", b"FROM box:1\nCOPY --chmod=755 pip /bin/\n");
    world.file("python/pip", b"#!/bin/sh\necho installed\n");
    world.ok(&["build", "-q", "-t", "python:3", "python"]);
    let dockerfile = "\
FROM python:3
COPY requirements.txt /requirements.txt
COPY app /app
RUN pip install -r /requirements.txt
";
    world.file("Dockerfile", dockerfile.as_bytes());
    world.file("requirements.txt", b"flask\n");
    world.file("app/api.py", b"print('one')\n");
    world.file("app/other", b"x");
    world.file(".dockerignore", b"store\n*.tar\npython\n");
    world.ok(&["build", "-q", "--network", "none", "."]);
    world.file("app/api.py", b"print('one', 'two')\n\n");
    fs_err::set_permissions(world.path("app/other"), PermissionsExt::from_mode(0o755)).expect("chmod");
    let forecast = world.transcript(&["build --dry-run --network none ."]);
    documented(&forecast.replace(" --network none", ""));
    insta::assert_snapshot!(forecast + &world.transcript(&["build --progress plain --network none ."]));
}

/// Fourth seed: a copy of a Dockerfile that copies to another directory.
#[test]
fn another_dockerfile_that_begins_alike() {
    let Some(world) = World::with_shell("explain::another_dockerfile") else { return };
    world.ok(&["tag", "box:1", "busybox:1"]);
    let dockerfile = |suffix: &str| {
        format!(
            "\
FROM busybox:1
RUN echo apt-get update && echo apt-get install python
RUN echo pip install flask flask-mysql
COPY . /opt/source-code{suffix}
ENTRYPOINT FLASK_APP=/opt/source-code/app.py flask run
"
        )
    };
    world.file("my-app/Dockerfile", dockerfile("").as_bytes());
    world.file("my-app/app.py", b"print()\n");
    world.file("my-app-2/Dockerfile", dockerfile("-2").as_bytes());
    world.file("my-app-2/app.py", b"print()\n");
    world.ok(&["build", "-q", "--network", "none", "my-app"]);
    let forecast = world.transcript(&["build --dry-run --network none my-app-2"]);
    documented(&forecast.replace(" --network none", ""));
    world.file("my-app/Dockerfile", dockerfile("").replace("flask flask", "django flask").as_bytes());
    let changed = world.transcript(&["build --dry-run --network none my-app"]);
    documented(&changed.replace(" --network none", ""));
    insta::assert_snapshot!(forecast + &changed);
}

/// Arguments, variables, secrets, stages that another one takes files from.
#[test]
fn arguments_secrets_and_stages() {
    let Some(world) = World::with_shell("explain::arguments_secrets_and_stages") else { return };
    let dockerfile = "\
FROM box:1 AS build
ARG VERSION=1.0
ARG API_TOKEN
ENV MODE=fast
RUN echo $VERSION $MODE > /out
FROM box:1 AS final
WORKDIR /srv
COPY --from=build /out /out
";
    world.file("Dockerfile", dockerfile.as_bytes());
    let build = |how: &str| format!("build --network none {how} .");
    world.transcript(&[&build("-q --build-arg API_TOKEN=hunter1")]);
    let with = "--build-arg API_TOKEN=hunter2 --build-arg VERSION=2";
    let forecast = world.transcript(&[&build(&format!("--dry-run {with}"))]);
    documented(&forecast.replace(" --network none", ""));
    let json = world.transcript(&[&build(&format!("--dry-run --explain=json {with}"))]);
    let told = &json[json.find('{').expect("JSON")..];
    assert!(!told.contains("hunter"), "{told}");
    insta::assert_snapshot!(forecast + &json);
}
