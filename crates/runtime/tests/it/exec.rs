use strata_runtime::container::{Container, Running, Stdio};
use strata_runtime::exec::{ExecSpec, exec};
use strata_runtime::signal::Signal;
use strata_runtime::spec::{ContainerSpec, Limits, Rlimit};

use crate::world::{Done, World, finish};

fn in_container(running: &Running, spec: &ExecSpec) -> Done {
    finish(exec(running.identity().unwrap(), spec, Stdio::piped(false)).unwrap())
}

fn shell(script: &str) -> ExecSpec {
    ExecSpec {
        args: ["sh", "-c", script].map(str::to_owned).into(),
        env: vec!["PATH=/bin".into()],
        ..ExecSpec::default()
    }
}

fn sleeper(world: &World) -> (ContainerSpec, Running) {
    let limits = Limits { pids: Some(50), ..Limits::default() };
    let spec = ContainerSpec { limits, ..world.command(&["sleep", "60"]) };
    let running = Container::start(&spec, Stdio::null()).unwrap();
    (spec, running)
}

fn stop(mut running: Running) {
    running.kill(Signal::KILL).unwrap();
    running.wait().unwrap();
}

#[test]
fn it_shares_namespaces_cgroups_and_walls() {
    let Some(world) = World::new() else { return };
    let (spec, running) = sleeper(&world);
    let script = "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done
        hostname; ls /proc/self/fd | tr '\\n' ' '; grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status; pwd; echo $HOME";
    let inside = in_container(&running, &shell(script)).ok();
    let lines: Vec<_> = inside.lines().collect();
    for (line, name) in lines.iter().zip(["mnt", "pid", "net", "ipc", "uts", "cgroup"]) {
        let of_init = fs_err::read_link(format!("/proc/{}/ns/{name}", running.pid())).unwrap();
        assert_eq!(*line, of_init.to_str().unwrap());
    }
    let rest = lines[6..].join("\n").replace('\t', " ");
    let walls = "CapEff: 00000000a80425fb\nCapBnd: 00000000a80425fb\nSeccomp: 2";
    assert_eq!(rest, format!("box\n0 1 2 3 {walls}\n/\n/root"));
    let mut second = exec(running.identity().unwrap(), &shell("sleep 30"), Stdio::null()).unwrap();
    let tasks = crate::process::groups_named(&spec.id);
    for group in &tasks {
        let tasks = fs_err::read_to_string(group.join("cgroup.procs")).unwrap();
        assert!(tasks.lines().any(|line| line == second.pid().to_string()), "{}: {tasks}", group.display());
    }
    running.kill(Signal::KILL).unwrap();
    // In this order: the kernel keeps the first process until those that joined have been waited for.
    assert_eq!(second.wait().unwrap().exit_code(), 137, "it dies with the container");
    stop(running);
}

#[test]
fn codes_users_directories_and_errors() {
    let Some(world) = World::new() else { return };
    let (_, running) = sleeper(&world);
    let identity = running.identity().unwrap().clone();
    assert_eq!(in_container(&running, &shell("exit 5")).code(), 5);
    let user = ExecSpec { user: "web".into(), cwd: "/tmp".into(), ..shell("id -u; id -G; pwd; echo $HOME") };
    assert_eq!(in_container(&running, &user).ok(), "33\n33 50\n/tmp\n/srv\n");
    let code = |spec: &ExecSpec| {
        let error = exec(&identity, spec, Stdio::null()).unwrap_err();
        (error.exit_code(), error.to_string())
    };
    let nosuch = ExecSpec { args: vec!["nosuch".into()], ..shell("") };
    assert_eq!(code(&nosuch), (127, r#"exec: "nosuch": executable file not found in $PATH"#.into()));
    assert_eq!(code(&ExecSpec { cwd: "/missing".into(), ..shell("") }).0, 127);
    assert_eq!(code(&ExecSpec { user: "ghost".into(), ..shell("") }).0, 125);
    stop(running);
    assert_eq!(code(&shell("")), (125, format!("the container is not running (process {})", identity.pid)));
}

#[test]
fn limits_are_those_of_the_container() {
    let Some(world) = World::new() else { return };
    let limit = |name: &str, soft, hard| Rlimit { name: name.into(), soft, hard, explicit: true };
    let rlimits = vec![limit("nofile", 7, 9), limit("core", 0, 0)];
    let spec = ContainerSpec { rlimits, ..world.command(&["sleep", "60"]) };
    let running = Container::start(&spec, Stdio::null()).unwrap();
    let script = "grep -E 'open files|core file' /proc/self/limits | tr -s ' '";
    let expected = "Max core file size 0 0 bytes \nMax open files 7 9 files \n";
    assert_eq!(in_container(&running, &shell(script)).ok(), expected);
    stop(running);
}

#[test]
fn a_terminal_of_the_containers_own() {
    let Some(world) = World::new() else { return };
    let (_, running) = sleeper(&world);
    let spec =
        ExecSpec { terminal: true, terminal_size: Some((90, 30)), ..shell("tty; stty size; ls /dev/pts") };
    assert_eq!(
        in_container(&running, &spec).ok().replace("\r\n", " "),
        "/dev/pts/0 30 90 0     ptmx ".to_owned()
    );
    stop(running);
}

/// CVE-2019-5736: the program of a container cannot reach the engine's binary through the joiner.
#[test]
fn the_joiner_hides_its_binary() {
    let Some(world) = World::new() else { return };
    let script = "while :; do for p in /proc/[0-9]*; do
        e=$(readlink $p/exe) && case $e in /bin/busybox|'') ;; *) echo found $e; esac; done; done 2>/dev/null";
    let spec = world.shell(script);
    let running = Container::start(&spec, Stdio::piped(false)).unwrap();
    for _ in 0..40 {
        let done = in_container(&running, &ExecSpec { args: vec!["true".into()], ..shell("") });
        assert_eq!(done.code(), 0);
    }
    running.kill(Signal::KILL).unwrap();
    let done = finish(running);
    assert_eq!(done.out, "", "{done:?}");
}
