//! `build --check`, `--call`, `--dry-run`, `--explain`, `-o`: questions about a Dockerfile, and where a result goes.

use crate::world::World;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

const BAD_HABITS: &str = "\
FROM base
MAINTAINER me
RUN apt-get update
RUN apt-get install -y curl
RUN rm -rf /var/lib/apt/lists/*
COPY . .
RUN pip install -r requirements.txt
RUN apt-get update && apt-get upgrade -y && apt-get install -y git
CMD python app.py
";

#[test]
fn check_tells_place_reason_and_correction() {
    let world = World::new();
    world.file("ctx/Dockerfile", BAD_HABITS.as_bytes());
    world.file("ctx/.git/HEAD", b"ref");
    world.file("good/Dockerfile", b"FROM base:1\nCOPY a /a\n");
    world.file("skip/Dockerfile", b"# check=skip=MaintainerDeprecated\nFROM base:1\nMAINTAINER me\n");
    insta::assert_snapshot!(world.transcript(&[
        "build --check ctx",
        "build --check good",
        "build --check skip",
        "build --check --build-arg BUILDKIT_DOCKERFILE_CHECK=error=true skip",
        "build --call check,format=json skip",
        "build --check --call outline skip",
        "build --call what skip",
    ]));
}

#[test]
fn check_error_fails_builds_and_checks() {
    let world = World::with_base();
    world.file("ctx/Dockerfile", b"# check=error=true\nFROM base:1\nMAINTAINER me\n");
    world.file("warn/Dockerfile", b"FROM base:1\nMAINTAINER me\nENV a b\n");
    insta::assert_snapshot!(world.transcript(&[
        "build --progress plain ctx",
        "build --check ctx",
        "build -q --build-arg BUILDKIT_DOCKERFILE_CHECK=skip=all ctx",
        "build --progress plain warn",
        "build -q warn",
    ]));
}

#[test]
fn outline_and_targets() {
    let world = World::new();
    let dockerfile = "\
# VERSION of the tool
ARG VERSION=1.0
# build compiles everything
FROM base:1 AS build
ARG VERSION
ARG TOKEN
RUN --mount=type=secret,id=key,required make
# final is what we ship
FROM base:1 AS final
COPY --from=build /out /out
";
    world.file("ctx/Dockerfile", dockerfile.as_bytes());
    insta::assert_snapshot!(world.transcript(&[
        "build --call outline ctx",
        "build --call outline,format=json --target build --build-arg VERSION=2 ctx",
        "build --call outline --target nosuch ctx",
        "build --call targets ctx",
        "build --call targets,json ctx",
    ]));
}

/// Files are copied, one is edited, one changes its mode; then another Dockerfile that begins alike.
#[test]
fn explain_names_the_first_difference() {
    let world = World::with_base();
    let dockerfile = "FROM base:1\nARG VERSION=1\nCOPY list /list\nCOPY app /app\nWORKDIR /app/$VERSION\n";
    world.file("ctx/Dockerfile", dockerfile.as_bytes());
    world.file("ctx/list", b"flask\n");
    world.file("ctx/app/api.py", b"print(1)\n");
    world.file("ctx/app/other", b"x");
    let mut text = world.transcript(&["build --dry-run ctx", "build -q -t app ctx", "build --dry-run ctx"]);
    world.file("ctx/app/api.py", b"print(1 + 1)\n");
    world.file("ctx/app/new", b"n");
    fs_err::set_permissions(world.path("ctx/app/other"), PermissionsExt::from_mode(0o755)).expect("chmod");
    let elsewhere = dockerfile.replace("COPY app /app", "COPY app /app-2");
    world.file("ctx2/Dockerfile", elsewhere.as_bytes());
    world.file("ctx2/list", b"flask\n");
    world.file("ctx2/app/api.py", b"print(1)\n");
    text += &world.transcript(&[
        "build --dry-run ctx",
        "build --dry-run --explain=json ctx",
        "build --dry-run ctx2",
        "build --explain -q ctx",
        "build --explain -q --build-arg VERSION=2 ctx",
        "build --dry-run --no-cache ctx",
        "build --explain=what ctx",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn secrets_are_never_explained() {
    let Some(world) = World::with_shell("questions::secrets_are_never_explained") else { return };
    let dockerfile = b"FROM box:1\nARG API_TOKEN\nRUN echo built\n";
    world.file("ctx/Dockerfile", dockerfile);
    let build = |token: &str, how: &[&str]| {
        let token = format!("API_TOKEN={token}");
        let mut line = vec!["build", "--network", "none", "--build-arg", &token];
        line.extend(how);
        line.push("ctx");
        let output = world.output(&line);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    build("hunter1", &["-q"]);
    for how in [&["--dry-run"][..], &["--dry-run", "--explain=json"], &["--explain", "--progress", "plain"]] {
        let told = build("hunter2", how);
        assert!(told.contains("ARG API_TOKEN changed from **** to ****"), "{told}");
        assert!(!told.contains("hunter"), "{told}");
    }
}

#[test]
fn results_leave_the_store_in_every_form() {
    let world = World::with_base();
    world.file("ctx/Dockerfile", b"FROM base:1\nCOPY --chmod=4755 tool /bin/\nCMD [\"tool\"]\n");
    world.file("ctx/tool", b"#!/bin/sh\n");
    let text = world.transcript(&[
        "build -o out ctx",
        "build -o type=tar,dest=root.tar ctx",
        "build -o type=oci,dest=image.tar,name=me:1 --metadata-file meta.json ctx",
        "build -o type=oci,dest=layout,tar=false ctx",
        "build -o type=cacheonly ctx",
        "images --format {{.Repository}}:{{.Tag}}",
        "build -q -o type=image,name=named:1 -t also ctx",
        "images --format {{.Repository}}:{{.Tag}}",
        "build -o type=registry ctx",
        "build -o type=local ctx",
        "build -o type=what ctx",
    ]);
    insta::assert_snapshot!(text);
    let tool = fs_err::metadata(world.path("out/bin/tool")).expect("exported");
    assert_eq!(tool.permissions().mode() & 0o7777, 0o4755);
    assert_eq!(fs_err::read(world.path("out/data/seed")).expect("of the base"), [b'x'; 1500]);
    let tar = fs_err::read(world.path("root.tar")).expect("a tar");
    let piped = world.output(&["build", "-q", "-o", "-", "ctx"]);
    assert_eq!(piped.stdout, tar, "-o - and dest= are the same bytes");
    assert!(world.path("layout/index.json").is_file());

    let built = world.ok(&["build", "-q", "ctx"]);
    let meta = fs_err::read_to_string(world.path("meta.json")).expect("metadata");
    assert!(meta.contains(&format!("\"containerimage.config.digest\": \"{}\"", built.trim())), "{meta}");
    assert!(meta.contains("\"image.name\": \"docker.io/library/me:1\""), "{meta}");
    // What was exported comes back as the same image.
    world.ok(&["load", "-i", "image.tar"]);
    assert_eq!(world.ok(&["images", "-q", "--no-trunc", "me:1"]), built);
}

#[test]
fn a_context_from_a_tar_gives_the_same_image() {
    let world = World::with_base();
    world.file("ctx/Dockerfile", b"FROM base:1\nCOPY . /x\n");
    world.file("ctx/sub/other.Dockerfile", b"FROM base:1\nCOPY sub /sub\n");
    world.file("ctx/a", b"a\n");
    let built = world.ok(&["build", "-q", "ctx"]);
    for compression in ["-c", "-cz", "-cJ"] {
        let tar = std::process::Command::new("tar")
            .args(["--owner=0", "--group=0", compression, "-C"])
            .arg(world.path("ctx"))
            .arg(".")
            .output()
            .expect("tar");
        let archive = world.path("ctx.tar");
        fs_err::write(&archive, &tar.stdout).expect("a tar");
        let stdin = || Stdio::from(fs_err::File::open(&archive).expect("a tar").into_file());
        let output = world.command(&["build", "-q", "-"]).stdin(stdin()).output().expect("strata");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            built,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let other = ["build", "-q", "-f", "sub/other.Dockerfile", "-"];
        assert!(world.command(&other).stdin(stdin()).output().expect("strata").status.success());
        let missing = world.command(&["build", "-f", "no", "-"]).stdin(stdin()).output().expect("strata");
        let told = String::from_utf8_lossy(&missing.stderr).into_owned();
        assert!(told.contains("failed to read dockerfile: open no: no such file or directory"), "{told}");
    }
}
