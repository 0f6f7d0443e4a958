//! `build`: every way of showing progress, and errors that point into the Dockerfile.

use crate::world::World;

fn attempt(world: &World, dockerfile: &str, line: &str) -> String {
    world.file("ctx/Dockerfile", dockerfile.as_bytes());
    world.transcript(&[line])
}

#[test]
fn progress_without_run() {
    let world = World::with_base();
    world.file("ctx/a.txt", b"a\n");
    let dockerfile = "FROM base:1\nENV A=1\nWORKDIR /app\nCOPY a.txt .\nCMD [\"x\"]\n";
    let first = attempt(&world, dockerfile, "build --progress plain -t app ctx");
    let text = world.transcript(&[
        "build --progress plain -t app ctx",
        "build --progress classic -t app ctx",
        "build -q -t app ctx",
        "build --progress quiet -t app ctx",
        "build -q --iidfile id.txt ctx",
    ]);
    insta::assert_snapshot!(first + &text);
    let id = fs_err::read_to_string(world.path("id.txt")).expect("the ID");
    assert_eq!(id + "\n", world.ok(&["build", "-q", "ctx"]));
}

#[test]
fn errors_point_into_the_dockerfile() {
    let world = World::with_base();
    world.ok(&["tag", "base:1", "127.0.0.1:9/base:1"]);
    let cases = [
        "FROM base:1\nRUNN true\n",
        "FROM\n",
        "FROM base:1 # the base\n",
        "FROM base:1\nEXPOSE 80 # web\n",
        "FROM Base:1\n",
        "FROM 127.0.0.1:9/nosuch:9\n",
        "FROM 127.0.0.1:9/bas:1\n",
        "FROM base:1\nCOPY missing.txt /\n",
        "FROM base:1\nCOPY onlyone\n",
        "FROM base:1\nENV A\n",
        "FROM base:1\nCOPY --from=127.0.0.1:9/nosuch /a /b\n",
        "ENV A=1\nFROM base:1\n",
        "",
    ];
    let text: String = cases
        .iter()
        .map(|dockerfile| {
            format!("--- {dockerfile:?}\n{}", attempt(&world, dockerfile, "build --progress plain -t x ctx"))
        })
        .collect();
    insta::assert_snapshot!(text + &world.transcript(&["images --format {{.Repository}}"]));
}

#[test]
fn wrong_requests() {
    let world = World::with_base();
    world.file("ctx/Dockerfile", b"FROM base:1 AS one\nENV A=1\n");
    insta::assert_snapshot!(world.transcript(&[
        "build nosuchdir",
        "build -f nosuch.Dockerfile ctx",
        "build --target nosuch ctx",
        "build -t UPPER ctx",
        "build --network fancy ctx",
        "build --platform nosuch/arch/x/y ctx",
        "build --secret nokey ctx",
    ]));
}

#[test]
fn run_steps() {
    let Some(world) = World::with_shell("build::run_steps") else { return };
    let dockerfile = "FROM box:1\nRUN echo hello; echo content > /file\nRUN wc -c /file\n";
    let good = attempt(&world, dockerfile, "build --network none --progress plain -t app ctx");
    let cached = world.transcript(&[
        "build --network none --progress classic -t app ctx",
        "build --network none -q --no-cache -t app ctx",
        "history --format '{{.CreatedBy}} [{{.Comment}}]' --no-trunc app",
        "run --rm --network none app cat /file",
    ]);
    let failing = "FROM box:1\nRUN true\nRUN echo before; exit 7\n";
    let failed = attempt(&world, failing, "build --network none --progress plain -t bad ctx")
        + &world.transcript(&[
            "build --network none --progress classic -t bad ctx",
            "images --format {{.Repository}}",
        ]);
    insta::assert_snapshot!(good + &cached + &failed);
}

/// `--progress=rawjson`: BuildKit's documents, one a line. And every name under which people know `build`.
#[test]
fn progress_for_machines_and_other_names() {
    let world = World::with_base();
    world.file("ctx/Dockerfile", b"FROM base:1\nCOPY a /a\n");
    world.file("ctx/a", b"a");
    let built = world.output(&["buildx", "build", "--progress=rawjson", "-t", "app", "ctx"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let lines = String::from_utf8(built.stderr).expect("UTF-8");
    let documents: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a document a line")).collect();
    let vertexes = || documents.iter().filter_map(|document| document["vertexes"].get(0));
    let copies: Vec<_> = vertexes().filter(|vertex| vertex["name"] == "[2/2] COPY a /a").collect();
    // Planned, started, completed.
    assert_eq!(copies.len(), 3, "{lines}");
    assert!(copies[0]["started"].is_null() && copies[2]["completed"].is_string(), "{lines}");
    assert!(copies.iter().all(|vertex| vertex["digest"] == copies[0]["digest"]), "{lines}");
    assert!(vertexes().any(|vertex| vertex["cached"] == true), "{lines}");
    let id = world.ok(&["build", "-q", "ctx"]);
    for name in [&["image", "build"][..], &["builder", "build"], &["buildx", "build"]] {
        assert_eq!(world.ok(&[name, &["-q", "ctx"]].concat()), id, "{name:?}");
    }
}

/// `FROM NAME` of a directory: its files are the root.
#[test]
fn a_directory_as_base() {
    let world = World::with_base();
    world.file("root/etc/os-release", b"NAME=mine\n");
    world.file("ctx/a", b"a\n");
    let dockerfile = "FROM files AS one\nCOPY a /a\nFROM one\nENV A=1\n";
    let build = "build --progress plain --build-context files=root -t based ctx";
    let first = attempt(&world, dockerfile, build);
    let text = world.transcript(&[
        build,
        "history --no-trunc --format '{{.CreatedBy}} {{.Size}} {{.Comment}}' based",
        "image inspect -f '{{len .RootFS.Layers}} {{.Config.Env}}' based",
        "build -q --build-context files=root -o out ctx",
        "build -q --build-context files=missing ctx",
    ]);
    insta::assert_snapshot!(first + &text);
    assert_eq!(fs_err::read(world.path("out/etc/os-release")).expect("of the directory"), b"NAME=mine\n");
    world.file("root/etc/os-release", b"NAME=yours\n");
    world.ok(&["build", "-q", "--build-context", "files=root", "-o", "out", "ctx"]);
    assert_eq!(fs_err::read(world.path("out/etc/os-release")).expect("of the directory"), b"NAME=yours\n");
}

/// Docker's words about an image that is not made for this machine.
#[test]
fn another_platform() {
    let world = World::with_base();
    let other = if cfg!(target_arch = "x86_64") { "s390x" } else { "amd64" };
    let platform = format!("linux/{other}");
    let name = "127.0.0.1:9/other:1";
    world.ok(&["import", "--platform", &platform, "-c", "CMD [\"/x\"]", "base.tar", name]);
    world.file("ctx/Dockerfile", b"FROM 127.0.0.1:9/other:1\nLABEL a=b\n");
    let fits = format!("build --platform {platform} --check ctx");
    let mut text = world.transcript(&["build --check ctx", &fits]);
    if rustix::process::geteuid().is_root() {
        text += &world.transcript(&["run --rm --network none 127.0.0.1:9/other:1"]);
    }
    insta::assert_snapshot!(text.replace(other, "<other>"));
}

/// Limits of the machine's resources reach the step, and are no part of what it is.
#[test]
fn limits_of_steps() {
    let Some(world) = World::with_shell("limits_of_steps") else { return };
    let seen = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
    let file = format!("FROM box:1\nRUN {seen} > /limit; test -s /limit\n");
    world.file("c/Dockerfile", file.as_bytes());
    let build = ["build", "-q", "--network", "none", "-t", "limited"];
    let first = world.ok(&[&build[..], &["-m", "32m", "c"]].concat());
    let limit = world.ok(&["run", "--rm", "--network", "none", "limited", "cat", "/limit"]);
    assert_eq!(limit, "33554432\n");
    let again = world.ok(&[&build[..], &["--resource", "memory=64m,cpu-shares=512", "c"]].concat());
    assert_eq!(first, again, "found in the cache");
    let cases: [(&[&str], i32, &str); 7] = [
        (&["-m", "1m"], 1, "Minimum memory limit allowed is 6MB"),
        (&["-m", "much"], 125, "invalid argument \"much\" for \"-m, --memory\" flag: invalid size: 'much'"),
        (
            &["-m", "32m", "--memory-swap", "16m"],
            1,
            "Minimum memoryswap limit should be larger than memory limit",
        ),
        (&["--memory-swap", "16m"], 1, "You should always set the Memory limit when using Memoryswap limit"),
        (&["--resource", "gpu=1"], 125, "unknown resource \"gpu\": use memory"),
        (&["--ulimit", "nosuch=1"], 125, "invalid ulimit type: nosuch"),
        (
            &["--ulimit", "nofile=5:3"],
            125,
            "ulimit soft limit must be less than or equal to hard limit: 5 > 3",
        ),
    ];
    for (flags, code, message) in cases {
        let output = world.output(&[&build[..], flags, &["c"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(message), "{flags:?}: {output:?}");
    }
    // What scripts of Docker's users pass on.
    for flags in [
        &["--target", ""][..],
        &["--compress", "--force-rm"],
        &["--cpu-quota", "50000", "--cpu-period", "100000"],
    ] {
        assert_eq!(world.ok(&[&build[..], flags, &["c"]].concat()), first, "{flags:?}");
    }
    let output = world.output(&[&build[..], &["--secret", "id=", "c"]].concat());
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs an id"), "{output:?}");
}
