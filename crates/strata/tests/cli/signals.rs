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
