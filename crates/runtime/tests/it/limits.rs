use strata_runtime::cgroup::{Cgroup, Devices, Layout, discard};
use strata_runtime::container::{Container, Stdio};
use strata_runtime::signal::Signal;
use strata_runtime::spec::{ContainerSpec, Limits};

use crate::process::groups_named;
use crate::world::{World, finish, run};

#[test]
fn the_number_of_tasks_is_limited() {
    let Some(world) = World::new() else { return };
    let limits = Limits { pids: Some(8), ..Limits::default() };
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.2 & done 2>&1; wait; echo alive";
    let done = run(&ContainerSpec { limits, ..world.shell(script) });
    assert!(done.err.contains("fork") || done.out.contains("fork"), "{done:?}");
}

#[test]
fn groups_exist_while_it_runs_and_are_gone_afterwards() {
    let Some(world) = World::new() else { return };
    let limits =
        Limits { memory: Some(64 << 20), cpus: Some(0.5), cpu_shares: Some(512), ..Limits::default() };
    let spec = ContainerSpec { limits, ..world.command(&["sleep", "20"]) };
    let running = Container::start(&spec, Stdio::null()).unwrap();
    let groups = groups_named(&spec.id);
    assert!(!groups.is_empty());
    let pid = running.pid().to_string();
    for group in &groups {
        let tasks = fs_err::read_to_string(group.join("cgroup.procs")).unwrap();
        assert_eq!(tasks.trim(), pid, "{}", group.display());
    }
    let value = |name: &str| {
        groups
            .iter()
            .find_map(|group| fs_err::read_to_string(group.join(name)).ok())
            .map(|text| text.trim().to_owned())
    };
    let memory = value("memory.limit_in_bytes").or(value("memory.max"));
    assert_eq!(memory.as_deref(), Some("67108864"));
    let cpu = value("cpu.cfs_quota_us").or(value("cpu.max"));
    assert!(cpu.as_deref().is_some_and(|cpu| cpu.starts_with("50000")), "{cpu:?}");
    running.kill(Signal::KILL).unwrap();
    finish(running);
    assert!(groups_named(&spec.id).is_empty(), "{:?}", groups_named(&spec.id));
}

#[test]
fn a_container_killed_for_memory_says_so() {
    let Some(world) = World::new() else { return };
    let limits = Limits { memory: Some(24 << 20), memory_swap: Some(24 << 20), ..Limits::default() };
    // The shell holds it all: pid 1 itself dies.
    let script = "x=$(head -c 4000000 /dev/zero | tr '\\0' x); while :; do x=$x$x; done";
    let done = run(&ContainerSpec { limits, ..world.shell(script) });
    assert_eq!((done.code(), done.status.oom_killed), (137, true), "{done:?}");
}

#[test]
fn a_limit_without_a_controller_and_a_bad_name_are_errors() {
    let Some(world) = World::new() else { return };
    let spec = ContainerSpec { id: "../../escape".into(), ..world.command(&["true"]) };
    let error = Container::start(&spec, Stdio::null()).unwrap_err();
    assert_eq!(error.to_string(), r#"container ID "../../escape" cannot name a cgroup"#);
    assert_eq!(error.exit_code(), 125);
}

#[test]
fn killing_the_first_process_ends_all_of_them() {
    let Some(world) = World::new() else { return };
    let spec = world.shell("sleep 300 & sleep 300 & echo started; : > /tmp/ready; wait");
    let running = Container::start(&spec, Stdio::piped(false)).unwrap();
    crate::world::wait_until_ready(&spec);
    running.kill(Signal::KILL).unwrap();
    let done = finish(running);
    assert_eq!((done.code(), done.out.as_str()), (137, "started\n"));
    assert!(groups_named(&spec.id).is_empty());
}

#[test]
fn what_a_killed_engine_left_is_ended_and_removed() {
    let Some(world) = World::new() else { return };
    let layout = Layout::detect().unwrap();
    let name = |text: &str| format!("left-{}-{text}", std::process::id());
    Cgroup::create(&layout, &name("empty"), &Limits::default(), Devices::Listed(&[])).unwrap();
    Cgroup::create(&layout, &name("privileged"), &Limits::default(), Devices::All).unwrap();
    let spec = ContainerSpec { id: name("busy"), ..world.command(&["sleep", "20"]) };
    let running = Container::start(&spec, Stdio::null()).unwrap();
    // A zombie is no member any more, so that nobody need wait for it first.
    for text in ["empty", "privileged", "busy", "never"] {
        assert!(discard(&layout, &name(text)), "{text}");
        assert!(groups_named(&name(text)).is_empty(), "{text}");
    }
    assert_eq!(finish(running).code(), 137);
}
