//! The helper protocol with a real re-execution, which needs a `main` of its own: this program is starter and helper.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use strata_runtime::helper::{HelperError, become_helper, seal_executable, spawn_helper};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("as-helper") => helper(),
        Some("as-sealed") => sealed(),
        _ if !rustix::process::geteuid().is_root() => eprintln!("skipped: needs root"),
        _ => starter(),
    }
}

fn starter() {
    let mut good = spawn_helper(&["as-helper"], b"task").unwrap();
    assert_eq!(good.answer, "did task, session leader true");
    let status = fs_err::read_to_string(format!("/proc/{}/status", good.pid())).unwrap();
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    println!("helper: {} KiB resident, {} KiB of it its own memory", kib("VmRSS"), kib("RssAnon"));
    assert!(kib("RssAnon") <= 2048);
    good.child.kill().unwrap();
    good.child.wait().unwrap();
    let bad = spawn_helper(&["as-helper"], b"fail").unwrap_err();
    assert!(matches!(bad, HelperError::Failed { exit_code: 125, message } if message == "cannot do it"));
    let silent = spawn_helper(&["as-helper"], b"silent").unwrap_err();
    assert!(matches!(silent, HelperError::Silent { .. }));

    let output =
        std::process::Command::new("/proc/self/exe").args(["as-sealed", "kept argument"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "sealed: kept argument\n", "{output:?}");
    println!("helper: ok");
}

fn helper() {
    let (task, ready) = become_helper().unwrap();
    match task.as_slice() {
        b"fail" => ready.fail(125, "cannot do it").unwrap(),
        b"silent" => drop(ready),
        _ => {
            let leader = rustix::process::getsid(None).unwrap() == rustix::process::getpid();
            ready
                .succeed(&format!("did {}, session leader {leader}", String::from_utf8_lossy(&task)))
                .unwrap();
            std::thread::sleep(Duration::from_secs(20));
        }
    }
}

/// Runs twice: as a plain file, and again from the read-only mount.
fn sealed() {
    seal_executable().unwrap();
    // While it runs nobody can open it for writing anyway; afterwards this is what stops them.
    let mount = rustix::fs::statvfs("/proc/self/exe").unwrap();
    assert!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    println!("sealed: {}", std::env::args().nth(2).unwrap());
}
