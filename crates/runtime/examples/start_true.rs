//! Measures in-process start and exit of `/bin/true` over an overlay, with all walls and a new network namespace.
//!
//! `cargo run --release -p strata-runtime --example start_true [COUNT]`, as root.
#![allow(clippy::unwrap_used, reason = "a measuring tool")]

use std::path::Path;
use std::time::{Duration, Instant};

use strata_layer::mount::Overlay;
use strata_runtime::container::{Container, Stdio};
use strata_runtime::spec::{ContainerSpec, Limits, Rootfs};

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let lower = directory.path().join("lower");
    fs_err::create_dir_all(lower.join("bin")).unwrap();
    fs_err::copy("/bin/busybox", lower.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", lower.join("bin/true")).unwrap();
    let mut started = Vec::new();
    let mut whole = Vec::new();
    for number in 0..count {
        let spec = spec(directory.path(), &lower, number);
        // Gaps: warm loops hide the cost of the kernel's grace periods.
        std::thread::sleep(Duration::from_millis(20));
        let begin = Instant::now();
        let mut running = Container::start(&spec, Stdio::null()).unwrap();
        started.push(begin.elapsed());
        let status = running.wait().unwrap();
        whole.push(begin.elapsed());
        assert_eq!(status.exit_code(), 0);
    }
    for (name, mut times) in [("start", started), ("start + exit + cgroups removed", whole)] {
        times.sort();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        println!("{name}: median {:.2} ms, p10 {:.2}, p90 {:.2}, n={count}", at(0.5), at(0.1), at(0.9));
    }
}

fn spec(directory: &Path, lower: &Path, number: usize) -> ContainerSpec {
    let own = directory.join(number.to_string());
    ContainerSpec {
        id: format!("measure-{}-{number}", std::process::id()),
        rootfs: Rootfs::Overlay(Overlay {
            lower: vec![lower.to_owned()],
            upper: own.join("upper"),
            work: own.join("work"),
            volatile: true,
        }),
        args: vec!["/bin/true".into()],
        env: vec!["PATH=/bin".into()],
        hostname: "measure".into(),
        limits: Limits { pids: Some(100), memory: Some(256 << 20), ..Limits::default() },
        ..ContainerSpec::default()
    }
}
