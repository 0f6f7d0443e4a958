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
    let request = world.context("FROM busybox\nRUN sleep 7654\n", &[]);
    let dockerfile = strata_engine::build::parse("FROM busybox\nRUN sleep 7654\n").unwrap();
    let cancel = AtomicBool::new(false);
    let engine = world.engine();
    let contexts = engine.open_contexts(&request).unwrap();
    std::thread::scope(|threads| {
        let build = threads.spawn(|| {
            engine.build(&request, &contexts, &dockerfile, &|_: strata_engine::build::Event<'_>| (), &cancel)
        });
        wait_for("the step", || is_running("7654"));
        cancel.store(true, Ordering::Relaxed);
        let error = build.join().unwrap().unwrap_err();
        assert!(text(&error).contains("build canceled"), "{}", text(&error));
    });
    assert!(!is_running("7654"), "the step runs on");
    drop((contexts, engine));
    world.assert_sound();
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
