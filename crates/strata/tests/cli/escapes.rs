//! What hostile images and flags try, through the command line (`spec/executor.md`, section G): nothing leads out of the
//! container, nothing of the engine leads in.

use crate::world::World;
use std::os::fd::AsRawFd;

/// Docker's default capabilities of root.
const DEFAULT: &str = "00000000a80425fb";
const NONE: &str = "0000000000000000";

/// A world with `box:1` and a directory on the host in which nothing may ever appear.
fn world(test: &str) -> Option<World> {
    let world = World::with_shell(test)?;
    fs_err::create_dir(world.path("outside")).expect("a directory");
    Some(world)
}

fn assert_untouched(world: &World) {
    let found = fs_err::read_dir(world.path("outside")).expect("there").count();
    assert_eq!(found, 0, "something was made on the host");
}

/// A `run` without network; exit code and everything it printed.
fn run(world: &World, arguments: &[&str]) -> (i32, String) {
    call(world, &[&["run", "--rm", "--network", "none"], arguments].concat())
}

fn call(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = world.output(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("not by signal"), String::from_utf8_lossy(&text).into_owned())
}

/// CVE-2024-21626: a descriptor that the engine has open is no working directory, whichever number it has.
#[test]
fn no_descriptor_is_a_working_directory() {
    let Some(world) = world("no_descriptor_is_a_working_directory") else { return };
    world.import_with_links("links:1", &[("seven", "/proc/self/fd/7"), ("own", "/proc/self/cwd")]);
    world.ok(&["run", "-d", "--name", "running", "--network", "none", "links:1", "sleep", "60"]);
    let numbers = (0..24).map(|number| format!("/proc/self/fd/{number}"));
    for path in numbers.chain(["/proc/self/cwd", "/proc/1/root/etc", "/seven", "/own"].map(str::to_owned)) {
        for arguments in [
            &["run", "--rm", "--network", "none", "-w", &path, "links:1", "pwd"][..],
            &["exec", "-w", &path, "running", "pwd"],
        ] {
            let (code, text) = call(&world, arguments);
            assert!(matches!(code, 126 | 127), "{arguments:?}: {code}: {text}");
            assert!(text.contains(&format!("working directory {path}")), "{arguments:?}: {text}");
        }
    }
    for path in ["/proc/self/fd/7", "/seven"] {
        world.file("ctx/Dockerfile", format!("FROM links:1\nWORKDIR {path}\nRUN pwd\n").as_bytes());
        let (code, text) = call(&world, &["build", "--network", "none", "ctx"]);
        assert!(code == 1 && text.contains(&format!("working directory {path}")), "{text}");
        world.file("ctx/Dockerfile", format!("FROM links:1\nWORKDIR {path}\nCMD [\"pwd\"]\n").as_bytes());
        world.ok(&["build", "-q", "-t", "directory", "ctx"]);
        let (code, text) = run(&world, &["directory"]);
        assert!(matches!(code, 126 | 127), "{path}: {code}: {text}");
    }
    world.ok(&["rm", "-f", "running"]);
    assert_untouched(&world);
}

/// CVE-2019-19921, CVE-2026-41579: what is mounted over these must be directories of the image, not links to elsewhere.
#[test]
fn system_directories_that_are_links() {
    let Some(world) = world("system_directories_that_are_links") else { return };
    let outside = world.path("outside").display().to_string();
    for (directory, target) in [("proc", "/tmp"), ("dev", "/tmp"), ("sys", outside.as_str())] {
        world.import_with_links("linked:1", &[(directory, target)]);
        let (code, text) = run(&world, &["linked:1", "true"]);
        let wanted = format!("/{directory}: it must be an ordinary directory of the image, not a link");
        assert!(code == 125 && text.contains(&wanted), "{code}: {text}");
        world.file("ctx/Dockerfile", b"FROM linked:1\nRUN true\n");
        let (code, text) = call(&world, &["build", "--network", "none", "ctx"]);
        assert!(code == 1 && text.contains(&wanted), "{code}: {text}");
    }
    // Names and resolvers are the container's own, also where /etc is somewhere else in the image.
    world.import_with_links("linked:1", &[("etc", &outside)]);
    let (code, text) = run(&world, &["--hostname", "inside", "linked:1", "cat", "/etc/hostname"]);
    assert_eq!((code, text.as_str()), (0, "inside\n"));
    assert_untouched(&world);
}

/// CVE-2015-3629, CVE-2021-30465: a destination is a path of the container, and ends where a process in it would.
#[test]
fn mounts_on_links_of_the_image() {
    let Some(world) = world("mounts_on_links_of_the_image") else { return };
    let outside = world.path("outside").display().to_string();
    let up = format!("../../../../../..{outside}");
    world.import_with_links(
        "links:1",
        &[
            ("absolute", &outside),
            ("relative", &up),
            ("dangling", &format!("{outside}/new")),
            ("loop", "loop"),
            ("seven", "/proc/self/fd/7"),
            ("root", "/proc/1/root"),
        ],
    );
    world.file("source", b"bound\n");
    let source = world.path("source").display().to_string();
    for destination in ["absolute/a", "relative/a", "dangling"] {
        let show = format!("cat /{destination} {outside}/a {outside}/new 2>/dev/null; true");
        let mount = format!("{source}:/{destination}");
        let (code, text) = run(&world, &["-v", &mount, "links:1", "sh", "-c", &show]);
        assert_eq!((code, text.as_str()), (0, "bound\nbound\n"), "{destination}");
        let (code, text) = run(
            &world,
            &["--tmpfs", &format!("/{destination}"), "links:1", "grep", &outside, "/proc/mounts"],
        );
        assert!(code == 0 && text.starts_with("tmpfs "), "{destination}: {text}");
    }
    for destination in ["/loop/x", "/seven", "/seven/x", "/root/etc"] {
        for arguments in [["-v", &format!("{outside}:{destination}")], ["--tmpfs", destination]] {
            let (code, text) = run(&world, &[&arguments[..], &["links:1", "true"]].concat());
            assert!(code == 125 && text.contains(destination), "{arguments:?}: {code}: {text}");
        }
    }
    // A volume is filled from the image's own directory, wherever a link seems to lead.
    world.ok(&["run", "--rm", "--network", "none", "-v", "filled:/absolute", "links:1", "true"]);
    world.ok(&["run", "--rm", "--network", "none", "-w", "/relative/deep", "links:1", "true"]);
    assert_untouched(&world);
}

fn status(privileges: &str, seccomp: u8, bounding: &str) -> String {
    format!(
        "CapInh:\t{NONE}\nCapPrm:\t{privileges}\nCapEff:\t{privileges}\nCapBnd:\t{bounding}\nCapAmb:\t{NONE}\n\
         NoNewPrivs:\t0\nSeccomp:\t{seccomp}\n"
    )
}

/// The lines of /proc/self/status, and no descriptor but the three streams (and the one that `ls` reads through), in a
/// run, an exec and a RUN, though whoever starts strata has files open without close-on-exec.
#[test]
fn privileges_and_descriptors_of_every_process() {
    let Some(world) = world("privileges_and_descriptors_of_every_process") else { return };
    let open = fs_err::File::open("/").expect("a directory");
    let leaking = rustix::io::dup(&open).expect("a copy that is not close-on-exec");
    let script = "grep -E '^(Cap|NoNewPrivs:|Seccomp:)' /proc/self/status; ls /proc/self/fd | tr '\\n' ' '";
    let root = status(DEFAULT, 2, DEFAULT) + "0 1 2 3 ";
    let user = status(NONE, 2, DEFAULT) + "0 1 2 3 ";
    assert_eq!(run(&world, &["box:1", "sh", "-c", script]).1, root);
    assert_eq!(run(&world, &["-u", "bob", "box:1", "sh", "-c", script]).1, user);
    let strict = run(&world, &["--security-opt", "no-new-privileges", "box:1", "sh", "-c", script]).1;
    assert_eq!(strict, root.replace("NoNewPrivs:\t0", "NoNewPrivs:\t1"));
    let (_, unfiltered) = run(&world, &["--security-opt", "seccomp=unconfined", "box:1", "sh", "-c", script]);
    assert_eq!(unfiltered, root.replace("Seccomp:\t2", "Seccomp:\t0"));
    let few = "0000000000002000";
    let (_, dropped) =
        run(&world, &["--cap-drop", "ALL", "--cap-add", "NET_RAW", "box:1", "sh", "-c", script]);
    assert_eq!(dropped, status(few, 2, few) + "0 1 2 3 ");

    world.ok(&["run", "-d", "--name", "running", "--network", "none", "box:1", "sleep", "60"]);
    assert_eq!(call(&world, &["exec", "running", "sh", "-c", script]).1, root);
    assert_eq!(call(&world, &["exec", "-u", "bob", "running", "sh", "-c", script]).1, user);
    let (_, privileged) = call(&world, &["exec", "--privileged", "running", "sh", "-c", script]);
    assert!(privileged.contains("Seccomp:\t0") && !privileged.contains(DEFAULT), "{privileged}");
    world.ok(&["rm", "-f", "running"]);

    world.file("ctx/Dockerfile", format!("FROM box:1\nRUN ({script}) > /status\n").as_bytes());
    world.ok(&["build", "-q", "--network", "none", "-t", "status", "ctx"]);
    assert_eq!(run(&world, &["status", "cat", "/status"]).1, root);
    assert!(leaking.as_raw_fd() > 2);
}

#[test]
fn masked_and_read_only_paths() {
    let Some(world) = world("masked_and_read_only_paths") else { return };
    let script = "cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/sched_debug 2>/dev/null | wc -c
        ls -A /proc/acpi /proc/scsi /sys/firmware /sys/devices/virtual/powercap 2>/dev/null | grep -v ':$' | wc -w
        for file in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/x /proc/bus/x /proc/fs/x \\
            /sys/kernel/x /sys/fs/cgroup/x /sys/fs/cgroup/pids/x; do
          (echo 1 > $file) 2>/dev/null && echo wrote $file
        done
        mount -t proc proc /tmp 2>/dev/null && echo mounted
        mount -o remount,rw /sys 2>/dev/null && echo remounted
        unshare -m true 2>/dev/null && echo unshared
        mknod /tmp/disk b 7 0 && (cat /tmp/disk > /dev/null) 2>/dev/null && echo read a disk
        echo end";
    let walled = "0\n0\nend\n";
    assert_eq!(run(&world, &["box:1", "sh", "-c", script]).1, walled);
    // They stand for every process that comes later, too, and for build steps.
    world.ok(&["run", "-d", "--name", "running", "--network", "none", "box:1", "sleep", "60"]);
    assert_eq!(call(&world, &["exec", "running", "sh", "-c", script]).1, walled);
    world.ok(&["rm", "-f", "running"]);
    world.file("ctx/script", script.as_bytes());
    world.file("ctx/Dockerfile", b"FROM box:1\nCOPY script /\nRUN sh /script > /walls; rm -f /tmp/disk\n");
    world.ok(&["build", "-q", "--network", "none", "-t", "walls", "ctx"]);
    assert_eq!(run(&world, &["walls", "cat", "/walls"]).1, walled);
}
