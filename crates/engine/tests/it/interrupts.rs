//! Builds that are cancelled or killed.
use crate::world::{World, options, request, text};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use strata_engine::Engine;

/// Says to the process that this program starts again what it is there for: the store's and the context's path.
const CHILD: &str = "STRATA_TEST_BUILD";

#[test]
fn a_cancelled_build_kills_its_steps_and_leaves_nothing() {
    let Some(world) = World::with_base() else { return };
    cancel_when(&world, "RUN sleep 7654", "the step", || is_running("7654"));
    assert!(!is_running("7654"), "the step runs on");
    world.assert_sound();
}

/// A step that has closed its streams is not one that has ended.
#[test]
fn a_step_without_streams_is_cancelled_too() {
    let Some(world) = World::with_base() else { return };
    let step = "RUN exec <&- >&- 2>&-; sleep 7655";
    cancel_when(&world, step, "the step", || is_running("7655"));
    assert!(!is_running("7655"), "the step runs on");
    world.assert_sound();
}

/// Somebody else may hold a cache mount for hours.
#[test]
fn a_step_that_waits_for_a_cache_mount_is_cancelled_too() {
    let Some(world) = World::with_base() else { return };
    for sharing in ["locked", "shared"] {
        let step = format!("RUN --mount=type=cache,target=/c,sharing={sharing} sleep 0.01");
        world.build(&world.context(&format!("FROM busybox\n{step}\n"), &[])).unwrap();
        let locks = fs_err::read_dir(world.root().join("mounts")).unwrap().map(|entry| entry.unwrap().path());
        let lock =
            locks.into_iter().find(|path| path.extension().is_some_and(|name| name == "lock")).unwrap();
        let held = fs_err::File::open(lock).unwrap();
        rustix::fs::flock(held.file(), rustix::fs::FlockOperation::LockExclusive).unwrap();
        let started = Instant::now();
        cancel_when(&world, &format!("{step}7"), "a moment", || {
            started.elapsed() > Duration::from_millis(300)
        });
    }
    world.assert_sound();
}

/// A step that mounts a cache twice does not wait for itself.
#[test]
fn a_locked_cache_may_be_mounted_twice_in_one_step() {
    let Some(world) = World::with_base() else { return };
    let mount = |target| format!("--mount=type=cache,id=c,sharing=locked,target={target}");
    let file = format!("FROM busybox\nRUN {} {} echo 1 > /a/f && grep 1 /b/f\n", mount("/a"), mount("/b"));
    world.build(&world.context(&file, &[])).unwrap();
}

/// Builds `step`, cancels when it `happened`, and expects the build to end because of that, and soon.
fn cancel_when(world: &World, step: &str, what: &str, happened: impl FnMut() -> bool) {
    let file = format!("FROM busybox\n{step}\n");
    let request = world.context(&file, &[]);
    let dockerfile = strata_engine::build::parse(&file).unwrap();
    let cancel = AtomicBool::new(false);
    let engine = world.engine();
    let contexts = engine.open_contexts(&request).unwrap();
    std::thread::scope(|threads| {
        let build = threads.spawn(|| {
            engine.build(&request, &contexts, &dockerfile, &|_: strata_engine::build::Event<'_>| (), &cancel)
        });
        wait_for(what, happened);
        assert!(!build.is_finished(), "{step}");
        cancel.store(true, Ordering::Relaxed);
        wait_for("the build's end", || build.is_finished());
        let error = build.join().unwrap().unwrap_err();
        assert!(text(&error).contains("build canceled"), "{}", text(&error));
    });
}

#[test]
fn a_killed_build_takes_its_steps_along_and_the_next_command_sweeps() {
    let Some(world) = World::with_base() else { return };
    let context = world.context("FROM busybox\nCOPY a /a\nRUN sleep 8765\n", &[("a", b"a")]);
    let context = context.dockerfile_path.unwrap().parent().unwrap().to_owned();
    let mut build = build_in_a_process(&world.root(), &context);
    wait_for("the step", || is_running("8765"));
    let staged = names(&world.root().join("ingest"));
    assert!(!groups(&staged).is_empty(), "the step has no cgroup");
    build.kill().unwrap();
    build.wait().unwrap();
    wait_for("the step's end", || !is_running("8765"));
    drop(world.engine());
    world.assert_nothing_left();
    assert_eq!(groups(&staged), Vec::<PathBuf>::new());
    world.assert_sound();
}

/// Whoever deletes a store leaves the groups of what was killed in it; the next command on any other one finds them.
#[test]
fn groups_of_a_deleted_store_are_swept_by_another() {
    let Some(world) = World::with_base() else { return };
    let context = world.context("FROM busybox\nRUN sleep 8766\n", &[]);
    let context = context.dockerfile_path.unwrap().parent().unwrap().to_owned();
    let mut build = build_in_a_process(&world.root(), &context);
    wait_for("the step", || is_running("8766"));
    let staged = names(&world.root().join("ingest"));
    build.kill().unwrap();
    build.wait().unwrap();
    wait_for("the step's end", || !is_running("8766"));
    let left = groups(&staged);
    assert!(!left.is_empty(), "the step had no cgroup");
    // The reset at the end of this world would know the names otherwise.
    for directory in
        staged.iter().map(|name| world.root().join("ingest").join(name)).filter(|path| path.is_dir())
    {
        fs_err::remove_dir_all(directory).unwrap();
    }
    drop(world);
    let other = World::new().unwrap();
    drop(other.engine());
    assert_eq!(groups(&staged), left, "they might be somebody's who has just begun");
    let then = std::time::SystemTime::now() - Duration::from_secs(600);
    left.iter().for_each(|group| fs_err::File::open(group).unwrap().file().set_modified(then).unwrap());
    drop(World::new().unwrap().engine());
    assert_eq!(groups(&staged), Vec::<PathBuf>::new());
}

fn build_in_a_process(root: &Path, context: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let task = format!("{}\n{}", root.display(), context.display());
    Command::new(program).args(["--exact", "interrupts::in_the_child"]).env(CHILD, task).spawn().unwrap()
}

/// Not a test of its own: what [`build_in_a_process`] starts.
#[test]
fn in_the_child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (root, context) = task.split_once('\n').unwrap();
    let engine = Engine::open(options(Path::new(root), None)).unwrap();
    crate::world::build(&engine, &request(Path::new(context))).unwrap();
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn names(directory: &Path) -> Vec<OsString> {
    fs_err::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// cgroups of these names, in every hierarchy.
fn groups(names: &[OsString]) -> Vec<PathBuf> {
    let hierarchies = fs_err::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
    let parents = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).map(|path| path.join("strata"));
    let all = parents.flat_map(|parent| names.iter().map(move |name| parent.join(name)));
    all.filter(|path| path.exists()).collect()
}

/// Whether a `sleep` for so many seconds runs, zombies left out.
fn is_running(seconds: &str) -> bool {
    let processes = fs_err::read_dir("/proc").unwrap().flatten();
    let command = format!("sleep\0{seconds}\0");
    processes
        .into_iter()
        .any(|entry| fs_err::read(entry.path().join("cmdline")).is_ok_and(|text| text == command.as_bytes()))
}
