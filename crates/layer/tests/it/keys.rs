//! Selections: content keys, and that what was keyed is what is copied.
use crate::scene::{CREATED, Copy, Scene, listing, shell};
use std::path::Path;
use std::sync::Arc;
use strata_layer::context::ContextDir;
use strata_layer::copy::{CopyOptions, SelectOptions, Selection, copy};
use strata_layer::tree::{InlineFiles, SourceTree};

fn select(directory: &Path, paths: &[&str]) -> Selection {
    let context = Arc::new(ContextDir::open(directory, None, None).unwrap());
    let options = SelectOptions { wildcards: true, ..SelectOptions::default() };
    Selection::new(context, paths, options).unwrap()
}

#[test]
fn keys_depend_on_content_and_not_on_time_or_place() {
    let scene = Scene::new();
    let script = "mkdir -p d/sub; echo a > d/a; echo b > d/sub/b; ln -s a d/l; chmod 640 d/a";
    let key = |name: &str, change: &str, path: &str| {
        let tree = scene.tree(name, &format!("{script}; {change}"));
        let context = ContextDir::open(&tree, None, None).unwrap();
        let options = SelectOptions { wildcards: true, ..SelectOptions::default() };
        Selection::new(Arc::new(context), &[path], options).unwrap().digest().unwrap()
    };
    let plain = key("plain", "true", "d");
    for (at, same) in
        ["touch -d @7 d/a d/sub", "chmod 700 d", "ln d/a d/t; rm d/a; mv d/t d/a"].iter().enumerate()
    {
        assert_eq!(key(&format!("same-{at}"), same, "d"), plain, "{same}");
    }
    let changes = [
        "chmod 600 d/a",
        "chmod 700 d/sub",
        "echo A > d/a",
        "mv d/a d/a2",
        "rm d/l; ln -s b d/l",
        "rm d/l",
        "mkdir d/new",
        "rm d/l; mkfifo d/l",
        "rm d/l; cp d/a d/l",
    ];
    let mut seen = vec![plain];
    for (at, change) in changes.iter().enumerate() {
        let changed = key(&format!("other-{at}"), change, "d");
        assert!(!seen.contains(&changed), "{change}");
        seen.push(changed);
    }
    // A file named directly: its name is the step's business, unless a pattern found it.
    assert_eq!(key("file-1", "cp -p d/a f1", "f1"), key("file-2", "cp -p d/a f2", "f2"));
    assert_ne!(key("match-1", "cp -p d/a f1", "f*"), key("match-2", "cp -p d/a f2", "f*"));
}

/// What a context cannot have, a stage can: owners, devices, capabilities.
#[test]
fn keys_of_a_stage_depend_on_owners_attributes_and_devices() {
    if !crate::scene::is_root() {
        return;
    }
    let script = "mkdir d; echo a > d/f; echo b > d/g; mknod d/n c 1 3; chown -R 5:6 d";
    let key = |change: &str| {
        let mut scene = Scene::new();
        scene.base(&format!("{script}; {change}"));
        let stack: Arc<dyn SourceTree> = Arc::new(scene.stack());
        let options = SelectOptions { wildcards: true, ..SelectOptions::default() };
        Selection::new(stack, &["d"], options).unwrap().digest().unwrap()
    };
    let mut seen = vec![key("true")];
    for same in ["touch -d @7 d/f d/n", "chown 9 d", "ln d/f elsewhere"] {
        assert_eq!(key(same), seen[0], "{same}");
    }
    for change in [
        "chown 7 d/f",
        "chgrp 7 d/f",
        "chmod u+s d/f",
        "rm d/n; mknod d/n c 1 5; chown 5:6 d/n",
        "rm d/n; mknod d/n b 1 3; chown 5:6 d/n",
        "setfattr -n user.a -v 1 d/f",
        "setfattr -n user.a -v 1 d/g",
        "setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 d/f",
    ] {
        let changed = key(change);
        assert!(!seen.contains(&changed), "{change}");
        seen.push(changed);
    }
}

#[test]
fn keys_of_a_stage_and_of_its_context_agree() {
    let mut scene = Scene::new();
    let context = scene.tree("ctx", "mkdir -p d/e; echo 1 > d/e/f; ln -s e d/l; chmod 2711 d/e");
    scene.copy(&context, &Copy::new(&["."], "/")).unwrap();
    let digest = |tree: Arc<dyn SourceTree>| {
        Selection::new(tree, &["d"], SelectOptions::default()).unwrap().digest().unwrap()
    };
    let context = ContextDir::open(&context, None, None).unwrap();
    assert_eq!(digest(Arc::new(scene.stack())), digest(Arc::new(context)));
}

#[test]
fn selected_files_are_listed_for_explanations() {
    let scene = Scene::new();
    let tree = scene.tree("ctx", "mkdir d; echo b > d/b; echo a > d/a; echo c > c");
    let context = ContextDir::open(&tree, None, None).unwrap();
    let selection = Selection::new(Arc::new(context), &["d", "c"], SelectOptions::default()).unwrap();
    let mut files: Vec<_> = selection.files().unwrap().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let names: Vec<_> = files.iter().map(|file| std::str::from_utf8(&file.path).unwrap()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(files[0].digest.unwrap().0, *blake3::hash(b"a\n").as_bytes());
}

#[test]
fn a_file_edited_between_key_and_copy_is_refused() {
    let mut scene = Scene::new();
    let tree = scene.tree("ctx", "echo a > a; head -c 3000000 /dev/zero > big");
    for (at, change) in ["echo b > a", "printf x | dd of=big conv=notrunc status=none"].iter().enumerate() {
        let selection = select(&tree, &["a", "big"]);
        selection.digest().unwrap();
        shell(&tree, change);
        let result = scene.add(|builder| copy(&[selection], None, b"/x/", &CopyOptions::default(), builder));
        let error = result.unwrap_err().to_string();
        let name = ["/a", "/big"][at];
        assert!(error.starts_with(name) && error.contains("changed while"), "{error}");
    }
}

#[test]
fn the_same_input_gives_the_same_tar() {
    let script =
        "mkdir -p d/e; for i in $(seq 300); do echo $i > d/f$i; done; head -c 2500000 /dev/zero > d/e/big
        ln d/f1 d/e/hard; touch -d @1000.5 d/e/* d/* d/e d";
    let mut seen = Vec::new();
    for with_key in [false, true] {
        let mut scene = Scene::new();
        scene.base("mkdir -p srv; ln -s srv app; touch -d @7 srv; touch -h -d @7 app");
        let below = scene.stack();
        let selection = select(&scene.tree("ctx", script), &["d"]);
        if with_key {
            selection.digest().unwrap();
        }
        let inline = Arc::new(InlineFiles::new([(b"h".to_vec(), b"here\n".to_vec())], CREATED));
        let inline = Selection::new(inline, &["h"], SelectOptions::default()).unwrap();
        let options = CopyOptions { created: CREATED, ..CopyOptions::default() };
        let selections = [selection, inline];
        let info =
            scene.add(|builder| copy(&selections, Some(&below), b"/app/x/", &options, builder)).unwrap();
        assert_eq!(listing(&scene.stack())["srv/x/h"], "0644 0:0 file \"here\\n\"");
        // What was read for the copy need not be read again for the key.
        let keys: Vec<_> = selections.iter().map(|selection| selection.digest().unwrap()).collect();
        seen.push((info, keys));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_copied_file_is_known_to_the_stat_cache() {
    let mut scene = Scene::new();
    let tree = scene.tree("ctx", "echo a > a; echo b > b");
    let cache = scene.path("cache");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let context = Arc::new(ContextDir::open(&tree, None, Some(&cache)).unwrap());
    scene.copy_tree(context.clone(), &Copy::new(&["."], "/")).unwrap();
    context.save().unwrap();
    let again = Arc::new(ContextDir::open(&tree, None, Some(&cache)).unwrap());
    Selection::new(again.clone(), &["."], SelectOptions::default()).unwrap().digest().unwrap();
    assert_eq!(again.hashed_files(), 0);
}
