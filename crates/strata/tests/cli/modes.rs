//! Layers are shown in two ways: mounted (EROFS) and unpacked. What is built, and what comes out, is the same.

use crate::world::World;
use std::path::{Path, PathBuf};
use std::process::Output;

const MODES: [&str; 2] = ["erofs", "tree"];

/// A new one may be forced to use EROFS where the kernel cannot: then there is nothing to compare.
fn worlds(test: &str) -> Option<[World; 2]> {
    let worlds = MODES.map(World::in_mode);
    if !worlds[0].import_shell(test) {
        return None;
    }
    // The very same image in both: an import has a date.
    worlds[0].ok(&["save", "-o", "base.tar", "box:1"]);
    let archive = worlds[0].path("base.tar").display().to_string();
    worlds[1].ok(&["load", "-i", &archive]);
    let probe = worlds[0].output(&["run", "--rm", "--network", "none", "box:1", "true"]);
    if !probe.status.success() {
        eprintln!("SKIP {test}: {}", String::from_utf8_lossy(&probe.stderr));
        return None;
    }
    Some(worlds)
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{:?}\n{out}{err}", output.status.code())
}

/// Every conformance case that starts no process, built with a fixed clock: the same image ID or the same error.
#[test]
fn image_ids_of_the_conformance_cases() {
    let Some(worlds) = worlds("image_ids_of_the_conformance_cases") else { return };
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/cases");
    let mut cases: Vec<PathBuf> = fs_err::read_dir(cases)
        .expect("cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|case| {
            fs_err::read_to_string(case.join("Dockerfile"))
                .is_ok_and(|text| !text.to_uppercase().contains("RUN"))
        })
        .collect();
    cases.sort();
    assert!(cases.len() > 50, "{}", cases.len());
    let results = std::thread::scope(|scope| {
        worlds
            .each_ref()
            .map(|world| {
                let cases = &cases;
                scope.spawn(move || build_all(world, cases))
            })
            .map(|thread| thread.join().expect("no panic"))
    });
    let built = results[0].iter().filter(|result| result.starts_with("Some(0)")).count();
    assert!(built > 30, "only {built} of {} build", cases.len());
    for (case, (mounted, unpacked)) in cases.iter().zip(results[0].iter().zip(&results[1])) {
        assert_eq!(mounted, unpacked, "{}", case.display());
    }
}

fn build_all(world: &World, cases: &[PathBuf]) -> Vec<String> {
    world.ok(&["tag", "box:1", "conform-base:1"]);
    let build = |case: &PathBuf| {
        let context = case.to_str().expect("UTF-8");
        let mut command = world.command(&["build", "-q", context]);
        text(&command.env("SOURCE_DATE_EPOCH", "1700000000").output().expect("strata starts"))
    };
    cases.iter().map(build).collect()
}

/// What steps do to files of the layers below, as layers: the kernel writes it down in the upper directory of an overlay
/// on mounted or on unpacked layers.
#[test]
fn image_ids_of_steps_that_run() {
    let Some(worlds) = worlds("image_ids_of_steps_that_run") else { return };
    let dockerfile = b"FROM box:1 AS first
COPY --chown=bob . /app/
RUN rm /data/seed; rm -r /app/sub; mkdir /app/sub; echo new > /app/sub/new; touch -d @1 /app/sub/new /app/sub /app /data
RUN busybox ln /app/a /app/hard; busybox mkfifo /app/fifo; busybox chmod 4711 /etc/group; touch -d @2 /app/fifo /app /etc
RUN busybox mv /app/a /app/b; echo more >> /app/b; busybox chown 7:8 /app/b; touch -d @3 /app/b /app
WORKDIR /app/new
FROM box:1
COPY --from=first /app /copied
RUN rm -r /copied/sub /bin/wc; touch -d @4 /copied /bin
";
    let results = worlds.each_ref().map(|world| {
        world.file("ctx/Dockerfile", dockerfile);
        world.file("ctx/a", b"a\n");
        world.file("ctx/sub/old", b"old\n");
        for name in ["ctx/a", "ctx/sub/old", "ctx/sub", "ctx/Dockerfile", "ctx"] {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
            let file = fs_err::File::open(world.path(name)).expect("written").into_parts().0;
            file.set_modified(time).expect("a time");
        }
        let build = |target: &[&str]| {
            let line = [&["build", "-q", "--network", "none"], target, &["ctx"]].concat();
            let output = world.command(&line).env("SOURCE_DATE_EPOCH", "1700000000").output();
            text(&output.expect("strata starts"))
        };
        [build(&["--target", "first"]), build(&["-t", "last"])]
    });
    assert!(results[0].iter().all(|result| result.starts_with("Some(0)")), "{results:?}");
    assert_eq!(results[0], results[1]);
}

/// The commands that depend on how layers are shown give the same output in both modes.
#[test]
fn the_same_output_in_both_modes() {
    let Some(worlds) = worlds("the_same_output_in_both_modes") else { return };
    let transcripts = worlds.each_ref().map(|world| {
        world.file(
            "ctx/Dockerfile",
            b"FROM box:1\nCOPY a /app/a\nVOLUME /app\nRUN echo 1 > /one; rm /data/seed\n",
        );
        world.file("ctx/a", b"a\n");
        let script = "echo changed >> /one; rm /etc/group; mkdir /new; echo ran";
        world.transcript(&[
            "build -q --network none -t app ctx",
            "history --format '{{.CreatedBy}} {{.Size}}' app",
            &format!("run --name kept --network none app sh -c '{script}'"),
            "diff kept",
            "ps -a -s --format '{{.Names}} {{.Size}}'",
            "run --rm --network none -v filled:/app app sh -c 'ls -l /app /data | tr -s \" \"'",
            "run --rm --network none --read-only app touch /x",
            "run --rm --network none -u bob app sh -c 'touch /data/mine; ls /data'",
            "save -o app.tar app",
            "rm -v kept",
            "rmi app",
            "load -i app.tar",
            "run --rm --network none app cat /one",
            "build -q --no-cache --network none -o out ctx",
            "system df --format '{{.Type}} {{.TotalCount}} {{.Size}}'",
            "system fsck -q",
        ])
    });
    assert!(!transcripts[0].contains("[exit 125]"), "{}", transcripts[0]);
    assert_eq!(transcripts[0], transcripts[1]);
}
