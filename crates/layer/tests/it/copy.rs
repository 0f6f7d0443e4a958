//! COPY, case by case: what BuildKit does with the same input (`spec/build.md` 2 and 8).
use crate::scene::{CREATED, Copy, Scene, difference, listing};
use std::sync::Arc;
use strata_layer::copy::{CopyError, owner, workdir};
use strata_layer::tree::InlineFiles;

#[track_caller]
fn assert_changes(scene: &mut Scene, context: &str, copy: &Copy<'_>, expected: &[&str]) {
    let context = scene.path(context);
    let changes = scene.copy(&context, copy).unwrap();
    assert_eq!(changes, expected);
}

#[track_caller]
fn assert_refused(scene: &mut Scene, context: &str, copy: &Copy<'_>, message: &str) {
    let context = scene.path(context);
    assert_eq!(scene.copy(&context, copy).unwrap_err().to_string(), message);
}

#[test]
fn a_directory_is_copied_as_its_contents() {
    let mut scene = Scene::new();
    scene
        .tree("ctx", "mkdir -p d/sub d/.hid; echo a > d/a; echo b > d/sub/b; echo c > d/.hid/c; chmod 700 d");
    let expected = |name: &str| {
        vec![
            format!("{name} 0755 0:0 dir"),
            format!("{name}/.hid 0755 0:0 dir"),
            format!("{name}/.hid/c 0644 0:0 file \"c\\n\""),
            format!("{name}/a 0644 0:0 file \"a\\n\""),
            format!("{name}/sub 0755 0:0 dir"),
            format!("{name}/sub/b 0644 0:0 file \"b\\n\""),
        ]
    };
    let context = scene.path("ctx");
    for (from, to, name) in [("d", "/x", "x"), ("d/", "/y/", "y"), ("d/.", "/z", "z"), ("./d", "/v/.", "v")] {
        assert_eq!(scene.copy(&context, &Copy::new(&[from], to)).unwrap(), expected(name), "{from} {to}");
    }
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["/../d/sub"], "/w/"),
        &["w 0755 0:0 dir", "w/b 0644 0:0 file \"b\\n\""],
    );
}

#[test]
fn octal_modes_reach_files_directories_and_new_parents() {
    let mut scene = Scene::new();
    scene.tree("ctx", "printf f > f; mkdir -p d/x; printf y > d/x/y");
    assert_changes(&mut scene, "ctx", &Copy::new(&["f"], "/f").chmod("600"), &["f 0600 0:0 file \"f\""]);
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/d").chmod("0751"),
        &["d 0751 0:0 dir", "d/x 0751 0:0 dir", "d/x/y 0751 0:0 file \"y\""],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["f"], "/s/f").chmod("4755"),
        &["s 0755 0:0 dir", "s/f 4755 0:0 file \"f\""],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/t").chmod("1777"),
        &["t 0777 0:0 dir", "t/x 1777 0:0 dir", "t/x/y 1777 0:0 file \"y\""],
    );
    assert_changes(&mut scene, "ctx", &Copy::new(&["f"], "/s/g").chmod("0"), &["s/g 0000 0:0 file \"f\""]);
}

#[test]
fn symbolic_modes_leave_new_parents_alone() {
    let mut scene = Scene::new();
    scene.tree(
        "ctx",
        "mkdir -p d/x; printf y > d/x/y; printf r > d/run; chmod 755 d/run; printf f > f; chmod 640 f",
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/b").chmod("a+x,g-r"),
        &["b 0755 0:0 dir", "b/run 0715 0:0 file \"r\"", "b/x 0715 0:0 dir", "b/x/y 0715 0:0 file \"y\""],
    );
    assert_changes(&mut scene, "ctx", &Copy::new(&["f"], "/e").chmod("u+s,o=u"), &["e 4646 0:0 file \"f\""]);
}

#[test]
fn owners_of_files_and_new_parents_not_of_existing_ones() {
    let mut scene = Scene::new();
    scene.base("mkdir -p old");
    scene.tree("ctx", "mkdir d; echo f > d/f; ln -s f d/l");
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/p/q").chown(7, 8),
        &["p 0755 7:8 dir", "p/q 0755 7:8 dir", "p/q/f 0644 7:8 file \"f\\n\"", "p/q/l -> f"],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/old").chown(7, 8),
        &["old/f 0644 7:8 file \"f\\n\"", "old/l -> f"],
    );
    let link = scene.stack().lookup(b"old/l").unwrap().unwrap();
    assert_eq!((link.metadata.uid, link.metadata.gid), (7, 8));
}

#[test]
fn existing_directories_on_top_stay_and_nested_ones_take_the_source() {
    let mut scene = Scene::new();
    scene.base("mkdir -p top/in; chmod 711 top; chmod 700 top/in; touch -d @5 top; echo k > top/in/k");
    scene.tree("ctx", "mkdir -p d/in; chmod 2755 d/in; echo n > d/in/n; touch -d @99.25 d");
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/top"),
        &["top/in 2755 0:0 dir", "top/in/n 0644 0:0 file \"n\\n\""],
    );
    let top = scene.stack().lookup(b"top").unwrap().unwrap().metadata;
    assert_eq!((top.mtime, top.mtime_nsec), (99, 250_000_000));
}

#[test]
fn the_root_is_not_disturbed() {
    let mut scene = Scene::new();
    scene.base("mkdir -p etc usr/local; chmod 700 usr");
    scene.tree("ctx", "mkdir -p r/etc r/new; echo n > r/etc/n; echo x > r/new/x; chmod 700 r");
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["r/"], "/"),
        &["etc/n 0644 0:0 file \"n\\n\"", "new 0755 0:0 dir", "new/x 0644 0:0 file \"x\\n\""],
    );
}

#[test]
fn source_links_are_followed_when_named_and_kept_inside() {
    let mut scene = Scene::new();
    scene.tree(
        "ctx",
        "echo f > f; mkdir real d; echo in > real/in; ln -s f lf; ln -s real ld; ln -s /real abs; ln -s lf chain
         ln -s ../../../etc/passwd out; echo k > d/k; ln -s ../f d/up; ln -s nothing d/dangling",
    );
    assert_changes(&mut scene, "ctx", &Copy::new(&["lf"], "/lf"), &["lf 0644 0:0 file \"f\\n\""]);
    assert_changes(&mut scene, "ctx", &Copy::new(&["chain"], "/c"), &["c 0644 0:0 file \"f\\n\""]);
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["abs"], "/ld"),
        &["ld 0755 0:0 dir", "ld/in 0644 0:0 file \"in\\n\""],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/d"),
        &["d 0755 0:0 dir", "d/dangling -> nothing", "d/k 0644 0:0 file \"k\\n\"", "d/up -> ../f"],
    );
    assert_changes(&mut scene, "ctx", &Copy::new(&["ld/in"], "/in"), &["in 0644 0:0 file \"in\\n\""]);
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["l*"], "/two/"),
        &["two 0755 0:0 dir", "two/in 0644 0:0 file \"in\\n\"", "two/lf 0644 0:0 file \"f\\n\""],
    );
    // The context's own root is the end of every way up.
    assert_refused(&mut scene, "ctx", &Copy::new(&["out"], "/"), "\"/out\": not found");
}

#[test]
fn destination_links_are_followed_inside_the_root() {
    let mut scene = Scene::new();
    scene.base(
        "mkdir etc d; ln -s ../../../../etc up; ln -s / slash; ln -s /d/../../etc d/e; ln -s ../tmp/x gone
         ln -s loop loop; ln -s etc/conf final",
    );
    scene.tree("ctx", "echo f > f; mkdir s; echo f > s/up; mkdir -p t/up");
    assert_changes(&mut scene, "ctx", &Copy::new(&["f"], "/up/1"), &["etc/1 0644 0:0 file \"f\\n\""]);
    assert_changes(&mut scene, "ctx", &Copy::new(&["f"], "/slash/2"), &["2 0644 0:0 file \"f\\n\""]);
    assert_changes(&mut scene, "ctx", &Copy::new(&["f"], "/d/e/3"), &["etc/3 0644 0:0 file \"f\\n\""]);
    assert_changes(&mut scene, "ctx", &Copy::new(&["f"], "/../../up/"), &["etc/f 0644 0:0 file \"f\\n\""]);
    assert_changes(&mut scene, "ctx", &Copy::new(&["f"], "/final"), &["etc/conf 0644 0:0 file \"f\\n\""]);
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["f"], "/gone/"),
        &["tmp 0755 0:0 dir", "tmp/x 0755 0:0 dir", "tmp/x/f 0644 0:0 file \"f\\n\""],
    );
    assert_refused(
        &mut scene,
        "ctx",
        &Copy::new(&["f"], "/loop/"),
        "/loop/: too many levels of symbolic links",
    );
    // Below the destination a file replaces a link, and a directory refuses one.
    assert_refused(&mut scene, "ctx", &Copy::new(&["t"], "/"), "cannot copy to non-directory: /up");
    assert_changes(&mut scene, "ctx", &Copy::new(&["s"], "/"), &["up 0644 0:0 file \"f\\n\""]);
}

#[test]
fn conflicts_are_refused_in_buildkits_words() {
    let mut scene = Scene::new();
    scene.base("touch f; mkdir -p m/x n/s/x");
    scene.tree(
        "ctx",
        "mkdir d; echo x > d/x; echo g > g; mkdir -p many/s; touch many/a many/s/a many/s/w many/s/x",
    );
    assert_refused(&mut scene, "ctx", &Copy::new(&["d"], "/f"), "cannot copy to non-directory: /f");
    assert_refused(&mut scene, "ctx", &Copy::new(&["g"], "/f/"), "cannot copy to non-directory: /f");
    assert_refused(&mut scene, "ctx", &Copy::new(&["g"], "/f/deep/er"), "cannot copy to non-directory: /f");
    assert_refused(&mut scene, "ctx", &Copy::new(&["d"], "/m"), "cannot replace to directory /m/x with file");
    // Also behind files of the same directory that have no conflict.
    assert_refused(
        &mut scene,
        "ctx",
        &Copy::new(&["many"], "/n"),
        "cannot replace to directory /n/s/x with file",
    );
    assert_refused(
        &mut scene,
        "ctx",
        &Copy::new(&["many/s"], "/m"),
        "cannot replace to directory /m/x with file",
    );
    assert_refused(
        &mut scene,
        "ctx",
        &Copy::new(&["many/s", "d"], "/m"),
        "cannot replace to directory /m/x with file",
    );
    assert_refused(&mut scene, "ctx", &Copy::new(&["nothere"], "/x"), "\"/nothere\": not found");
    assert_refused(&mut scene, "ctx", &Copy::new(&["g/below"], "/x"), "\"/g/below\": not found");
    assert_refused(&mut scene, "ctx", &Copy::new(&["a[b"], "/x"), "syntax error in pattern \"a[b\"");
}

#[test]
fn wildcards() {
    let mut scene = Scene::new();
    scene.tree(
        "ctx",
        "mkdir p1 p2 .dd; echo x > p1/x; echo y > p2/y; echo f > p3; echo t > .top; echo i > .dd/in
         echo 0 > 'arr[0]'; echo q > 'q?'; echo qx > qx; echo 'b' > 'b\\*'; ln -s p1 lp",
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["p*"], "/o/"),
        &[
            "o 0755 0:0 dir",
            "o/p3 0644 0:0 file \"f\\n\"",
            "o/x 0644 0:0 file \"x\\n\"",
            "o/y 0644 0:0 file \"y\\n\"",
        ],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&[".*"], "/dots/"),
        &["dots 0755 0:0 dir", "dots/.top 0644 0:0 file \"t\\n\"", "dots/in 0644 0:0 file \"i\\n\""],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["arr[[]0]"], "/e/"),
        &["e 0755 0:0 dir", "e/arr[0] 0644 0:0 file \"0\\n\""],
    );
    // An escape alone makes no pattern: the name as written, or without the escape.
    assert_changes(&mut scene, "ctx", &Copy::new(&["q\\?"], "/e/"), &["e/q? 0644 0:0 file \"q\\n\""]);
    assert_changes(&mut scene, "ctx", &Copy::new(&["b\\*"], "/e/"), &["e/b\\* 0644 0:0 file \"b\\n\""]);
    assert_changes(&mut scene, "ctx", &Copy::new(&["p?/x"], "/e/"), &["e/x 0644 0:0 file \"x\\n\""]);
    assert_changes(&mut scene, "ctx", &Copy::new(&["none*", "p1/none*", "p3/*"], "/k/"), &[]);
    // Where matches would be must be there, as BuildKit walks it.
    assert_refused(&mut scene, "ctx", &Copy::new(&["no/such/*"], "/k/"), "\"/no/such\": not found");
    assert_changes(&mut scene, "ctx", &Copy::new(&["no*/such/*"], "/k/"), &[]);
    // Directories on the way to a match are real ones; a match itself may be a link.
    assert_changes(&mut scene, "ctx", &Copy::new(&["l*/x"], "/l/"), &[]);
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["lp/*", "l?"], "/l/"),
        &["l 0755 0:0 dir", "l/x 0644 0:0 file \"x\\n\""],
    );
    // `!` is a character like others; only `^` negates.
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["[!a-o]?"], "/bang/"),
        &["bang 0755 0:0 dir", "bang/x 0644 0:0 file \"x\\n\""],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["[^a-o.]?"], "/neg/"),
        &[
            "neg 0755 0:0 dir",
            "neg/p3 0644 0:0 file \"f\\n\"",
            "neg/q? 0644 0:0 file \"q\\n\"",
            "neg/qx 0644 0:0 file \"qx\\n\"",
            "neg/x 0644 0:0 file \"x\\n\"",
            "neg/y 0644 0:0 file \"y\\n\"",
        ],
    );
}

#[test]
fn later_sources_win_and_a_missing_directory_is_no_directory() {
    let mut scene = Scene::new();
    scene.tree("ctx", "echo a > a; echo b > b; mkdir d e; echo 1 > d/f; echo 2 > e/f; echo e > e/g");
    assert_changes(&mut scene, "ctx", &Copy::new(&["a", "b"], "/dst"), &["dst 0644 0:0 file \"b\\n\""]);
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d", "e", "a"], "/m"),
        &[
            "m 0755 0:0 dir",
            "m/a 0644 0:0 file \"a\\n\"",
            "m/f 0644 0:0 file \"2\\n\"",
            "m/g 0644 0:0 file \"e\\n\"",
        ],
    );
    assert_changes(&mut scene, "ctx", &Copy::new(&["d", "e", "a"], "/m"), &[]);
}

#[test]
fn excluded_names() {
    let mut scene = Scene::new();
    scene.tree("ctx", "mkdir -p d/sub/tmp; touch d/a.txt d/x.log d/sub/y.log d/sub/tmp/z b.txt");
    let log = |path: &str| path.ends_with(".log") || path.ends_with("tmp");
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/o").exclude(log),
        &["o 0755 0:0 dir", "o/a.txt 0644 0:0 file \"\"", "o/sub 0755 0:0 dir"],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/p").exclude(|path| path == "sub"),
        &["p 0755 0:0 dir", "p/a.txt 0644 0:0 file \"\"", "p/x.log 0644 0:0 file \"\""],
    );
    assert_changes(&mut scene, "ctx", &Copy::new(&["d"], "/q").exclude(|_| true), &["q 0755 0:0 dir"]);
    assert_changes(&mut scene, "ctx", &Copy::new(&["b*"], "/q/").exclude(|path| path == "b.txt"), &[]);
}

#[test]
fn parents_are_kept_with_their_metadata() {
    let mut scene = Scene::new();
    scene.tree("ctx", "mkdir -p p/q/r; echo f > p/q/f; echo g > p/q/r/g; chmod 700 p; chmod 2755 p/q");
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["p/q/f"], "/o/").parents().chown(1000, 50),
        &[
            "o 0755 1000:50 dir",
            "o/p 0700 1000:50 dir",
            "o/p/q 2755 1000:50 dir",
            "o/p/q/f 0644 1000:50 file \"f\\n\"",
        ],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["p/./q/r"], "/v/").parents(),
        &["v 0755 0:0 dir", "v/q 2755 0:0 dir", "v/q/r 0755 0:0 dir", "v/q/r/g 0644 0:0 file \"g\\n\""],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["**/g"], "/w/").parents(),
        &[
            "w 0755 0:0 dir",
            "w/p 0700 0:0 dir",
            "w/p/q 2755 0:0 dir",
            "w/p/q/r 0755 0:0 dir",
            "w/p/q/r/g 0644 0:0 file \"g\\n\"",
        ],
    );
    assert_refused(&mut scene, "ctx", &Copy::new(&["p/no"], "/x/").parents(), "\"/p/no\": not found");
    assert_changes(&mut scene, "ctx", &Copy::new(&["p/no*"], "/x/").parents(), &["x 0755 0:0 dir"]);
}

#[test]
fn pivots_of_all_kinds() {
    let mut scene = Scene::new();
    scene.tree(
        "ctx",
        "mkdir -p p/q/r s/q; echo f > p/q/f; echo g > p/q/r/g; echo h > s/q/f2; echo t > top; ln -s p lp",
    );
    // Every directory that the wildcard before the pivot matches is a root of its own; a file stands for itself.
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["[ps]/./q/f*"], "/a/").parents(),
        &[
            "a 0755 0:0 dir",
            "a/q 0755 0:0 dir",
            "a/q/f 0644 0:0 file \"f\\n\"",
            "a/q/f2 0644 0:0 file \"h\\n\"",
        ],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["t*/./x"], "/b/").parents(),
        &["b 0755 0:0 dir", "b/top 0644 0:0 file \"t\\n\""],
    );
    assert_changes(&mut scene, "ctx", &Copy::new(&["no*/./x"], "/c/").parents(), &[]);
    // Only the first pivot is one; one with nothing behind it is none.
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["p/./q/./r"], "/d/").parents(),
        &["d 0755 0:0 dir", "d/q 0755 0:0 dir", "d/q/r 0755 0:0 dir", "d/q/r/g 0644 0:0 file \"g\\n\""],
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["s/."], "/e/").parents(),
        &["e 0755 0:0 dir", "e/s 0755 0:0 dir", "e/s/q 0755 0:0 dir", "e/s/q/f2 0644 0:0 file \"h\\n\""],
    );
    // A link before the pivot is followed.
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["lp/./q/f"], "/g/").parents(),
        &["g 0755 0:0 dir", "g/q 0755 0:0 dir", "g/q/f 0644 0:0 file \"f\\n\""],
    );
    assert_refused(&mut scene, "ctx", &Copy::new(&["no/./q*"], "/x/").parents(), "\"/no\": not found");
}

#[test]
fn link_looks_at_nothing_below() {
    let mut scene = Scene::new();
    scene.base("mkdir real; ln -s real ln");
    scene.tree("ctx", "printf f > f");
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["f"], "/ln/f").link(),
        &["ln 0755 0:0 dir", "ln/f 0644 0:0 file \"f\""],
    );
}

#[test]
fn special_files_and_hard_links() {
    if !crate::scene::is_root() {
        return;
    }
    let mut scene = Scene::new();
    scene.tree(
        "ctx",
        "mkdir d; mkfifo -m 600 d/p; mknod d/n c 1 3; mknod d/b b 7 9; echo h > d/h1; ln d/h1 d/h2; chmod 4755 d/h1
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"d/sock\")'; chown 5:6 d/p",
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["d"], "/d"),
        &[
            "d 0755 0:0 dir",
            "d/b 0644 0:0 BlockDevice (7, 9)",
            "d/h1 4755 0:0 file \"h\\n\" =d/h1",
            "d/h2 4755 0:0 file \"h\\n\" =d/h1",
            "d/n 0644 0:0 CharDevice (1, 3)",
            "d/p 0600 0:0 fifo",
            "d/sock 0755 0:0 file \"\"",
        ],
    );
    // From a stage, links stay links and owners stay.
    let stage = scene.stack();
    let mut copied = Scene::new();
    copied.copy_tree(Arc::new(stage.clone()), &Copy::new(&["d"], "/d")).unwrap();
    assert_eq!(listing(&copied.stack()), listing(&stage));
}

#[test]
fn attributes_are_copied() {
    if !crate::scene::is_root() {
        return;
    }
    let mut scene = Scene::new();
    scene.tree(
        "ctx",
        "mkdir d; echo f > d/f; python3 -c 'import os
os.setxattr(\"d/f\", \"user.note\", b\"x\")
os.setxattr(\"d\", \"user.dir\", b\"y\")
os.setxattr(\"d/f\", \"security.capability\", bytes.fromhex(\"0100000200040000000000000000000000000000\"))'",
    );
    assert_changes(
        &mut scene,
        "ctx",
        &Copy::new(&["."], "/c"),
        &[
            "c 0755 0:0 dir",
            "c/d 0755 0:0 dir user.dir",
            "c/d/f 0644 0:0 file \"f\\n\" security.capability user.note",
        ],
    );
}

#[test]
fn names_of_all_kinds() {
    let mut scene = Scene::new();
    scene.tree(
        "ctx",
        "mkdir d; touch 'd/sp ace' \"d/$(printf 'new\\nline')\" \"d/$(printf '\\377x')\" 'd/%C3%A4' d/-x 'd/$H'; touch .wh.x",
    );
    let context = scene.path("ctx");
    assert_eq!(scene.copy(&context, &Copy::new(&["d"], "/d")).unwrap().len(), 7);
    assert!(scene.stack().lookup(b"d/\xffx").unwrap().is_some());
    assert!(scene.stack().lookup(b"d/%C3%A4").unwrap().is_some());
    let refused = scene.copy(&context, &Copy::new(&["."], "/all")).unwrap_err();
    assert!(matches!(refused, CopyError::WhiteoutName(_)), "{refused}");
}

#[test]
fn files_in_memory() {
    let mut scene = Scene::new();
    let files =
        InlineFiles::new([(b"RAW".to_vec(), b"raw\n".to_vec()), (b"E".to_vec(), Vec::new())], CREATED);
    let changes = scene.copy_tree(Arc::new(files), &Copy::new(&["RAW", "E"], "/two/")).unwrap();
    assert_eq!(changes, ["two 0755 0:0 dir", "two/E 0644 0:0 file \"\"", "two/RAW 0644 0:0 file \"raw\\n\""]);
}

#[test]
fn working_directories() {
    let mut scene = Scene::new();
    scene.base("mkdir -p a; chmod 700 a; ln -s a l; ln -s x/y dangling; touch f");
    let mut make = |path: &[u8], expected: &[&str]| {
        let below = scene.stack();
        let info = scene.add(|builder| workdir(&below, path, (1000, 50), CREATED, builder)).unwrap();
        assert_eq!(difference(&below, &scene.stack()), expected);
        info
    };
    let info = make(b"/a", &[]);
    assert_eq!(info.diff_id.hex(), "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
    make(b"/a/b/c/", &["a/b 0755 1000:50 dir", "a/b/c 0755 1000:50 dir"]);
    make(b"/l/d", &["a/d 0755 1000:50 dir"]);
    make(b"/dangling", &["x 0755 1000:50 dir", "x/y 0755 1000:50 dir"]);
    make(b"/", &[]);
    let below = scene.stack();
    let refused = scene.add(|builder| workdir(&below, b"/f/g", (0, 0), CREATED, builder)).unwrap_err();
    assert_eq!(refused.to_string(), "cannot copy to non-directory: /f");
}

#[test]
fn owners_by_name() {
    let mut scene = Scene::new();
    scene.base(
        "mkdir etc; printf 'root:x:0:0::/:\\napp:x:1000:1001:app:/home:\\n' > etc/real; ln -s /etc/real etc/passwd
         printf 'staff:x:50:app\\n' > etc/group",
    );
    let stack = scene.stack();
    for (text, expected) in [
        ("app", (1000, 1001)),
        ("app:staff", (1000, 50)),
        ("app:", (1000, 0)),
        ("7", (7, 7)),
        ("7:8", (7, 8)),
        ("7:staff", (7, 50)),
        (":staff", (0, 50)),
    ] {
        let found = owner(Some(&stack), text).unwrap();
        assert_eq!((found.ids, found.unknown.len()), (expected, 0), "{text}");
    }
    for (text, expected, told) in [
        ("ghost", (0, 0), &["user ghost"][..]),
        ("app:ghosts", (1000, 1001), &["group ghosts"]),
        ("ghost:staff", (0, 50), &["user ghost"]),
        ("ghost:ghosts", (0, 0), &["user ghost", "group ghosts"]),
    ] {
        let found = owner(Some(&stack), text).unwrap();
        assert_eq!(found.ids, expected, "{text}");
        assert_eq!(found.unknown.len(), told.len(), "{text}");
        for (sentence, name) in found.unknown.iter().zip(told) {
            assert!(
                sentence.starts_with(&format!("unable to find {name}: no matching entries")),
                "{sentence}"
            );
        }
    }
    assert_eq!(owner(None, "7:8").unwrap().ids, (7, 8));
    assert_eq!(owner(None, "root:root").unwrap().ids, (0, 0), "root needs no file");
    let refused = owner(None, "7:app").unwrap_err().to_string();
    assert!(refused.starts_with("invalid user index: -1: \"7:app\" is a name"), "{refused}");
}
