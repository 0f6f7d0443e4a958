//! `run`, `exec`, `ps`, `logs`, `stop`, `kill`, `wait`, `rm`, `diff`: on the real kernel, so only as root.

use crate::world::{World, wait_for};
use std::io::Write;
use std::process::Stdio;

#[test]
fn run_in_the_foreground() {
    let Some(world) = World::with_shell("run_in_the_foreground") else { return };
    insta::assert_snapshot!(world.transcript(&[
        "run --rm --network none box:1 echo hello",
        "run --rm --network none box:1 sh -c 'echo out; echo err >&2; exit 7'",
        "run --rm --network none box:1 nosuch",
        "run --rm --network none box:1 /etc",
        "run --rm --network none box:1 sh -c 'kill -9 $$; echo alive'",
        "run --rm --network none --init box:1 sh -c 'kill -9 $$'",
        "run --rm --network none -e A=1 -e NOT_SET --hostname h box:1 env",
        "run --rm --network none -w /new/dir -u bob box:1 sh -c 'pwd; id'",
        "run --rm --network none -u 7:8 --group-add 9 box:1 id",
        "run --rm --network none --entrypoint echo box:1 a b",
        "run --rm --network none --entrypoint '' box:1 echo c",
        "run --rm --network none --read-only box:1 touch /x",
        "run --rm --network none --read-only --tmpfs /t:size=1m box:1 sh -c 'touch /t/x; df /t | tr -s \" \"'",
        "run --rm --network none --shm-size 1m box:1 sh -c 'df /dev/shm | tr -s \" \"'",
        "run --rm=true --network none --network none --name a1 --name a2 box:1 true",
        "ps -a",
    ]));
}

#[test]
fn run_refuses() {
    let Some(world) = World::with_shell("run_refuses") else { return };
    insta::assert_snapshot!(world.transcript(&[
        "run --rm 127.0.0.1:9/nosuch",
        "run --rm --pull never nosuch",
        "run --rm --pull never bx:1",
        "run --rm BOX:1",
        "run --rm --network nosuch box:1",
        "run --rm --name -bad box:1",
        "run --rm -w rel box:1 pwd",
        "run --rm -u nosuch box:1 id",
        "run --rm -m 1m box:1 true",
        "run --rm -p 99999:80 box:1",
        "run --rm -p abc box:1",
        "run --rm -v /tmp:rel box:1",
        "run --rm -v a:/ box:1",
        "run --rm -v /tmp:/x:bogus box:1",
        "run --rm --mount type=bind,source=/nonexist,target=/x box:1",
        "run --rm --mount type=bogus,target=/x box:1",
        "run --rm --cap-add BOGUS box:1",
        "run --rm --cap-drop BOGUS box:1",
        "run --rm --security-opt bogus box:1",
        "run --rm --stop-signal BOGUS box:1",
        "run --rm --restart always box:1",
        "run --pull bogus box:1",
        "run --platform linux/s390x box:1",
        "run --env-file nosuch box:1",
        "run --cidfile box.tar box:1",
        "run -it box:1",
        "ps -a",
    ]));
}

#[test]
fn life_of_a_container() {
    let Some(world) = World::with_shell("life_of_a_container") else { return };
    let script = "trap \"exit 3\" TERM; echo out; echo err >&2; while :; do sleep 0.05; done";
    let start =
        ["run", "-d", "--name", "one", "--network", "none", "--label", "a=b", "box:1", "sh", "-c", script];
    let first = world.entry("run -d --name one ...", &world.output(&start));
    wait_for(|| world.ok(&["logs", "one"]) == "out\n");
    insta::assert_snapshot!(first + &world.transcript(&[
        "run --name one --network none box:1 true",
        "ps",
        "ps -q",
        "ps --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Labels}} {{.Networks}} [{{.Ports}}]'",
        "ps --filter name=^on --filter label=a=b --format {{.Names}}",
        "ps --filter name=^ne --format {{.Names}}",
        "ps --filter ancestor=box:1 --filter status=running --format {{.Names}}",
        "ps --format 'table {{.Names}}\\t{{.Label \"a\"}}'",
        "exec one echo hello",
        "exec one sh -c 'exit 5'",
        "exec one nosuch",
        "exec one /etc",
        "exec -w /missing one pwd",
        "exec -u nosuch one id",
        "exec -u bob -e A=1 -w /data one sh -c 'id; pwd; echo $A'",
        "exec -it one sh",
        "exec -d one touch /made",
        "rm one",
        "rmi box:1",
        "rmi -f box:1",
        "ps --format {{.Image}}",
        "kill -s NOSUCH one",
        "stop one",
        "stop one",
        "wait one",
        "kill one",
        "exec one true",
        "logs one",
        "logs --tail 0 one",
        "ps -a --no-trunc --format '{{.Command}}'",
        "ps -a --filter exited=3 --format {{.Names}}",
        "ps -a --filter exited=4",
        "inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.Name}} {{.Path}}' one",
        "diff one",
        "rm one",
        "ps -a",
    ]));
}

/// STOPSIGNAL of the image first, `--stop-signal` before it; KILL when nobody listens.
#[test]
fn stop_sends_the_right_signal() {
    let Some(world) = World::with_shell("stop_sends_the_right_signal") else { return };
    let script = "trap 'exit 42' USR1; trap 'exit 43' USR2; echo ready; while :; do sleep 0.05; done";
    world.file("ctx/Dockerfile", b"FROM box:1\nSTOPSIGNAL USR1\n");
    world.ok(&["build", "-q", "-t", "usr1", "ctx"]);
    let cases: [(&str, &[&str], &[&str], &str); 4] = [
        ("image", &["usr1"], &[], "42"),
        ("flag", &["--stop-signal", "USR2", "usr1"], &[], "43"),
        ("stop", &["usr1"], &["-s", "USR2"], "43"),
        ("deaf", &["box:1"], &["-t", "0"], "137"),
    ];
    for (name, image, flags, code) in cases {
        let run =
            [&["run", "-d", "--name", name, "--network", "none"][..], image, &["sh", "-c", script]].concat();
        world.ok(&run);
        wait_for(|| world.ok(&["logs", name]) == "ready\n");
        assert_eq!(world.ok(&[&["stop"][..], flags, &[name]].concat()), format!("{name}\n"));
        assert_eq!(world.ok(&["wait", name]).trim(), code, "{name}");
        world.ok(&["rm", name]);
    }
}

#[test]
fn diff_and_sizes() {
    let Some(world) = World::with_shell("diff_and_sizes") else { return };
    let script = "echo changed > /etc/group; mkdir -p /n/m; rm /data/seed; echo 12345678 > /n/m/file";
    world.ok(&["run", "--name", "dd", "--network", "none", "box:1", "sh", "-c", script]);
    let list = world.ok(&["ps", "-a", "-s", "--format", "{{.Names}} {{.Size}}"]);
    assert!(list.starts_with("dd 17B (virtual "), "{list}");
    insta::assert_snapshot!(world.transcript(&["diff dd", "container prune", "container prune -f", "ps -a"]));
}

#[test]
fn logs_follow_cut_and_tell_the_time() {
    let Some(world) = World::with_shell("logs_follow_cut_and_tell_the_time") else { return };
    let script = "for i in 1 2 3 4; do echo line $i; sleep 0.1; done; echo end >&2";
    world.ok(&["run", "-d", "--name", "ll", "--network", "none", "box:1", "sh", "-c", script]);
    insta::assert_snapshot!(world.transcript(&[
        "logs -f ll",
        "logs --tail 2 ll",
        "logs -n 1 -t ll",
        "logs --since 2001-01-01T00:00:00Z --tail 1 ll",
        "logs --until 2001-01-01 ll",
        "logs --since nonsense ll",
    ]));
}

#[test]
fn standard_input_reaches_the_container() {
    let Some(world) = World::with_shell("standard_input_reaches_the_container") else { return };
    let pipe = |arguments: &[&str], input: &[u8]| {
        let mut command = world.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::thread::scope(|scope| {
            // Beside the reading: cat answers long before it has everything. Without -i nobody reads this.
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().expect("ends").stdout
        })
    };
    let input: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
    assert!(
        pipe(&["run", "--rm", "-i", "--network", "none", "box:1", "cat"], &input) == input,
        "all bytes, unchanged"
    );
    assert_eq!(
        pipe(&["run", "--rm", "--network", "none", "box:1", "cat"], b""),
        b"",
        "without -i it is empty"
    );
    world.ok(&["run", "-d", "--name", "cc", "--network", "none", "box:1", "sleep", "60"]);
    assert!(pipe(&["exec", "-i", "cc", "cat"], &input) == input, "all bytes, unchanged");
    world.ok(&["rm", "-f", "cc"]);
}

#[test]
fn ports_are_shown_and_answer() {
    let Some(world) = World::with_shell("ports_are_shown_and_answer") else { return };
    // The container is never asked anything: what is shown is what matters here.
    world.ok(&["run", "-d", "--name", "pp", "-p", "127.0.0.1:0:8080", "box:1", "sleep", "60"]);
    let shown = world.ok(&["ps", "--format", "{{.Ports}}"]);
    let port: u16 = shown
        .trim()
        .strip_prefix("127.0.0.1:")
        .and_then(|rest| rest.strip_suffix("->8080/tcp"))
        .and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("{shown}"));
    let template = "{{(index (index .NetworkSettings.Ports \"8080/tcp\") 0).HostPort}}";
    assert_eq!(world.ok(&["inspect", "-f", template, "pp"]).trim(), port.to_string());
    let taken = world.output(&["run", "--rm", "-p", &format!("127.0.0.1:{port}:80"), "box:1", "true"]);
    let error = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert_eq!(taken.status.code(), Some(125), "{error}");
    assert!(
        error.contains(&format!("Bind for 127.0.0.1:{port} failed: port is already allocated")),
        "{error}"
    );
    assert_eq!(world.ok(&["ps", "-a", "--format", "{{.Names}}"]), "pp\n", "a run that failed leaves nothing");
    world.ok(&["rm", "-f", "pp"]);
}

#[test]
fn the_helper_of_a_quiet_container_is_small() {
    let Some(world) = World::with_shell("the_helper_of_a_quiet_container_is_small") else { return };
    let script = "trap 'echo bye; exit 7' TERM; while :; do sleep 0.1; done";
    world.ok(&["run", "-d", "--name", "hh", "--network", "none", "box:1", "sh", "-c", script]);
    let store = world.path("store");
    let is_helper = |pid: &str| {
        let read = |name: &str| fs_err::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&read("cmdline")).contains("container-helper")
            && String::from_utf8_lossy(&read("environ")).contains(&format!("STRATA_ROOT={}", store.display()))
    };
    let processes = fs_err::read_dir("/proc").expect("mounted").flatten();
    let helper =
        processes.map(|entry| entry.file_name().to_string_lossy().into_owned()).find(|pid| is_helper(pid));
    let helper = helper.expect("a helper watches the container");
    let resident = || -> u64 {
        let text = fs_err::read_to_string(format!("/proc/{helper}/smaps_rollup")).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).expect("a summary");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    // 1.2 MB when built for release; what is asserted holds for this unoptimised, dynamic program, too.
    let started = std::time::Instant::now();
    while resident() > 5000 && started.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(resident() <= 5000, "{} KiB", resident());
    // What it had given back it has again when it is needed.
    world.ok(&["stop", "hh"]);
    assert_eq!(world.ok(&["logs", "hh"]), "bye\n");
    assert_eq!(world.ok(&["inspect", "-f", "{{.State.ExitCode}}", "hh"]), "7\n");
    world.ok(&["rm", "hh"]);
}

/// The whole of `system df -v`: an image with two names, one that shares a layer, containers, volumes in use and not,
/// and a build cache of which a part is shared.
#[test]
fn what_takes_how_much() {
    let Some(world) = World::with_shell("what_takes_how_much") else { return };
    world.file("ctx/Dockerfile", b"FROM box:1\nCOPY big /big\nRUN echo 123 > /small\n");
    world.file("ctx/big", &[7; 5000]);
    world.ok(&["build", "-q", "--network", "none", "-t", "app:1", "-t", "other:2", "ctx"]);
    world.file("ctx/big", &[8; 6000]);
    world.ok(&["build", "-q", "--network", "none", "-t", "app:2", "ctx"]);
    world.ok(&["rmi", "app:2"]);
    let script = "head -c 1000 /dev/zero > /mine; head -c 300 /dev/zero > /v/data; exit 3";
    let run = ["run", "--name", "kept", "--network", "none", "-v", "used:/v", "app:1", "sh", "-c", script];
    assert_eq!(world.output(&run).status.code(), Some(3));
    world.ok(&["volume", "create", "spare"]);
    insta::assert_snapshot!(world.transcript(&["system df", "system df -v"]));
}

/// The whole document of `inspect`, and what it says of a container that runs.
#[test]
fn the_document_of_a_container() {
    let Some(world) = World::with_shell("the_document_of_a_container") else { return };
    let flags = "run --name doc --network none --hostname h -e A=1 -u bob -w /data --label a=b --entrypoint sh \
                 --cap-add NET_ADMIN --cap-drop CHOWN --security-opt no-new-privileges --add-host peer:10.0.0.1 \
                 --dns 9.9.9.9 --group-add 9 --tmpfs /t:size=1m --read-only -m 64m --cpus 0.5 --pids-limit 50 \
                 --ulimit nofile=100:200 --stop-signal USR1 -v named:/v:ro box:1 -c 'exit 3'";
    let words = crate::world::words(flags);
    let words = crate::world::refs(&words);
    assert_eq!(world.output(&words).status.code(), Some(3));
    insta::assert_snapshot!(world.transcript(&["inspect doc"]));

    world.ok(&["run", "-d", "--name", "up", "-P", "--cidfile", "cid", "box:1", "sleep", "60"]);
    let shown = world.ok(&[
        "inspect",
        "-f",
        "{{len .NetworkSettings.SandboxID}} {{len .NetworkSettings.EndpointID}} {{.NetworkSettings.IPPrefixLen}} \
         {{len .NetworkSettings.Networks.bridge.NetworkID}} {{.HostConfig.PublishAllPorts}} {{.HostConfig.IpcMode}} \
         {{.HostConfig.LogConfig.Type}} {{json .ExecIDs}} {{.HostConfig.RestartPolicy.Name}}",
        "up",
    ]);
    assert_eq!(shown, "64 64 16 64 true private json-file null no\n");
    world.ok(&["rm", "-f", "up"]);
}
