use std::time::{Duration, Instant};

use strata_runtime::container::{Container, Stdio};
use strata_runtime::signal::Signal;
use strata_runtime::spec::{ContainerSpec, Rlimit};

use crate::world::{World, finish, refused, run};

#[test]
fn exit_codes_and_signals() {
    let Some(world) = World::new() else { return };
    assert_eq!(run(&world.shell("exit 42")).code(), 42);
    assert_eq!(run(&world.shell("kill -9 $$; exit 7")).code(), 7, "pid 1 cannot be killed from inside");
    let mut running = Container::start(&world.command(&["sleep", "100"]), Stdio::null()).unwrap();
    running.kill(Signal::KILL).unwrap();
    let status = running.wait().unwrap();
    assert_eq!((status.exit_code(), status.signal, status.oom_killed), (137, Some(9), false));
    assert_eq!(running.wait().unwrap(), status, "asked again");
    let trap =
        world.shell("trap 'echo got; exit 3' TERM; echo ready; : > /tmp/ready; while :; do sleep 0.01; done");
    let running = Container::start(&trap, Stdio::piped(false)).unwrap();
    crate::world::wait_until_ready(&trap);
    running.kill(Signal::TERM).unwrap();
    let done = finish(running);
    assert_eq!((done.code(), done.out.as_str()), (3, "ready\ngot\n"));
}

#[test]
fn what_cannot_start_says_why_with_dockers_code() {
    let Some(world) = World::new() else { return };
    let cases: [(&[&str], i32, &str); 9] = [
        (&["nosuch"], 127, r#"exec: "nosuch": executable file not found in $PATH"#),
        (&["/nosuch"], 127, r#"exec: "/nosuch": stat /nosuch: no such file or directory"#),
        (&["/etc/passwd/x"], 127, r#"exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory"#),
        (&["/etc/passwd"], 126, r#"exec: "/etc/passwd": permission denied"#),
        (&["/etc"], 126, r#"exec: "/etc": is a directory: permission denied"#),
        (&["./etc"], 126, r#"exec: "./etc": is a directory: permission denied"#),
        (&["etc"], 127, r#"exec: "etc": executable file not found in $PATH"#),
        (&[""], 127, r#"exec: "": executable file not found in $PATH"#),
        (&[], 125, "no command specified"),
    ];
    for (args, code, message) in cases {
        let error = refused(&world.command(args));
        assert_eq!((error.exit_code(), error.to_string().as_str()), (code, message));
    }
    let mut text = world.command(&["/tmp/text"]);
    fs_err::write(world.lower().join("tmp/text"), "\0\0not a program").unwrap();
    std::process::Command::new("chmod").args(["755"]).arg(world.lower().join("tmp/text")).status().unwrap();
    let error = refused(&text);
    assert_eq!(
        (error.exit_code(), error.to_string().as_str()),
        (126, r#"exec: "/tmp/text": exec format error"#)
    );
    let script = world.lower().join("bin/script");
    fs_err::write(&script, "#!/no/such/interpreter\n").unwrap();
    text.args = vec!["script".into()];
    let error = refused(&text);
    let forbidden =
        "executable file not found in $PATH (there is a file of this name, but it is not executable)";
    assert_eq!((error.exit_code(), error.to_string()), (127, format!(r#"exec: "script": {forbidden}"#)));
    std::process::Command::new("chmod").args(["755"]).arg(&script).status().unwrap();
    for program in ["script", "/bin/script"] {
        text.args = vec![program.into()];
        let error = refused(&text);
        assert_eq!(error.exit_code(), 127);
        assert!(error.to_string().contains("but not the interpreter"), "{error}");
    }
    text.args = vec!["true".into()];
    text.user = "nosuch".into();
    let error = refused(&text);
    assert_eq!(error.exit_code(), 125);
    assert_eq!(error.to_string(), "unable to find user nosuch: no matching entries in passwd file");
    let id = text.id.clone();
    assert!(groups_named(&id).is_empty(), "a failed start leaves no cgroup");
}

/// A build that is killed with `kill -9` leaves no step behind that runs on for nobody.
#[test]
fn a_container_may_die_with_the_thread_that_started_it() {
    let Some(world) = World::new() else { return };
    for (user, init) in [("", false), ("1000", false), ("1000", true)] {
        let start = |dies_with_starter| {
            let mut spec = world.command(&["sleep", "100"]);
            spec.user = user.into();
            spec.init = init;
            spec.dies_with_starter = dies_with_starter;
            std::thread::spawn(move || Container::start(&spec, Stdio::null()).unwrap()).join().unwrap()
        };
        let mut bound = start(true);
        assert_eq!(bound.wait().unwrap().signal, Some(9), "user {user:?}, init {init}");
        let mut free = start(false);
        std::thread::sleep(Duration::from_millis(50));
        assert!(free.identity().is_some_and(|process| process.open().unwrap().is_some()), "it runs on");
        free.kill(Signal::KILL).unwrap();
        free.wait().unwrap();
    }
}

pub(crate) fn groups_named(id: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let Ok(hierarchies) = fs_err::read_dir("/sys/fs/cgroup") else { return found };
    let roots = hierarchies.flatten().map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]);
    for root in roots {
        let group = root.join("strata").join(id);
        if group.exists() {
            found.push(group);
        }
    }
    found
}

#[test]
fn users_groups_home_and_directory() {
    let Some(world) = World::new() else { return };
    let script = "id -u; id -g; id -G; echo $HOME; pwd; grep Groups /proc/self/status";
    let as_user = |user: &str, extra: &[&str]| {
        let extra_groups = extra.iter().map(|group| (*group).to_owned()).collect();
        let spec = ContainerSpec {
            user: user.into(),
            extra_groups,
            cwd: "/srv/new/deep".into(),
            ..world.shell(script)
        };
        run(&spec).ok().split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(as_user("", &[]), "0 0 0 /root /srv/new/deep Groups: 0");
    assert_eq!(as_user("web", &[]), "33 33 33 50 /srv /srv/new/deep Groups: 33 50");
    assert_eq!(as_user("web:ssl", &["77"]), "33 50 50 77 /srv /srv/new/deep Groups: 50 77");
    assert_eq!(as_user("4000:4001", &[]), "4000 4001 4001 / /srv/new/deep Groups: 4001");
}

#[test]
fn a_user_can_open_its_standard_streams_again() {
    let Some(world) = World::new() else { return };
    let spec =
        ContainerSpec { user: "web".into(), ..world.shell("echo a >/dev/stdout; echo b >/dev/stderr") };
    let done = run(&spec);
    assert_eq!((done.code(), done.out.as_str(), done.err.as_str()), (0, "a\n", "b\n"));
}

#[test]
fn a_working_directory_that_is_a_file_or_a_leaked_descriptor() {
    let Some(world) = World::new() else { return };
    let file = ContainerSpec { cwd: "/etc/passwd".into(), ..world.command(&["true"]) };
    let error = refused(&file);
    assert_eq!(error.exit_code(), 126, "{error}");
    let host = fs_err::File::open("/").unwrap();
    std::os::unix::fs::symlink("/proc/self/fd/7", world.lower().join("seven")).unwrap();
    let descriptors = (0..30).map(|number| format!("/proc/self/fd/{number}"));
    for path in descriptors.chain(["/proc/self/cwd", "/proc/self/root/etc", "/seven"].map(str::to_owned)) {
        let spec = ContainerSpec { cwd: path.clone().into(), ..world.command(&["true"]) };
        let error = refused(&spec);
        assert!(matches!(error.exit_code(), 126 | 127), "{path}: {error}");
        assert!(error.to_string().contains(&path), "{path}: {error}");
    }
    drop(host);
}

/// Nobody's scheduling policy but the container's own: version 1 groups take no real-time task, and Docker's containers
/// have none.
#[test]
fn a_real_time_caller_starts_ordinary_containers() {
    let Some(world) = World::new() else { return };
    if std::env::var_os("STRATA_REAL_TIME").is_some() {
        let spec = world.shell("grep -q '^policy.* [12]$' /proc/self/sched && exit 9; exit 0");
        assert_eq!(run(&spec).code(), 0);
        return;
    }
    let test = std::env::current_exe().unwrap();
    let done = std::process::Command::new("chrt")
        .args(["-f", "1"])
        .arg(test)
        .args(["--exact", "process::a_real_time_caller_starts_ordinary_containers"])
        .env("STRATA_REAL_TIME", "1")
        .output();
    match done {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout)),
        Err(error) => eprintln!("SKIP a_real_time_caller_starts_ordinary_containers: chrt: {error}"),
    }
}

#[test]
fn init_forwards_signals_reaps_orphans_and_passes_the_code_on() {
    let Some(world) = World::new() else { return };
    let spec = ContainerSpec { init: true, ..world.shell("echo $$; cat /proc/1/comm; exit 9") };
    let done = run(&spec);
    assert_eq!(done.code(), 9);
    let lines: Vec<_> = done.out.lines().collect();
    assert_eq!(lines[1], "strata-init");
    assert_ne!(lines[0], "1");
    // An orphan that ends is no zombie for long.
    let orphans = "(sleep 0.02 & ) ; sleep 0.2; grep -l '^State:.Z' /proc/[0-9]*/status; echo end";
    assert_eq!(run(&ContainerSpec { init: true, ..world.shell(orphans) }).out, "end\n");
    let running =
        Container::start(&ContainerSpec { init: true, ..world.command(&["sleep", "50"]) }, Stdio::null())
            .unwrap();
    std::thread::sleep(Duration::from_millis(30));
    running.kill(Signal::TERM).unwrap();
    assert_eq!(finish(running).code(), 143, "without init pid 1 would ignore it");
    let error = refused(&ContainerSpec { init: true, ..world.command(&["nosuch"]) });
    assert_eq!(error.exit_code(), 127);
}

#[test]
fn init_keeps_nothing_of_the_engine_open() {
    let Some(world) = World::new() else { return };
    let spec = ContainerSpec { init: true, ..world.shell("ls /proc/1/fd 2>&1; ls -l /proc/1/exe 2>&1") };
    let text = run(&spec).out;
    // Not dumpable: where the link points to is a secret too.
    assert!(text.starts_with("0\n1\n2\n") && text.contains("cannot read link: Permission denied"), "{text}");
}

#[test]
fn resource_limits() {
    let Some(world) = World::new() else { return };
    let limit = |name: &str, soft, hard, explicit| Rlimit { name: name.into(), soft, hard, explicit };
    // More than the other tests of this process have open, which the child shares until it executes.
    let script = "grep -E 'open files|core file' /proc/self/limits | tr -s ' '";
    let spec = ContainerSpec {
        rlimits: vec![limit("nofile", 3000, 4000, true), limit("core", 0, 0, true)],
        ..world.shell(script)
    };
    assert_eq!(run(&spec).ok(), "Max core file size 0 0 bytes \nMax open files 3000 4000 files \n");
    // Fewer than the engine has open: the limit is the program's alone.
    for init in [false, true] {
        for user in ["", "web"] {
            let mut few = world.shell("ulimit -n; exec 2>&1; echo x 3>/tmp/x");
            (few.rlimits, few.init, few.user) = (vec![limit("nofile", 3, 3, true)], init, user.into());
            let done = run(&few);
            assert!(done.out.starts_with("3\n") && done.code() != 0, "{}: {}", done.out, done.err);
        }
    }
    let unknown = ContainerSpec { rlimits: vec![limit("nosuch", 1, 1, true)], ..world.command(&["true"]) };
    assert_eq!(refused(&unknown).to_string(), "cannot set ulimit nosuch: unknown name");
    // A default above what we may give is clamped.
    let clamped = ContainerSpec {
        rlimits: vec![limit("nofile", u64::MAX, u64::MAX, false)],
        ..world.command(&["true"])
    };
    let capable = rustix::thread::capabilities(None).unwrap().effective;
    if !capable.contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        assert_eq!(run(&clamped).code(), 0);
    }
}

#[test]
fn sysctls_of_the_containers_own() {
    let Some(world) = World::new() else { return };
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni";
    let mut spec = world.shell(script);
    spec.sysctls.push(("kernel.shmmni".into(), "1234".into()));
    assert_eq!(run(&spec).ok(), "0\n1234\n");
    spec.sysctls.push(("kernel.core_pattern".into(), "x".into()));
    assert_eq!(refused(&spec).exit_code(), 125);
}

#[test]
fn many_containers_at_once_from_many_threads() {
    let Some(world) = World::new() else { return };
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..5 {
                    let text = format!("{thread}-{number}");
                    assert_eq!(run(&world.command(&["echo", &text])).ok(), format!("{text}\n"));
                }
            });
        }
    });
    eprintln!("20 containers from 4 threads: {:?}", begin.elapsed());
}
