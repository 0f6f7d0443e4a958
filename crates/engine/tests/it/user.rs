//! An ordinary user: everything but RUN and `run`, without a mount.
use crate::world::{Tar, World, base, build, options, request, text};
use std::io::Cursor;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use strata_engine::Engine;
use strata_engine::archive::ImportRequest;
use strata_engine::run::RunRequest;

/// Where the user's things are: set in the process that runs as one.
const HOME: &str = "STRATA_TEST_USER";
const NOBODY: u32 = 65534;

/// As root, this program is started again as nobody; an ordinary user goes on as he is.
#[test]
fn builds_without_run_need_no_root_and_no_mount() {
    let home = tempfile::Builder::new().prefix("strata-it-user-").tempdir_in("/var/tmp").unwrap();
    if !crate::world::is_root() {
        return as_user(home.path());
    }
    let program = home.path().join("program");
    // Copied by another process: a test beside this one may fork while a descriptor for writing is open here, and the
    // kernel refuses to execute a file that anybody can still write ("Text file busy").
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap();
    assert!(copied.success());
    std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new(program);
    command
        .args(["--exact", "user::in_the_child", "--nocapture"])
        .env(HOME, home.path())
        .uid(NOBODY)
        .gid(NOBODY);
    let output = command.current_dir("/").output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Not a test of its own: what runs as nobody.
#[test]
fn in_the_child() {
    if let Some(home) = std::env::var_os(HOME) {
        assert!(!crate::world::is_root());
        as_user(Path::new(&home));
    }
}

fn as_user(home: &Path) {
    let root = home.join("store");
    let open = || Engine::open(options(&root, None)).unwrap();
    let base = base().unwrap_or_else(|| Tar::default().file("etc/passwd", b"root:x:0:0::/:/bin/sh\n").end());
    let import = ImportRequest { reference: Some("base".to_owned()), ..Default::default() };
    open().import(Box::new(Cursor::new(base)), &import).unwrap();
    let context = home.join("context");
    fs_err::create_dir(&context).unwrap();
    fs_err::write(context.join("f"), "hi").unwrap();
    let built = |text: &str| {
        fs_err::write(context.join("Dockerfile"), text).unwrap();
        build(&open(), &request(&context))
    };
    built("FROM scratch\nCOPY f /d/f\nWORKDIR /w\nENV A=b\nLABEL x=y\nUSER 5\nCMD [\"/x\"]\n").unwrap();
    let rest = "COPY --chown=1:2 f /home/f\nADD --chmod=700 f /tmp/\n";
    let report =
        built(&format!("FROM base AS a\n{rest}FROM base\nCOPY --from=a /home /h\nWORKDIR /new\nVOLUME /v\n"))
            .unwrap();
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(root.to_str().unwrap()), "nothing is mounted");

    let engine = open();
    assert_eq!(engine.history("built").unwrap().first().unwrap().created_by, "VOLUME [/v]");
    assert_eq!(engine.inspect_image("built").unwrap().id, report.id.to_string());
    let archive = home.join("saved.tar");
    engine.save(&["built".to_owned()], fs_err::File::create(&archive).unwrap().file()).unwrap();
    engine.remove_image("built", true, false).unwrap();
    engine.load(Box::new(fs_err::File::open(&archive).unwrap())).unwrap();
    assert_eq!(engine.inspect_image("built").unwrap().id, report.id.to_string());
    assert_eq!(engine.fsck().unwrap().problems, Vec::<String>::new());

    let error = text(&built("FROM base\nRUN true\n").unwrap_err());
    assert!(error.contains("RUN needs root"), "{error}");
    let run = RunRequest { image: "base".to_owned(), ..Default::default() };
    let error = text(&engine.run(&run, &mut |_| ()).unwrap_err());
    assert!(error.contains("running a container needs root"), "{error}");
    assert!(engine.containers(&Default::default()).unwrap().is_empty(), "no record of what could not start");
    engine.reset().unwrap();
    assert!(!root.exists());
}

/// `docker ps` as a stranger must not show other people's environments.
#[test]
fn the_store_of_root_is_closed_to_users() {
    let Some(world) = World::new() else { return };
    drop(world.engine());
    let database = world.root().join("strata.db");
    let status = Command::new("cat").arg(database).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert!(!status.status.success());
}
