use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::pipe::pipe;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use strata_runtime::container::{Container, Stdio, Stream};
use strata_runtime::signal::Signal;
use strata_runtime::spec::ContainerSpec;
use strata_runtime::supervise::{Client, LogLimits, LogWriter, Options, Outcome, supervise};

use crate::world::{Captured, World, run};

/// Supervises with a client that types `input`; returns code and what it was shown on standard output.
fn with_client(spec: &ContainerSpec, input: &[u8]) -> (i32, String) {
    let mut running = Container::start(spec, Stdio::piped(true)).unwrap();
    let (stdin, typed) = pipe().unwrap();
    let (shown, stdout) = pipe().unwrap();
    let input = input.to_vec();
    let typist = std::thread::spawn(move || std::fs::File::from(typed).write_all(&input));
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::fs::File::from(shown).read_to_string(&mut text).map(|_| text)
    });
    let client = Client { stdin: Some(stdin), stdout: Some(stdout), stderr: None };
    let options = Options { client: Some(client), ..Options::default() };
    let Outcome::Exited(status) = supervise(&mut running, options).unwrap() else { panic!("detached") };
    let _ = typist.join().unwrap();
    (status.exit_code(), reader.join().unwrap().unwrap())
}

#[test]
fn input_reaches_the_program_and_its_end_too() {
    let Some(world) = World::new() else { return };
    assert_eq!(with_client(&world.shell("cat; echo end"), b"hello\n"), (0, "hello\nend\n".into()));
    // More than any buffer on the way, in both directions at once.
    let big: Vec<u8> = (0..3_000_000u32).map(|number| b'a' + (number % 26) as u8).collect();
    let (code, text) = with_client(&world.command(&["cat"]), &big);
    assert_eq!(code, 0);
    assert!(text.as_bytes() == big, "{} bytes came back", text.len());
    // A program that does not read is not waited for.
    assert_eq!(with_client(&world.command(&["true"]), &big), (0, String::new()));
}

/// As in a pipeline without a container: who writes on gets SIGPIPE, who does not care goes on.
#[test]
fn a_client_that_hangs_up_is_noticed_by_who_writes() {
    let Some(world) = World::new() else { return };
    let scripts = [("seq 1 100000 2>/dev/null; exit 4", 4), ("busybox yes 2>/dev/null || exit 5", 5)];
    for (script, code) in scripts {
        let mut running = Container::start(&world.shell(script), Stdio::piped(false)).unwrap();
        let (shown, stdout) = pipe().unwrap();
        drop(shown);
        let client = Client { stdin: None, stdout: Some(stdout), stderr: None };
        let options = Options { client: Some(client), ..Options::default() };
        let outcome = supervise(&mut running, options).unwrap();
        assert!(
            matches!(outcome, Outcome::Exited(status) if status.exit_code() == code),
            "{script}: {outcome:?}"
        );
    }
}

#[test]
fn the_log_has_every_line_of_both_streams() {
    let Some(world) = World::new() else { return };
    let path = world.path().join("json.log");
    let mut running =
        Container::start(&world.shell("seq 1 5000; echo problem >&2; printf last"), Stdio::piped(false))
            .unwrap();
    let mut log = LogWriter::open(&path, LogLimits::default()).unwrap();
    supervise(&mut running, Options { sinks: vec![&mut log], ..Options::default() }).unwrap();
    let text = fs_err::read_to_string(&path).unwrap();
    let objects: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |stream: &str| {
        let lines = objects.iter().filter(|object| object["stream"] == stream);
        lines.map(|object| object["log"].as_str().unwrap()).collect::<String>()
    };
    let numbers: String = (1..=5000).map(|number| format!("{number}\n")).collect();
    assert_eq!(of("stdout"), numbers + "last");
    assert_eq!(of("stderr"), "problem\n");
}

#[test]
fn a_terminal_has_a_size_a_console_and_one_stream() {
    let Some(world) = World::new() else { return };
    let spec = ContainerSpec {
        terminal: true,
        terminal_size: Some((132, 43)),
        user: "web".into(),
        ..world.shell(
            "tty; stty size; echo err >&2; stat -c '%u %g %a' /dev/pts/0; echo con >/dev/console; exit 6",
        )
    };
    let done = run(&spec);
    assert_eq!(done.code(), 6);
    let lines: Vec<_> = done.out.lines().collect();
    assert_eq!(lines, ["/dev/pts/0", "43 132", "err", "33 5 620", "con"]);
}

fn client_terminal() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    (master, slave)
}

fn set_size(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).unwrap();
}

#[test]
fn raw_mode_resize_detach_and_the_terminal_is_restored() {
    let Some(world) = World::new() else { return };
    let spec = ContainerSpec {
        terminal: true,
        ..world.shell("while [ -z \"$x\" ]; do read x; done; stty size; echo \"got $x\"; sleep 60")
    };
    let mut running = Container::start(&spec, Stdio::null()).unwrap();
    let (keyboard, screen) = client_terminal();
    set_size(&keyboard, 77, 22);
    let before = rustix::termios::tcgetattr(&screen).unwrap();
    let typist = std::thread::spawn({
        let keyboard = keyboard.try_clone().unwrap();
        move || {
            // What is typed before the terminal is raw is thrown away when it becomes so.
            let is_raw = || {
                let modes = rustix::termios::tcgetattr(&keyboard).unwrap().local_modes;
                !modes.contains(rustix::termios::LocalModes::ICANON)
            };
            while !is_raw() {
                std::thread::sleep(Duration::from_millis(5));
            }
            for keys in ["x\r", "\x10", "\x11"] {
                rustix::io::write(&keyboard, keys.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(40));
            }
        }
    });
    let client = Client {
        stdin: Some(screen.try_clone().unwrap()),
        stdout: Some(screen.try_clone().unwrap()),
        stderr: None,
    };
    let mut captured = Captured::default();
    let outcome = supervise(
        &mut running,
        Options {
            client: Some(client),
            sinks: vec![&mut captured],
            detach_keys: Some(vec![16, 17]),
            ..Options::default()
        },
    );
    assert_eq!(outcome.unwrap(), Outcome::Detached);
    typist.join().unwrap();
    let text = String::from_utf8_lossy(&captured.out).into_owned();
    assert!(text.contains("22 77") && text.contains("got x"), "{text:?}");
    let after = rustix::termios::tcgetattr(&screen).unwrap();
    assert_eq!(after.local_modes, before.local_modes);
    assert_eq!(after.input_modes, before.input_modes);
    assert_eq!(running.try_wait().unwrap(), None, "it runs on");
    running.kill(Signal::KILL).unwrap();
    running.wait().unwrap();
}

#[test]
fn a_background_process_with_the_stream_does_not_hold_an_exec_up() {
    let Some(world) = World::new() else { return };
    let container = Container::start(&world.command(&["sleep", "60"]), Stdio::null()).unwrap();
    let spec = strata_runtime::exec::ExecSpec {
        args: ["sh", "-c", "sleep 50 & echo out"].map(str::to_owned).into(),
        env: vec!["PATH=/bin".into()],
        ..Default::default()
    };
    let begin = Instant::now();
    let added =
        strata_runtime::exec::exec(container.identity().unwrap(), &spec, Stdio::piped(false)).unwrap();
    assert_eq!(crate::world::finish(added).ok(), "out\n");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    container.kill(Signal::KILL).unwrap();
    crate::world::finish(container);
}

#[test]
fn a_stream_can_be_a_file() {
    let Some(world) = World::new() else { return };
    let path = world.path().join("out");
    let file = fs_err::File::create(&path).unwrap();
    let stdio =
        Stdio { stdin: Stream::Null, stdout: Stream::Fd(file.into_parts().0.into()), stderr: Stream::Null };
    let mut running = Container::start(&world.command(&["echo", "into a file"]), stdio).unwrap();
    assert_eq!(running.wait().unwrap().exit_code(), 0);
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "into a file\n");
}
