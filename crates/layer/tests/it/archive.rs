//! ADD of archives: what Docker's extraction gives (`spec/build.md` 2.6, cases 15 to 18).
use crate::scene::{Copy, Scene, listing};

/// Python's tarfile writes what GNU tar cannot be talked into.
const MAKE: &str = r#"
import io, sys, tarfile
def make(name, mode, *members):
    with tarfile.open(name, mode, format=tarfile.PAX_FORMAT) as t:
        for path, data, kw in members:
            i = tarfile.TarInfo(path); i.mtime = 1234567890; i.mode = 0o644
            for k, v in kw.items(): setattr(i, k, v)
            if data is None: t.addfile(i)
            else:
                i.size = len(data); t.addfile(i, io.BytesIO(data))
D, L, H, F = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE
"#;

fn context(scene: &Scene, members: &str) {
    let script = format!("cat > make.py <<'PY'\n{MAKE}\n{members}\nPY\npython3 make.py; rm make.py");
    scene.tree("ctx", &script);
}

#[track_caller]
fn assert_added(scene: &mut Scene, mut copy: Copy<'_>, expected: &[&str]) {
    copy.select.unpack = true;
    let context = scene.path("ctx");
    assert_eq!(scene.copy(&context, &copy).unwrap(), expected);
}

#[test]
fn a_plain_tar_with_links_and_missing_parents() {
    let mut scene = Scene::new();
    context(
        &scene,
        r#"make("a.tar", "w", ("top/", None, dict(type=D, mode=0o750, uid=12, gid=34)),
            ("top/f", b"in tar\n", dict(mode=0o4711, uid=1000, gid=50)),
            ("top/l", None, dict(type=L, linkname="f")), ("top/h", None, dict(type=H, linkname="top/f")),
            ("noparent/deep/x", b"x\n", {}), ("./dotted", b"d\n", {}))"#,
    );
    let expected = [
        "x 0755 0:0 dir",
        "x/dotted 0644 0:0 file \"d\\n\"",
        "x/noparent 0755 0:0 dir",
        "x/noparent/deep 0755 0:0 dir",
        "x/noparent/deep/x 0644 0:0 file \"x\\n\"",
        "x/top 0750 12:34 dir",
        // The hard link's header overwrote what the file's own said.
        "x/top/f 0644 0:0 file \"in tar\\n\" =x/top/f",
        "x/top/h 0644 0:0 file \"in tar\\n\" =x/top/f",
        "x/top/l -> f",
    ];
    assert_added(&mut scene, Copy::new(&["a.tar"], "/x"), &expected);
    let file = scene.stack().lookup(b"x/top/f").unwrap().unwrap();
    assert_eq!(file.metadata.mtime, 1_234_567_890);
    // COPY, and ADD --unpack=false, keep it packed.
    let context = scene.path("ctx");
    assert!(
        scene.copy(&context, &Copy::new(&["a.tar"], "/packed.tar")).unwrap()[0]
            .starts_with("packed.tar 0644")
    );
}

#[test]
fn compression_is_judged_by_content() {
    let mut scene = Scene::new();
    context(
        &scene,
        r#"make("plain", "w", ("p", b"p", {})); make("a.txt", "w:gz", ("g", b"g", {}))
make("b.gz", "w:bz2", ("b", b"b", {})); make("c.tar", "w:xz", ("x", b"x", {}))
open("no.tar", "w").write("I am no tar\n"); open("empty.tar.gz", "w").close()
import gzip; gzip.open("plain.gz", "w").write(b"not a tar at all\n")"#,
    );
    // The listing shows contents as text; a gzip stream is none, and has its length instead.
    let packed =
        format!("m/plain.gz 0644 0:0 file {} bytes", fs_err::read(scene.path("ctx/plain.gz")).unwrap().len());
    assert_added(
        &mut scene,
        Copy::new(&["*"], "/m"),
        &[
            "m 0755 0:0 dir",
            "m/b 0644 0:0 file \"b\"",
            "m/empty.tar.gz 0644 0:0 file \"\"",
            "m/g 0644 0:0 file \"g\"",
            "m/no.tar 0644 0:0 file \"I am no tar\\n\"",
            "m/p 0644 0:0 file \"p\"",
            // What is no tar stays as it is, compressed or not.
            &packed,
            "m/x 0644 0:0 file \"x\"",
        ],
    );
}

#[test]
fn chown_is_for_everything_and_chmod_for_nothing() {
    let mut scene = Scene::new();
    context(
        &scene,
        r#"make("s.tar", "w", ("d/", None, dict(type=D, mode=0o755)), ("d/f", b"f", dict(uid=7, gid=8)))"#,
    );
    assert_added(
        &mut scene,
        Copy::new(&["s.tar"], "/c/").chown(1000, 50),
        &["c 0755 1000:50 dir", "c/d 0755 1000:50 dir", "c/d/f 0644 1000:50 file \"f\""],
    );
    assert_added(
        &mut scene,
        Copy::new(&["s.tar"], "/c").chmod("+x"),
        &["c/d 0755 0:0 dir", "c/d/f 0644 7:8 file \"f\""],
    );
}

#[test]
fn modes_owners_types_and_long_names() {
    let mut scene = Scene::new();
    context(
        &scene,
        r#"make("s.tar", "w", ("s", b"s", dict(mode=0o4711, uid=1000, gid=50)), ("st/", None, dict(type=D, mode=0o3777, gid=50)),
            ("p", None, dict(type=F, mode=0o600)), ("n" * 90 + "/" + "m" * 90 + "/" + "o" * 90, b"long", {}),
            ("lnk", None, dict(type=L, linkname="t" * 120, uid=3)), ("old", b"old", dict(mtime=1, uid=3000000)))"#,
    );
    let (n, m, o, t) = ("n".repeat(90), "m".repeat(90), "o".repeat(90), "t".repeat(120));
    assert_added(
        &mut scene,
        Copy::new(&["s.tar"], "/m/"),
        &[
            "m 0755 0:0 dir",
            &format!("m/lnk -> {t}"),
            &format!("m/{n} 0755 0:0 dir"),
            &format!("m/{n}/{m} 0755 0:0 dir"),
            &format!("m/{n}/{m}/{o} 0644 0:0 file \"long\""),
            "m/old 0644 3000000:0 file \"old\"",
            "m/p 0600 0:0 fifo",
            "m/s 4711 1000:50 file \"s\"",
            "m/st 3777 0:50 dir",
        ],
    );
}

#[test]
fn links_below_lead_nowhere_else() {
    let mut scene = Scene::new();
    scene
        .base("mkdir -p run var dest/in; ln -s /run var/run; ln -s /in dest/abs; ln -s ../../../run dest/up");
    context(
        &scene,
        r#"make("run.tar", "w", ("var/run/pid", b"1", {}))
make("dest.tar", "w", ("abs/f", b"f", {}), ("up/g", b"g", {}), ("l", None, dict(type=L, linkname="/etc")), ("l/h", b"h", {}))
make("out.tar", "w", ("../x", b"x", {}))"#,
    );
    assert_added(&mut scene, Copy::new(&["run.tar"], "/"), &["run/pid 0644 0:0 file \"1\""]);
    // Docker extracts as if the destination were the root.
    assert_added(
        &mut scene,
        Copy::new(&["dest.tar"], "/dest"),
        &[
            "dest/etc 0755 0:0 dir",
            "dest/etc/h 0644 0:0 file \"h\"",
            "dest/in/f 0644 0:0 file \"f\"",
            "dest/l -> /etc",
            "dest/run 0755 0:0 dir",
            "dest/run/g 0644 0:0 file \"g\"",
        ],
    );
    // A first member that leads out is no readable tar: the file is copied.
    let before = listing(&scene.stack());
    let context = scene.path("ctx");
    let mut copy = Copy::new(&["out.tar"], "/o/");
    copy.select.unpack = true;
    let _ = scene.copy(&context, &copy);
    assert!(!listing(&scene.stack()).contains_key("x") && !before.contains_key("x"));
}

#[test]
fn members_replace_what_is_there() {
    let mut scene = Scene::new();
    scene.base("mkdir -p d/s e; echo old > d/old; echo k > e/k; echo f > f; ln -s e l; echo low > low; chmod 600 low");
    context(
        &scene,
        r#"make("a.tar", "w", ("d", b"file now", {}), ("f/", None, dict(type=D, mode=0o755)), ("f/in", b"i", {}),
            ("l/", None, dict(type=D, mode=0o700)), ("twice", b"1", {}), ("twice", b"22", {}),
            ("again", None, dict(type=H, linkname="low", mode=0o640, uid=9)))
make("b.tar", "w", ("d", b"file", {}), ("d/", None, dict(type=D, mode=0o755)), ("d/new", b"n", {}),
            ("e", b"file", {}), ("e/deep/x", b"x", {}))
make("c.tar", "w", ("h", None, dict(type=H, linkname="nothing")))"#,
    );
    let base = scene.layers.clone();
    assert_added(
        &mut scene,
        Copy::new(&["a.tar"], "/"),
        &[
            "d/old gone",
            "d/s gone",
            "again 0640 9:0 file \"low\\n\" =again",
            "d 0644 0:0 file \"file now\"",
            "f 0755 0:0 dir",
            "f/in 0644 0:0 file \"i\"",
            "l 0700 0:0 dir",
            "low 0640 9:0 file \"low\\n\" =again",
            "twice 0644 0:0 file \"22\"",
        ],
    );
    // A directory that was a file in between hides what was in it before.
    scene.layers = base;
    let mut copy = Copy::new(&["b.tar"], "/");
    copy.select.unpack = true;
    let context = scene.path("ctx");
    let error = scene.copy(&context, &copy).unwrap_err();
    assert_eq!(error.to_string(), "cannot copy to non-directory: /e");
    copy.from = &["c.tar"];
    let error = scene.copy(&context, &copy).unwrap_err();
    assert_eq!(error.to_string(), "cannot unpack /c.tar: h is a hard link to nothing, which does not exist");
}

#[test]
fn a_directory_made_again_hides_what_was_in_it() {
    let mut scene = Scene::new();
    scene.base("mkdir -p d/s; echo old > d/old");
    context(
        &scene,
        r#"make("a.tar", "w", ("d", b"file", {}), ("d/", None, dict(type=D, mode=0o755)), ("d/new", b"n", {}))"#,
    );
    assert_added(
        &mut scene,
        Copy::new(&["a.tar"], "/"),
        &["d/old gone", "d/s gone", "d/new 0644 0:0 file \"n\""],
    );
}

#[test]
fn a_directory_with_an_archive_is_copied() {
    let mut scene = Scene::new();
    context(&scene, r#"import os; os.mkdir("d"); make("d/s.tar", "w", ("f", b"x", {}))"#);
    let copy = Copy::new(&["d"], "/d");
    let context = scene.path("ctx");
    let mut add = copy.clone();
    add.select.unpack = true;
    let changes = scene.copy(&context, &add).unwrap();
    assert!(changes.len() == 2 && changes[1].starts_with("d/s.tar 0644"), "{changes:?}");
}

#[test]
fn a_truncated_archive_is_an_error_and_names_itself() {
    let mut scene = Scene::new();
    context(&scene, r#"make("t.tar", "w", ("a", b"a" * 5000, {})); open("t.tar", "r+").truncate(2000)"#);
    let mut copy = Copy::new(&["t.tar"], "/");
    copy.select.unpack = true;
    let context = scene.path("ctx");
    let error = scene.copy(&context, &copy).unwrap_err().to_string();
    assert!(error.starts_with("cannot unpack /t.tar: "), "{error}");
}

#[test]
fn names_that_lead_out_end_at_the_destination() {
    let mut scene = Scene::new();
    context(
        &scene,
        r#"make("a.tar", "w", ("../up", b"u", {}), ("/abs/f", b"a", {}), ("d/../../../deep/x", b"x", {}),
            ("h", None, dict(type=H, linkname="../../up")))"#,
    );
    let expected = [
        "in 0755 0:0 dir",
        "in/abs 0755 0:0 dir",
        "in/abs/f 0644 0:0 file \"a\"",
        "in/deep 0755 0:0 dir",
        "in/deep/x 0644 0:0 file \"x\"",
        "in/h 0644 0:0 file \"u\" =in/h",
        "in/up 0644 0:0 file \"u\" =in/h",
    ];
    assert_added(&mut scene, Copy::new(&["a.tar"], "/in"), &expected);
}

/// What an archive needs is made before anything is copied, and --chmod is not for it; for a file beside it it is.
#[test]
fn the_directory_of_an_archive_is_0755_whatever_chmod_says() {
    let mut scene = Scene::new();
    context(&scene, r#"make("a.tar", "w", ("m", b"m", {})); open("f", "w").write("f")"#);
    let expected =
        ["o 0755 7:8 dir", "o/d 0755 7:8 dir", "o/d/f 0600 7:8 file \"f\"", "o/d/m 0644 7:8 file \"m\""];
    assert_added(&mut scene, Copy::new(&["a.tar", "f"], "/o/d/").chmod("600").chown(7, 8), &expected);
    let expected = ["p 0600 0:0 dir", "p/f 0600 0:0 file \"f\"", "p/m 0644 0:0 file \"m\""];
    assert_added(&mut scene, Copy::new(&["f", "a.tar"], "/p/").chmod("600"), &expected);
}
