//! Signals and ends through the command line: `run` in the foreground stands for the process in the container.

use crate::world::{World, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn signals_are_passed_on() {
    let Some(world) = World::with_shell("signals_are_passed_on") else { return };
    for (number, signal) in [Signal::INT, Signal::TERM, Signal::QUIT, Signal::HUP, Signal::USR1, Signal::USR2]
        .into_iter()
        .enumerate()
    {
        let (raw, code) = (signal.as_raw(), 40 + number as i32);
        let script = format!("trap 'exit {code}' {raw}; echo ready; while :; do sleep 0.02; done");
        let mut command = world.command(&["run", "--rm", "--network", "none", "box:1", "sh", "-c", &script]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut ready = [0; 6];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut ready).expect("ready");
        kill_process(Pid::from_child(&child), signal).expect("sent");
        assert_eq!(child.wait().expect("ended").code(), Some(code), "{signal:?}");
    }
    assert_eq!(world.ok(&["ps", "-aq"]), "");
}

/// 125: strata, 126: cannot be executed, 127: not found, 128+n: by signal; the same for a detached start and for `exec`.
#[test]
fn exit_codes() {
    let Some(world) = World::with_shell("exit_codes") else { return };
    world.ok(&["run", "-d", "--name", "running", "--network", "none", "box:1", "sleep", "60"]);
    let run = ["run", "--rm", "--network", "none"];
    let cases: [(&[&str], i32); 14] = [
        (&["box:1", "sh", "-c", "exit 0"], 0),
        (&["box:1", "sh", "-c", "exit 42"], 42),
        (&["box:1", "sh", "-c", "exit 255"], 255),
        (&["--no-such-flag", "box:1"], 125),
        (&["--memory", "1", "box:1", "true"], 125),
        (&["box:1", "/etc"], 126),
        (&["box:1", "/etc/passwd"], 126),
        (&["-w", "/etc/passwd", "box:1", "true"], 126),
        (&["box:1", "nosuch"], 127),
        (&["box:1", "/no/such"], 127),
        (&["-d", "box:1", "nosuch"], 127),
        (&["--init", "box:1", "sh", "-c", "kill -TERM $$; sleep 9"], 143),
        (&["--init", "box:1", "sh", "-c", "kill -SEGV $$; sleep 9"], 139),
        (&["--init", "box:1", "sh", "-c", "kill -KILL $$; sleep 9"], 137),
    ];
    for (arguments, code) in cases {
        let output = world.output(&[&run[..], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    let execs: [(&[&str], i32); 5] = [
        (&["running", "sh", "-c", "exit 42"], 42),
        (&["running", "/etc/passwd"], 126),
        (&["-w", "/etc/passwd", "running", "true"], 126),
        (&["running", "nosuch"], 127),
        (&["running", "sh", "-c", "kill -KILL $$"], 137),
    ];
    for (arguments, code) in execs {
        let output = world.output(&[&["exec"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    let kept = world.output(&["run", "--name", "kept", "--network", "none", "box:1", "nosuch"]);
    assert_eq!(kept.status.code(), Some(127));
    assert_eq!(
        world.ok(&["inspect", "-f", "{{.State.ExitCode}} {{.State.Status}}", "kept"]),
        "127 created\n"
    );
    world.ok(&["rm", "-f", "running", "kept"]);
}

/// The end of standard input reaches the program, whether the input was a pipe, empty, or closed from the start.
#[test]
fn the_end_of_standard_input() {
    let Some(world) = World::with_shell("the_end_of_standard_input") else { return };
    let script = "read x; echo got $x; read y || echo end";
    let line = ["run", "--rm", "-i", "--network", "none", "box:1", "sh", "-c", script];
    let mut command = world.command(&line);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"a\n").expect("written");
    let mut answer = [0; 6];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut answer).expect("an answer before the end");
    assert_eq!(&answer, b"got a\n");
    drop(stdin);
    let rest = child.wait_with_output().expect("ends");
    assert_eq!((rest.status.code(), &rest.stdout[..]), (Some(0), &b"end\n"[..]));
    let empty = world.output(&["run", "--rm", "-i", "--network", "none", "box:1", "cat"]);
    assert_eq!((empty.status.code(), &empty.stdout[..]), (Some(0), &b""[..]));
    let closed = |streams: &str| {
        let program = world.command::<&str>(&[]);
        let script = format!("exec \"$0\" run --rm -i --network none box:1 sh -c 'cat; echo x' {streams}");
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(script).arg(program.get_program());
        shell.envs(program.get_envs().filter_map(|(key, value)| value.map(|value| (key, value))));
        shell.output().expect("a shell").status.code()
    };
    for streams in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        assert_eq!(closed(streams), Some(0), "{streams}");
    }
}

/// A pipeline ends when its reader has gone, as it would without a container.
#[test]
fn a_reader_that_goes_ends_the_writer() {
    let Some(world) = World::with_shell("a_reader_that_goes_ends_the_writer") else { return };
    world.ok(&["run", "-d", "--name", "running", "--network", "none", "box:1", "sleep", "60"]);
    let lines: [&[&str]; 2] = [
        &["run", "--rm", "--network", "none", "box:1", "busybox", "yes"],
        &["exec", "running", "busybox", "yes"],
    ];
    for line in lines {
        let mut child =
            world.command(line).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
        let mut first = [0; 2];
        let mut stdout = child.stdout.take().expect("a pipe");
        stdout.read_exact(&mut first).expect("a line");
        drop(stdout);
        let deadline = Instant::now() + Duration::from_secs(10);
        wait_for(|| child.try_wait().expect("asked").is_some() || Instant::now() > deadline);
        assert!(child.try_wait().expect("asked").is_some(), "{line:?} goes on");
    }
    world.ok(&["rm", "-f", "running"]);
}

/// A signal counts from the moment on at which its first handler stands; `strace` draws that moment out.
#[test]
fn a_signal_that_comes_while_handlers_are_installed() {
    let Some(world) = World::with_shell("a_signal_that_comes_while_handlers_are_installed") else { return };
    let strace = std::process::Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    if !strace.is_ok_and(|status| status.success()) {
        return eprintln!("SKIP: no strace");
    }
    world.file("context/Dockerfile", b"FROM box:1\nRUN sleep 97531\n");
    let trace = world.path("trace");
    let build = world.command(&["build", "--network", "none", "context"]);
    let mut command = std::process::Command::new("strace");
    let inject = ["-e", "trace=rt_sigaction", "-e", "inject=rt_sigaction:delay_exit=60000"];
    command.arg("-o").arg(&trace).args(inject).arg(build.get_program()).args(build.get_args());
    command.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(build.get_current_dir().expect("the world's"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let handled = "rt_sigaction(SIGTERM, {sa_handler=0x";
    wait_for(|| fs_err::read_to_string(&trace).is_ok_and(|text| text.contains(handled)));
    let tracer = child.id();
    let children =
        fs_err::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).expect("children");
    let traced = children.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a child");
    kill_process(Pid::from_raw(traced).expect("a number"), Signal::TERM).expect("sent");
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            let _ = kill_process(Pid::from_raw(traced).expect("a number"), Signal::KILL);
            panic!("the build goes on: {}", fs_err::read_to_string(&trace).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // strace ends as what it traced did.
    assert_eq!(child.wait().expect("ended").code(), Some(143));
}

/// `nohup strata build` outlives its terminal.
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let Some(world) = World::with_shell("a_hangup_that_is_ignored_stays_ignored") else { return };
    world.file("context/Dockerfile", b"FROM box:1\nRUN sleep 1; echo > /done\n");
    let build = world.command(&["build", "-q", "--network", "none", "context"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(build.get_program()).args(build.get_args());
    command.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(build.get_current_dir().expect("the world's"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    std::thread::sleep(Duration::from_millis(700));
    kill_process(Pid::from_child(&child), Signal::HUP).expect("sent");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
}
