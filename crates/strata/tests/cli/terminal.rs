//! Terminals and signals: `run -it`, `exec -it`, resize, Ctrl-C, on a real pseudo-terminal.

use crate::world::{World, wait_for};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A command on a terminal of 30 rows and 100 columns, of which it is the session leader.
pub(crate) struct Terminal {
    master: std::fs::File,
    child: Child,
    shown: String,
}

impl Terminal {
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        Self::start_with(world, arguments, &[])
    }

    pub(crate) fn start_with(
        world: &World,
        arguments: &[&str],
        variables: &[(&str, std::path::PathBuf)],
    ) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("UTF-8");
        resize(&master, 30, 100);
        let strata = world.command(arguments);
        // setsid(1) makes the terminal the controlling one, as a login shell's would be.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(strata.get_program()).args(strata.get_args());
        command.envs(strata.get_envs().filter_map(|(key, value)| value.map(|value| (key, value))));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(strata.get_current_dir().expect("the world's"));
        let side = || {
            Stdio::from(
                std::fs::OpenOptions::new().read(true).write(true).open(&name).expect("the other side"),
            )
        };
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("starts");
        Self { master: std::fs::File::from(master), child, shown: String::new() }
    }

    /// Everything so far.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("sent");
    }

    /// Reads until `text` comes.
    pub(crate) fn expect(&mut self, text: &str) {
        let (start, deadline) = (self.shown.len(), Instant::now() + Duration::from_secs(10));
        while !self.shown[start..].contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in {:?}", self.shown);
            let mut ready = [rustix::event::PollFd::new(&self.master, rustix::event::PollFlags::IN)];
            let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            if rustix::event::poll(&mut ready, Some(&wait)).expect("poll") > 0 {
                let mut bytes = [0; 4096];
                let length = self.master.read(&mut bytes).unwrap_or(0);
                self.shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        }
    }

    pub(crate) fn ends_with(mut self, code: i32) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                assert_eq!(status.code(), Some(code), "{:?}", self.shown);
                return;
            }
            assert!(Instant::now() < deadline, "still running: {:?}", self.shown);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn resize(master: &impl std::os::fd::AsFd, rows: u16, columns: u16) {
    tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
        .expect("a size");
}

#[test]
fn run_has_a_terminal_of_the_right_size() {
    let Some(world) = World::with_shell("run_has_a_terminal_of_the_right_size") else { return };
    let mut terminal = Terminal::start(&world, &["run", "--rm", "-it", "--network", "none", "box:1", "sh"]);
    terminal.expect("# ");
    terminal.send("stty size; tty; echo $TERM\n");
    terminal.expect("30 100\r\n/dev/pts/0\r\nxterm\r\n");
    resize(&terminal.master, 40, 120);
    // The change arrives when it arrives: ask until it has.
    terminal.send("until test \"$(stty size)\" = '40 120'; do sleep 0.05; done; echo resi''zed\n");
    terminal.expect("resized");
    terminal.send("exit 9\n");
    terminal.ends_with(9);
}

#[test]
fn exec_has_a_terminal_and_control_c_stays_inside() {
    let Some(world) = World::with_shell("exec_has_a_terminal") else { return };
    world.ok(&["run", "-d", "--name", "cc", "--network", "none", "box:1", "sleep", "60"]);
    let mut terminal = Terminal::start(&world, &["exec", "-it", "cc", "sh"]);
    terminal.expect("# ");
    terminal.send("stty size; echo start''ed; sleep 50\n");
    terminal.expect("30 100\r\nstarted");
    // Sent before the shell has started it, the signal would find nobody to end.
    wait_for(|| world.ok(&["exec", "cc", "ps"]).contains("sleep 50"));
    terminal.send("\x03");
    terminal.expect("# ");
    terminal.send("echo ali''ve; exit 6\n");
    terminal.expect("alive");
    terminal.ends_with(6);
    world.ok(&["rm", "-f", "cc"]);
}

#[test]
fn control_c_reaches_a_container_without_a_terminal() {
    let Some(world) = World::with_shell("control_c_reaches_a_container") else { return };
    let script = "trap 'echo got it; exit 4' INT; echo ready; while :; do sleep 0.05; done";
    let mut terminal =
        Terminal::start(&world, &["run", "--rm", "--network", "none", "box:1", "sh", "-c", script]);
    terminal.expect("ready");
    terminal.send("\x03");
    terminal.expect("got it");
    terminal.ends_with(4);
    assert_eq!(world.ok(&["ps", "-aq"]), "");
}
