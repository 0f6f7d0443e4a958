//! Builds that fail or are interrupted: what they say, the way into the state before the step, and what they leave.

use crate::terminal::Terminal;
use crate::world::{World, wait_for};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

const FAILING: &str = "\
FROM box:1
ARG VERSION=1.0
ENV NAME=value
WORKDIR /work
RUN echo kept > file; mkdir /cache
USER bob
RUN --mount=type=cache,target=/cache,uid=1000 --mount=target=/ctx echo first line; echo > /cache/filled; \\
    head -c 300000 /dev/zero | tr '\\0' 'x'; echo; echo last line; exit 7
";

/// The command that a failed build prints for looking around.
fn way_in(stderr: &str) -> Vec<String> {
    let line =
        stderr.lines().find_map(|line| line.strip_prefix("To open a shell in the state before this step: "));
    line.unwrap_or_else(|| panic!("no way in: {stderr}")).split(' ').map(str::to_owned).collect()
}

/// After the next sweep there is nothing. What a process that was ended at once had in its hands is only swept when the
/// kernel has taken the process, and its step's, away: so a little later perhaps.
fn nothing_left(world: &World) {
    wait_for(|| {
        // `ps` only looks; this one sweeps.
        world.ok(&["image", "prune", "-f"]);
        ["ingest", "trash"].iter().all(|name| {
            fs_err::read_dir(world.path("store").join(name)).expect("a directory").next().is_none()
        })
    });
    assert_eq!(world.ok(&["ps", "-aq"]), "");
    world.ok(&["system", "fsck"]);
}

#[test]
fn the_state_before_a_failed_step_can_be_entered() {
    let Some(world) = World::with_shell("failure::the_state_before_a_failed_step") else { return };
    world.file("ctx/Dockerfile", FAILING.as_bytes());
    let failed = world.output(&["build", "--network", "none", "--progress", "quiet", "ctx"]);
    let told = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1));
    assert!(told.contains(&"x".repeat(300_000)), "output is never clipped");
    let short = told.replace(&"x".repeat(300_000), "(300,000 times x)");

    let way = way_in(&told);
    assert_eq!((way[0].as_str(), way[1].as_str()), ("strata", "debug"));
    let script =
        "pwd; id -u; cat file; echo $VERSION $NAME; echo \"$STRATA_STEP\" | wc -l; ls /cache; exit 5";
    let inside = world.output(&["debug", &way[2], "sh", "-c", script]);
    let last = world.output(&["debug"]);
    let text =
        format!("{short}\n{}{}", world.entry("debug <id> sh -c ...", &inside), world.entry("debug", &last));
    insta::assert_snapshot!(text.replace(&way[2], "<id>"));
    // The garbage collector knows it; pruning takes it away.
    world.ok(&["image", "prune", "-af"]);
    assert_eq!(world.output(&["debug", &way[2], "cat", "/work/file"]).stdout, b"kept\n");
    world.ok(&["builder", "prune", "-af"]);
    let gone = world.output(&["debug", &way[2]]);
    assert_eq!(gone.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no failed step has the ID"));
    nothing_left(&world);
}

#[test]
fn a_shell_opens_where_the_step_failed() {
    let Some(world) = World::with_shell("failure::a_shell_opens_where_the_step_failed") else { return };
    let dockerfile = "\
FROM box:1
WORKDIR /work
RUN echo kept > file
RUN --mount=type=secret,id=pass --mount=type=cache,target=/cache --mount=target=/ctx --mount=type=tmpfs,target=/mem \\
    --mount=type=bind,from=box:1,source=/bin,target=/other echo broken; exit 7
";
    world.file("ctx/Dockerfile", dockerfile.as_bytes());
    world.file("pass", b"hunter2\n");
    let line = ["build", "--network", "none", "--secret", "id=pass,src=pass", "--on-error=shell", "ctx"];
    let mut terminal = Terminal::start(&world, &line);
    terminal.expect("This is a shell in the state before the step");
    terminal.expect("# ");
    terminal.send(
        "pwd; cat file /run/secrets/pass; ls -d /cache; ls /ctx /other/sh; stat -f -c %T /mem; echo touched > /work/new; eval \"$STRATA_STEP\"\n",
    );
    terminal.expect(
        "/work\r\nkept\r\nhunter2\r\n/cache\r\n/other/sh\r\n\r\n/ctx:\r\nDockerfile\r\ntmpfs\r\nbroken\r\n",
    );
    terminal.ends_with(7);
    // Without a terminal it says so.
    let told = world.output(&line);
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("--on-error=shell: no shell was opened, as this is no terminal"), "{told}");
    assert!(way_in(&told).len() == 3, "{told}");
    let wrong = world.output(&["build", "--on-error=cry", "ctx"]);
    assert_eq!(wrong.status.code(), Some(125));
    nothing_left(&world);
}

/// Interrupts a build in the middle of a RUN, `times` times in a row; its exit code.
fn interrupted(world: &World, signal: rustix::process::Signal, times: usize) -> Option<i32> {
    let line = ["build", "--network", "none", "--progress", "plain", "-t", "never", "ctx"];
    let mut build = world.command(&line).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(build.stderr.take().expect("piped")).lines();
    assert!(lines.any(|line| line.expect("UTF-8").ends_with("started")));
    let id = rustix::process::Pid::from_child(&build);
    for _ in 0..times {
        rustix::process::kill_process(id, signal).expect("sent");
    }
    let rest: Vec<String> = lines.map(|line| line.expect("UTF-8")).collect();
    let status = build.wait().expect("ended");
    if times == 1 {
        assert!(rest.iter().any(|line| line.contains("#4 CANCELED")), "{rest:?}");
        let last = "ERROR: failed to build: failed to solve: build canceled";
        assert_eq!(rest.last().map(String::as_str), Some(last), "{rest:?}");
        assert!(!rest.iter().any(|line| line.contains(">>>")), "nobody is to blame: {rest:?}");
    }
    status.code()
}

#[test]
fn interrupts_leave_nothing() {
    let Some(world) = World::with_shell("failure::interrupts_leave_nothing") else { return };
    // A number that no other process has as its argument.
    let seconds = 100_000 + std::process::id();
    let dockerfile = format!("FROM box:1\nRUN echo 1 > /a\nRUN echo started; sleep {seconds}; true\n");
    world.file("ctx/Dockerfile", dockerfile.as_bytes());
    let runs = || {
        let processes = fs_err::read_dir("/proc").expect("/proc").flatten();
        let line = |entry: fs_err::DirEntry| fs_err::read(entry.path().join("cmdline")).unwrap_or_default();
        let wanted = format!("sleep\0{seconds}\0").into_bytes();
        processes.map(line).any(|line| line == wanted)
    };
    use rustix::process::Signal;
    for (signal, times, code) in [(Signal::INT, 1, 130), (Signal::TERM, 1, 143), (Signal::INT, 2, 130)] {
        assert_eq!(interrupted(&world, signal, times), Some(code), "{signal:?} {times}");
        wait_for(|| !runs());
        assert_eq!(world.ok(&["images", "-q", "never"]), "");
        nothing_left(&world);
    }
    // The step before was done, and stays done.
    let forecast = world.ok(&["build", "--dry-run", "--network", "none", "ctx"]);
    assert!(forecast.contains("cached  [2/3]"), "{forecast}");
}
