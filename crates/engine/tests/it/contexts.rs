//! Contexts and destinations with links, sockets, odd names, and files that cannot be read.
use crate::world::{World, text, uncached};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use strata_engine::EngineError;
use strata_engine::build::BuildRequest;
use strata_engine::run::RunOutcome;

fn directory(request: &BuildRequest) -> PathBuf {
    request.dockerfile_path.as_ref().unwrap().parent().unwrap().to_owned()
}

#[test]
fn links_of_the_context_stay_in_the_context() {
    let Some(world) = World::new() else { return };
    for (link, target) in [("l", "/etc/passwd"), ("l", "../../../../../../etc/passwd"), ("d", "/etc")] {
        let source = if link == "d" { "d/passwd" } else { "l" };
        let request = world.context(&format!("FROM scratch\nCOPY {source} /x\n"), &[]);
        symlink(target, directory(&request).join(link)).unwrap();
        let error = text(&world.build(&request).unwrap_err());
        assert!(error.contains("not found"), "{target}: {error}");
    }
    world.assert_sound();
}

/// An image whose directories are links to the host: nothing is written through them.
#[test]
fn links_of_the_image_stay_in_the_image() {
    let Some(world) = World::with_base() else { return };
    let outside = world.directory.path().join("outside");
    fs_err::create_dir(&outside).unwrap();
    let out = outside.to_str().unwrap();
    let file = format!(
        "FROM busybox\nRUN ln -s {out} /abs && ln -s ../../../../../..{out} /rel && ln -s /abs /chain\n\
         COPY a /abs/a\nCOPY a /rel/b\nCOPY a /chain/c\nWORKDIR /abs/dir\nVOLUME /abs/volume\n\
         RUN test -f {out}/a && test -f {out}/b && test -f {out}/c\nRUN --mount=type=tmpfs,target=/abs/mount true\n"
    );
    world.build(&world.context(&file, &[("a", b"a")])).unwrap();
    assert_eq!(world.run("built", "touch /abs/volume/x").unwrap(), RunOutcome::Exited(0));
    assert!(fs_err::read_dir(&outside).unwrap().next().is_none(), "written on the host");
    world.assert_sound();
}

#[test]
fn sockets_fifos_and_names_that_are_not_utf8_are_copied() {
    let Some(world) = World::with_base() else { return };
    let request =
        world.context("FROM busybox\nCOPY . /c/\nRUN test -f /c/socket && test -p /c/fifo && ls /c\n", &[]);
    let directory = directory(&request);
    let _socket = std::os::unix::net::UnixListener::bind(directory.join("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        directory.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    fs_err::write(directory.join(OsStr::from_bytes(b"a\xffb")), "x").unwrap();
    world.build(&request).unwrap();
    assert_eq!(world.run("built", r#"test "$(cat /c/a*b)" = x"#).unwrap(), RunOutcome::Exited(0));
    world.assert_sound();
}

/// Either the old or the new bytes, never a layer whose digest is not that of its bytes.
#[test]
fn a_file_that_changes_while_it_is_read_does_no_harm() {
    let Some(world) = World::new() else { return };
    let request = world.context("FROM scratch\nCOPY f /f\n", &[("f", &[0; 2 << 20])]);
    let path = directory(&request).join("f");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for n in 0_usize.. {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                fs_err::write(&path, vec![n as u8; (2 << 20) - (n % 7) * 100_000]).unwrap();
            }
        });
        for _ in 0..10 {
            if let Err(error) = world.build(&uncached(request.clone())) {
                assert!(text(&error).contains("/f"), "{}", text(&error));
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    world.assert_sound();
}

#[test]
fn errors_point_into_the_dockerfile() {
    let Some(world) = World::with_base() else { return };
    let cases = [
        ("FROM localhost:1/nosuch\n", "localhost:1/nosuch:latest: failed to resolve source metadata", 1),
        ("FROM busybox\nCOPY nosuch /\n", "not found", 2),
        ("FROM busybox\nRUN exit 3\n", "exit code: 3", 2),
        ("FROM busybox\nCOPY --chmod=64a a /\n", "64a", 2),
        ("FROM busybox\nUSER nosuch\nRUN true\n", "unable to find user nosuch", 3),
        ("FROM busybox AS first\nCOPY --from=later a /\nFROM busybox AS later\nFROM first\n", "later", 2),
    ];
    for (file, wanted, line) in cases {
        match world.build(&world.context(file, &[("a", b"a")])).unwrap_err() {
            EngineError::Build(error) | EngineError::Step { source: error, .. } => {
                assert!(text(&error).contains(wanted), "{file}: {}", text(&error));
                let found = error.spans.first().map(|span| file[..span.start].matches('\n').count() + 1);
                assert_eq!(found, Some(line), "{file}: {:?}", error.spans);
            }
            other => panic!("{file}: {}", text(&other)),
        }
        world.assert_nothing_left();
    }
    world.assert_sound();
}
