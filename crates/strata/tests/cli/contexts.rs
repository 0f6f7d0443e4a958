//! Build contexts as they come: other file systems, odd files, `.dockerignore` in all spellings, and files that change
//! while the build runs.

use crate::world::{World, wait_for};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The names below `/c` in the image that `COPY . /c/` of this context makes, in order.
fn copied(world: &World, context: &str) -> Vec<String> {
    let _ = fs_err::remove_dir_all(world.path("out"));
    let output = world.output(&["build", "-q", "-o", "out", context]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    names(&world.path("out/c"), "")
}

fn names(directory: &std::path::Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry")) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a type").is_dir() {
            found.extend(names(&entry.path(), &format!("{name}/")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[test]
fn ignore_files_in_every_spelling() {
    let world = World::new();
    for name in ["a.md", "b.txt", "d/keep", "d/drop", "c.log", "#hash", "sp ace"] {
        world.file(&format!("ctx/{name}"), b"");
    }
    world.file("ctx/Dockerfile", b"FROM scratch\nCOPY . /c/\n");
    let all =
        ["#hash", ".dockerignore", "Dockerfile", "a.md", "b.txt", "c.log", "d/drop", "d/keep", "sp ace"];
    let without =
        |gone: &[&str]| -> Vec<&str> { all.iter().copied().filter(|name| !gone.contains(name)).collect() };
    let cases: [(&str, &[u8], &[&str]); 9] = [
        ("comments and blanks", b"# *.txt\n\n  *.md  \n\t c.log\n", &["a.md", "c.log"]),
        ("exceptions", b"d\n!d/keep\n! d/keep \n", &["d/drop"]),
        ("the last one wins", b"*.md\n!a.md\n*.md\n", &["a.md"]),
        ("byte order mark", b"\xef\xbb\xbf*.md\nd/*\n!d/keep\n", &["a.md", "d/drop"]),
        ("CRLF", b"*.md\r\nd/*\r\n!d/keep\r\n# x\r\n", &["a.md", "d/drop"]),
        ("anywhere", b"**/keep\n/c.log\nd/../a.md\n./b.txt\n", &["d/keep", "c.log", "a.md", "b.txt"]),
        ("classes", b"[ab].*\n\\#hash\nsp?ace/\n", &["a.md", "b.txt", "#hash", "sp ace"]),
        ("not UTF-8", b"*.md\n\xff\xfe\n", &["a.md"]),
        ("no line end", b"c.log", &["c.log"]),
    ];
    for (name, rules, gone) in cases {
        world.file("ctx/.dockerignore", rules);
        assert_eq!(copied(&world, "ctx"), without(gone), "{name}");
    }
    // The file of the Dockerfile itself wins, alone.
    world.file("ctx/.dockerignore", b"*.md\n");
    world.file("ctx/Dockerfile.dockerignore", b"b.txt\nDockerfile*\n.dockerignore\n");
    assert_eq!(copied(&world, "ctx"), without(&["b.txt", "Dockerfile", ".dockerignore"]));
    fs_err::remove_file(world.path("ctx/Dockerfile.dockerignore")).expect("there");
    // What cannot be read as rules is said with its place.
    for (rules, wanted) in [(&b"*.md\n!\n"[..], "line 2: "), (b"[a\n", "line 1: ")] {
        world.file("ctx/.dockerignore", rules);
        let output = world.output(&["build", "-q", "ctx"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("ctx/.dockerignore: ") && text.contains(wanted), "{text}");
    }
    // A file that is left out and asked for: not found, with the reason.
    world.file("ctx/.dockerignore", b"b.txt\n");
    world.file("ctx/Dockerfile", b"FROM scratch\nCOPY b.txt /c/\n");
    let output = world.output(&["build", "ctx"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("\"/b.txt\": not found") && text.contains("excluded by .dockerignore"), "{text}");
}

#[test]
fn a_context_on_another_file_system() {
    let Some(world) = World::with_shell("a_context_on_another_file_system") else { return };
    let memory = world.path("memory");
    fs_err::create_dir(&memory).expect("a directory");
    let mount = |arguments: &[&str]| {
        assert!(
            Command::new(arguments[0]).args(&arguments[1..]).arg(&memory).status().expect("run").success()
        );
    };
    mount(&["mount", "-t", "tmpfs", "none"]);
    world.file("memory/Dockerfile", b"FROM box:1\nCOPY . /c/\n");
    world.file("memory/big", &vec![7; 3 << 20]);
    world.file("memory/d/small", b"s");
    let found = copied(&world, "memory");
    let first = world.ok(&["build", "-q", "memory"]);
    let again = world.ok(&["build", "-q", "memory"]);
    world.file("memory/d/small", b"t");
    let edited = world.ok(&["build", "-q", "memory"]);
    mount(&["umount"]);
    assert_eq!(found, ["Dockerfile", "big", "d/small"]);
    assert_eq!(first, again);
    assert_ne!(first, edited);
}

/// Sockets, FIFOs, names in no encoding; root reads everything, and an ordinary user is told what he may not read.
#[test]
fn odd_files() {
    let world = World::new();
    world.file("ctx/Dockerfile", b"FROM scratch\nCOPY . /c/\n");
    world.file("ctx/closed", b"secret");
    let odd = world.path("ctx").join(OsStr::from_bytes(b"a\xffb"));
    fs_err::write(odd, "x").expect("written");
    let _socket = std::os::unix::net::UnixListener::bind(world.path("ctx/socket")).expect("a socket");
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, world.path("ctx/fifo"), fifo, mode, 0).expect("a FIFO");
    fs_err::set_permissions(world.path("ctx/closed"), PermissionsExt::from_mode(0o000)).expect("a mode");
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP odd_files: its results are root's");
        return;
    }
    assert_eq!(copied(&world, "ctx"), ["Dockerfile", "a\u{fffd}b", "closed", "fifo", "socket"]);

    let home = tempfile::Builder::new().prefix("strata-user-").tempdir_in("/var/tmp").expect("a directory");
    let program = home.path().join("strata");
    // By another process: a program written here could still be open in a child of a test beside this one.
    let copy = Command::new("cp").arg(env!("CARGO_BIN_EXE_strata")).arg(&program).status();
    assert!(copy.expect("cp").success());
    let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(home.path()).status();
    assert!(chown.expect("chown").success());
    let context = home.path().join("ctx");
    fs_err::create_dir(&context).expect("a directory");
    for name in ["Dockerfile", "closed"] {
        fs_err::copy(world.path(&format!("ctx/{name}")), context.join(name)).expect("copied");
    }
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&program)
        .args(["build", "-q", "."])
        .current_dir(&context)
        .env("STRATA_ROOT", home.path().join("store"))
        .env("HOME", home.path())
        .output()
        .expect("setpriv");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("/closed") && text.contains("Permission denied"), "{text}");
}

/// A directory that is a link at one moment and a directory at the next leads nowhere outside.
#[test]
fn links_that_change_while_the_context_is_read() {
    let world = World::new();
    world.file("ctx/Dockerfile", b"FROM scratch\nCOPY . /c/\n");
    world.file("ctx/swapped/file", b"inside");
    world.file("outside/file", b"outside");
    std::os::unix::fs::symlink(world.path("outside"), world.path("ctx/other")).expect("a link");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (one, two) = (world.path("ctx/swapped"), world.path("ctx/other"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, &one, rustix::fs::CWD, &two, flags);
            }
        });
        for number in 0..8 {
            let out = format!("out{number}");
            let output = world.output(&["build", "-q", "--no-cache", "-o", &out, "ctx"]);
            if !output.status.success() {
                // Changed while it was being read: said, and nothing made of it.
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(
                    text.contains("ctx") || text.contains("/swapped") || text.contains("/other"),
                    "{text}"
                );
                continue;
            }
            for name in names(&world.path(&format!("{out}/c")), "") {
                let path = world.path(&format!("{out}/c/{name}"));
                if path.symlink_metadata().expect("listed").is_file() && name != "Dockerfile" {
                    assert_eq!(fs_err::read(path).expect("a file"), b"inside", "{name}");
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(world.ok(&["system", "fsck", "-q"]).is_empty());
}

/// One file is edited and one added while an earlier step runs. Whatever the build then takes, the image and what the
/// cache remembers of it are one: a build of the context as it is now gives the files as they are now.
#[test]
fn a_context_that_is_edited_during_an_earlier_step() {
    let Some(world) = World::with_shell("a_context_that_is_edited") else { return };
    world.file("ctx/Dockerfile", b"FROM box:1\nRUN echo started; sleep 1\nCOPY . /c/\n");
    for progress in ["plain", "classic"] {
        world.file("ctx/a", b"one\n");
        let _ = fs_err::remove_file(world.path("ctx/b"));
        let log = fs_err::File::create(world.path("log")).expect("a file").into_parts().0;
        let line = ["build", "--no-cache", "--network", "none", "--progress", progress, "-t", "built", "ctx"];
        let mut command = world.command(&line);
        let streams = command.stdout(log.try_clone().expect("a copy")).stderr(log);
        let mut child = streams.spawn().expect("starts");
        wait_for(|| {
            fs_err::read_to_string(world.path("log")).is_ok_and(|text| text.matches("started").count() > 1)
        });
        world.file("ctx/a", b"two, and longer\n");
        world.file("ctx/b", b"added\n");
        let status = child.wait().expect("ends");
        let text = fs_err::read_to_string(world.path("log")).expect("a log");
        let show =
            ["run", "--rm", "--network", "none", "built", "sh", "-c", "cat /c/a; cat /c/b 2>/dev/null; true"];
        match status.code() {
            Some(0) => {
                let shown = world.ok(&show);
                assert!(
                    ["one\n", "two, and longer\n", "two, and longer\nadded\n"].contains(&&shown[..]),
                    "{shown}"
                );
            }
            code => assert!(code == Some(1) && text.contains("changed while it was being read"), "{text}"),
        }
        world.ok(&["build", "-q", "--network", "none", "-t", "built", "ctx"]);
        assert_eq!(world.ok(&show), "two, and longer\nadded\n", "{progress}: a wrong cache entry");
        world.file("ctx/a", b"one\n");
        fs_err::remove_file(world.path("ctx/b")).expect("added");
        world.ok(&["build", "-q", "--network", "none", "-t", "built", "ctx"]);
        assert_eq!(world.ok(&show), "one\n", "{progress}: a wrong cache entry");
    }
}
