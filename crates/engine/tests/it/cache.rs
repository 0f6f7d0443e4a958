//! The cache on real files: which change of the context runs a step again, and which does not (`spec/build.md` 4.1).
use crate::world::{World, base};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, utimensat};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use strata_engine::build::{BuildRequest, Event};

/// A context that is built again and again.
struct Bench {
    world: World,
    request: BuildRequest,
    directory: PathBuf,
}

impl Bench {
    /// `None` where tests cannot run.
    fn new(dockerfile: &str, files: &[(&str, &[u8])]) -> Option<Self> {
        Some(Self::in_world(World::with_base()?, dockerfile, files))
    }

    fn in_world(world: World, dockerfile: &str, files: &[(&str, &[u8])]) -> Self {
        let request = world.context(dockerfile, files);
        let directory = request.dockerfile_path.as_ref().unwrap().parent().unwrap().to_owned();
        let bench = Self { world, request, directory };
        bench.run();
        assert_eq!(bench.run(), Vec::<String>::new(), "nothing changed");
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Builds; the instructions that were not in the cache.
    fn run(&self) -> Vec<String> {
        self.run_with(&self.request)
    }

    fn run_with(&self, request: &BuildRequest) -> Vec<String> {
        let engine = self.world.engine();
        let text = fs_err::read_to_string(request.dockerfile_path.as_ref().unwrap()).unwrap();
        let dockerfile = strata_engine::build::parse(&text).unwrap();
        let contexts = engine.open_contexts(request).unwrap();
        let (names, ran) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let sink = |event: Event<'_>| match event {
            Event::Planned(steps) => {
                *names.lock().unwrap() = steps.iter().map(|step| step.instruction.clone()).collect();
            }
            Event::Started(id) => ran.lock().unwrap().push(names.lock().unwrap()[id.0].clone()),
            _ => {}
        };
        engine.build(request, &contexts, &dockerfile, &sink, &AtomicBool::new(false)).unwrap();
        let mut ran = ran.into_inner().unwrap();
        ran.retain(|instruction| !instruction.starts_with("FROM"));
        ran.sort();
        ran
    }

    /// After `change`, exactly these instructions run, and nothing after that.
    #[track_caller]
    fn after(&self, what: &str, change: impl FnOnce(&Self), expected: &[&str]) {
        change(self);
        assert_eq!(self.run(), expected, "{what}");
        assert_eq!(self.run(), Vec::<String>::new(), "{what}, again");
    }
}

fn set_mtime(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn metadata_of_the_context() {
    let copy = "COPY d /d/";
    let files: &[(&str, &[u8])] = &[("d/f", b"one"), ("d/sub/g", b"two")];
    let Some(bench) = Bench::new(&format!("FROM busybox\n{copy}\n"), files) else { return };
    let set_mode = |name: &str, mode| {
        fs_err::set_permissions(bench.at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    bench.after("time", |b| set_mtime(&b.at("d/f"), 1_000_000_000), &[]);
    bench.after("time of a directory", |b| set_mtime(&b.at("d/sub"), 1_000_000_000), &[]);
    bench.after(
        "owner: those of a context are root's",
        |b| {
            std::os::unix::fs::chown(b.at("d/f"), Some(7), Some(8)).unwrap();
        },
        &[],
    );
    bench.after("mode", |_| set_mode("d/f", 0o755), &[copy]);
    bench.after("mode of a directory", |_| set_mode("d/sub", 0o700), &[copy]);
    bench.after("mode of the source itself, which its contents do not have", |_| set_mode("d", 0o700), &[]);
    bench.after(
        "attribute",
        |b| {
            rustix::fs::setxattr(b.at("d/f"), "user.a", b"1", XattrFlags::empty()).unwrap();
        },
        &[copy],
    );
    bench.after(
        "value of an attribute",
        |b| {
            rustix::fs::setxattr(b.at("d/f"), "user.a", b"2", XattrFlags::empty()).unwrap();
        },
        &[copy],
    );
    bench.after("new link", |b| symlink("f", b.at("d/l")).unwrap(), &[copy]);
    bench.after(
        "other target of as many letters",
        |b| {
            fs_err::remove_file(b.at("d/l")).unwrap();
            symlink("g", b.at("d/l")).unwrap();
        },
        &[copy],
    );
    bench.after("empty directory", |b| fs_err::create_dir(b.at("d/empty")).unwrap(), &[copy]);
    bench.after(
        "further name of a file elsewhere",
        |b| {
            fs_err::hard_link(b.at("d/f"), b.at("outside")).unwrap();
        },
        &[],
    );
    bench.world.assert_sound();
}

#[test]
fn content_of_the_context() {
    let copy = "COPY d/f* other /d/";
    let files: &[(&str, &[u8])] = &[("d/f1", b"one"), ("d/g", b"two"), ("other", b"x")];
    let Some(bench) = Bench::new(&format!("FROM busybox\n{copy}\n"), files) else { return };
    let write = |name: &str, text: &str| fs_err::write(bench.at(name), text).unwrap();
    bench.after(
        "the same bytes in a new file",
        |b| {
            fs_err::write(b.at("d/new"), "one").unwrap();
            fs_err::rename(b.at("d/new"), b.at("d/f1")).unwrap();
        },
        &[],
    );
    bench.after(
        "other bytes of the same length, at the same time",
        |b| {
            set_mtime(&b.at("d/f1"), 1_000_000_000);
            write("d/f1", "ONE");
            set_mtime(&b.at("d/f1"), 1_000_000_000);
        },
        &[copy],
    );
    bench.after("a file that nothing copies", |_| write("d/g", "three"), &[]);
    bench.after("a new file that nothing copies", |_| write("new", "three"), &[]);
    bench.after("another name", |b| fs_err::rename(b.at("d/f1"), b.at("d/f2")).unwrap(), &[copy]);
    bench.after("one more match", |_| write("d/f3", ""), &[copy]);
    bench.after("one match less", |b| fs_err::remove_file(b.at("d/f3")).unwrap(), &[]);
    bench.after(
        "a directory in place of a file",
        |b| {
            fs_err::remove_file(b.at("other")).unwrap();
            fs_err::create_dir(b.at("other")).unwrap();
        },
        &[copy],
    );
    bench.world.assert_sound();
}

#[test]
fn what_dockerignore_leaves() {
    let copy = "COPY . /d/";
    let files: &[(&str, &[u8])] =
        &[("a", b"a"), ("b.log", b"b"), (".dockerignore", b"Dockerfile\n.dockerignore\n")];
    let Some(bench) = Bench::new(&format!("FROM busybox\n{copy}\n"), files) else { return };
    let rules = |text: &str| {
        fs_err::write(bench.at(".dockerignore"), format!("Dockerfile\n.dockerignore\n{text}")).unwrap();
    };
    bench.after("a comment", |_| rules("# nothing\n"), &[]);
    bench.after("a rule for what is not there", |_| rules("*.tmp\n"), &[]);
    bench.after("a rule that hides a file", |_| rules("*.log\n"), &[copy]);
    bench.after("a hidden file that changes", |b| fs_err::write(b.at("b.log"), "B").unwrap(), &[]);
    bench.after("an exception that shows it", |_| rules("*.log\n!b.log\n"), &[copy]);
    bench.after("the same by no rule at all", |_| rules(""), &[]);
    bench.world.assert_sound();
}

#[test]
fn the_same_context_elsewhere_is_the_same() {
    let files: &[(&str, &[u8])] = &[("d/f", b"one")];
    let dockerfile = "FROM busybox\nCOPY d /d/\nRUN echo > /made\n";
    let Some(bench) = Bench::new(dockerfile, files) else { return };
    let other = bench.world.context(dockerfile, files);
    set_mtime(&other.dockerfile_path.as_ref().unwrap().with_file_name("d/f"), 5);
    assert_eq!(bench.run_with(&other), Vec::<String>::new());
}

#[test]
fn a_new_base_of_the_same_name_and_a_mount() {
    let run = "RUN --mount=source=m,target=/m cat /m/f > /out";
    let files: &[(&str, &[u8])] = &[("m/f", b"one"), ("other", b"x")];
    let Some(bench) = Bench::new(&format!("FROM busybox\n{run}\n"), files) else { return };
    bench.after("a file beside the mounted directory", |b| fs_err::write(b.at("other"), "y").unwrap(), &[]);
    bench.after("a mounted file", |b| fs_err::write(b.at("m/f"), "two").unwrap(), &[run]);
    bench.after("its time", |b| set_mtime(&b.at("m/f"), 5), &[]);
    bench.after(
        "another image of the base's name",
        |b| {
            let tar = base().unwrap();
            // One more member before the two empty blocks at the end.
            let more = crate::world::Tar::default().file("etc/new", b"new").end();
            b.world.import([&tar[..tar.len() - 1024], &more].concat(), "busybox").unwrap();
        },
        &[run],
    );
    bench.world.assert_sound();
}

#[test]
fn equal_results_of_another_stage_join_the_cache_again() {
    let (first, second) = ("COPY src /src", "RUN cat /src > /all; echo same > /out");
    let dockerfile = format!(
        "FROM busybox AS build\n{first}\n{second}\nFROM busybox\nCOPY --from=build /out /out\n\
         RUN --mount=from=build,source=/out,target=/m cat /m > /after\n"
    );
    let Some(bench) = Bench::new(&dockerfile, &[("src", b"1")]) else { return };
    bench.after(
        "a stage that makes the same",
        |b| fs_err::write(b.at("src"), "2").unwrap(),
        &[first, second],
    );
    bench.world.assert_sound();
}

/// A cache may be mounted in part; links that a step planted in it lead nowhere else.
#[test]
fn a_part_of_a_cache_is_mounted_and_nothing_outside_it() {
    let Some(world) = World::with_base() else { return };
    let file = "FROM busybox\n\
         RUN --mount=type=cache,id=c,target=/c mkdir -p /c/sub/in && echo 1 > /c/sub/in/f && ln -s /../../../../etc /c/out \
             && ln -s /sub/in /c/link\n\
         RUN --mount=type=cache,id=c,target=/m,source=sub/in grep -q 1 /m/f && echo 2 > /m/g\n\
         RUN --mount=type=cache,id=c,target=/m,source=link grep -q 2 /m/g\n\
         RUN --mount=type=cache,id=c,target=/m grep -q 2 /m/sub/in/g\n";
    world.build(&world.context(file, &[])).unwrap();
    for source in ["out", "nowhere"] {
        let file = format!("FROM busybox\nRUN --mount=type=cache,id=c,target=/m,source={source} ls /m\n");
        let error = crate::world::text(&world.build(&world.context(&file, &[])).unwrap_err());
        assert!(error.contains(&format!("cannot mount /{source} of the cache")), "{error}");
    }
    world.assert_sound();
}
