//! Contexts read in place: the stat cache, the ignore filter, edits and escapes.
use crate::scene::{Scene, shell};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use strata_layer::context::ContextDir;
use strata_layer::copy::{SelectOptions, Selection};
use strata_layer::tree::{Filter, SourceTree, Verdict};
use strata_layer::{ContentDigest, LayerError};

/// Long enough for the stat cache to trust what was written before.
const SETTLED: Duration = Duration::from_millis(2_100);

/// Selects everything with a stat cache; the digest, and how many files were read for it.
fn digest(directory: &Path, cache: &Path) -> (ContentDigest, usize) {
    let context = Arc::new(ContextDir::open(directory, None, Some(cache)).unwrap());
    let selection = Selection::new(context.clone(), &["."], SelectOptions::default()).unwrap();
    let digest = selection.digest().unwrap();
    context.save().unwrap();
    (digest, context.hashed_files())
}

#[test]
fn unchanged_files_are_not_read_again() {
    let scene = Scene::new();
    let tree = scene.tree("ctx", "mkdir d; echo 1 > a; echo 2 > d/b; echo 3 > d/c; ln -s a l");
    let cache = scene.path("cache");
    std::thread::sleep(SETTLED);
    let (first, read) = digest(&tree, &cache);
    assert_eq!(read, 3);
    assert_eq!(digest(&tree, &cache), (first, 0));
    // Times alone cost a reading, not another key.
    shell(&tree, "touch -d @5 a");
    assert_eq!(digest(&tree, &cache), (first, 1));
    // The same size and mtime do not hide an edit: ctime and inode tell.
    shell(&tree, "cp -p d/b keep; printf '7\\n' > d/b; touch -r keep d/b; rm keep");
    let (changed, read) = digest(&tree, &cache);
    assert!(changed != first && read >= 1);
    shell(&tree, "cp -p d/c d/x; mv d/x d/c");
    assert_eq!(digest(&tree, &cache).0, changed);
}

#[test]
fn a_file_written_just_now_is_never_trusted() {
    let scene = Scene::new();
    let tree = scene.tree("ctx", "true");
    let cache = scene.path("cache");
    let mut seen = Vec::new();
    // Many edits within one tick of the kernel's clock, all of one size.
    for round in 0..200u32 {
        fs_err::write(tree.join("f"), format!("{round:06}")).unwrap();
        let (digest, read) = digest(&tree, &cache);
        assert_eq!(read, 1, "round {round}");
        assert!(!seen.contains(&digest), "round {round}");
        seen.push(digest);
    }
}

#[test]
fn a_damaged_cache_is_an_empty_one() {
    let scene = Scene::new();
    let tree = scene.tree("ctx", "for i in 1 2 3 4 5; do echo $i > f$i; done");
    let cache = scene.path("cache");
    std::thread::sleep(SETTLED);
    let (expected, _) = digest(&tree, &cache);
    let good = fs_err::read(&cache).unwrap();
    let mut damaged: Vec<Vec<u8>> =
        (0..good.len()).step_by(17).map(|length| good[..length].to_vec()).collect();
    damaged.extend((0..good.len()).step_by(13).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        bytes
    }));
    damaged.push(vec![0xff; 4096]);
    for bytes in damaged {
        fs_err::write(&cache, &bytes).unwrap();
        assert_eq!(digest(&tree, &cache), (expected, 5));
        assert_eq!(fs_err::read(&cache).unwrap(), good, "written again, the same");
    }
}

#[test]
fn what_is_gone_leaves_the_cache_and_what_was_not_looked_at_stays() {
    let scene = Scene::new();
    let tree = scene.tree("ctx", "mkdir d e; echo 1 > d/a; echo 2 > d/b; echo 3 > e/c");
    let cache = scene.path("cache");
    std::thread::sleep(SETTLED);
    digest(&tree, &cache);
    let whole = fs_err::metadata(&cache).unwrap().len();
    shell(&tree, "rm d/b");
    let context = Arc::new(ContextDir::open(&tree, None, Some(&cache)).unwrap());
    Selection::new(context.clone(), &["d"], SelectOptions::default()).unwrap().digest().unwrap();
    context.save().unwrap();
    assert_eq!(fs_err::metadata(&cache).unwrap().len(), whole - 96 - "b".len() as u64);
    assert_eq!(digest(&tree, &cache).1, 0, "e/c is still known");
}

#[test]
fn builds_at_the_same_time_share_a_cache() {
    let scene = Scene::new();
    let tree = scene.tree("ctx", "for i in $(seq 200); do echo $i > f$i; done");
    let cache = scene.path("cache");
    std::thread::sleep(SETTLED);
    let (expected, _) = digest(&tree, &cache);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (tree, cache) = (&tree, &cache);
            scope.spawn(move || {
                for round in 0..20 {
                    if worker == 0 && round % 4 == 0 {
                        let _ = fs_err::remove_file(cache);
                    }
                    assert_eq!(digest(tree, cache).0, expected);
                }
            });
        }
    });
    let rest: Vec<_> =
        fs_err::read_dir(scene.directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(rest.len(), 2, "no temporary file stays: {rest:?}");
}

fn filter(rules: &'static [(&'static str, Verdict)]) -> Filter {
    Arc::new(move |path, _| {
        let path = std::str::from_utf8(path).unwrap();
        let found = rules.iter().rev().find(|(prefix, _)| {
            path == *prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
        });
        found.map_or(Verdict::Include, |(_, verdict)| *verdict)
    })
}

#[test]
fn ignored_files_do_not_exist() {
    let scene = Scene::new();
    let tree = scene.tree(
        "ctx",
        "mkdir -p ign/deep part/sub/x hollow/empty k; touch ign/f ign/deep/g part/a part/keep part/sub/x/keep k/f
         ln -s ign/f toign; ln -s k/f tok",
    );
    let filter = filter(&[
        ("ign", Verdict::Exclude),
        ("part", Verdict::ExcludeButDescend),
        ("part/keep", Verdict::Include),
        ("part/sub/x/keep", Verdict::Include),
        ("hollow", Verdict::ExcludeButDescend),
    ]);
    let context = Arc::new(ContextDir::open(&tree, Some(filter), None).unwrap());
    let names = |entries: Vec<(Vec<u8>, _)>| -> Vec<String> {
        entries.into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect()
    };
    assert_eq!(
        names(context.walk(b"", None).unwrap().iter().collect()),
        ["k", "k/f", "part", "part/keep", "part/sub", "part/sub/x", "part/sub/x/keep", "toign", "tok"]
    );
    assert_eq!(names(context.read_dir(b"").unwrap()), ["k", "part", "toign", "tok"]);
    assert!(context.entry(b"part").unwrap().is_some());
    for gone in ["ign", "ign/f", "part/a", "hollow", "hollow/empty", "nothing", "k/f/x"] {
        assert!(context.entry(gone.as_bytes()).unwrap().is_none(), "{gone}");
    }
    // A link to an ignored file leads nowhere; a link to a file does.
    let tree: Arc<dyn SourceTree> = context;
    let select = |path: &str| Selection::new(tree.clone(), &[path], SelectOptions::default()).map(drop);
    assert_eq!(select("toign").unwrap_err().to_string(), "\"/toign\": not found");
    select("tok").unwrap();
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let scene = Scene::new();
    let tree = scene.tree("ctx", "head -c 300000 /dev/zero > f; echo x > g");
    let context = ContextDir::open(&tree, None, None).unwrap();
    let changes = [
        "printf y >> f",
        "truncate -s 100 f",
        "touch f",
        "chmod 600 f",
        "rm f; head -c 300000 /dev/zero > f",
    ];
    for change in changes {
        // In the middle of the reading.
        shell(&tree, "rm f; head -c 300000 /dev/zero > f");
        let entry = context.entry(b"f").unwrap().unwrap();
        let mut reader = SourceTree::open(&context, b"f", &entry).unwrap();
        reader.read_exact(&mut [0; 1000]).unwrap();
        shell(&tree, change);
        let error = std::io::copy(&mut reader, &mut std::io::sink()).map(|_| ());
        // A replaced file was still read to its end, consistently.
        if change.starts_with("rm") {
            assert!(SourceTree::open(&context, b"f", &entry).is_err());
        } else {
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with("/f: changed while it was being read"), "{change}: {error}");
        }
    }
    // Before it.
    for change in ["echo longer > g", "rm g; ln -s f g", "rm g; mkfifo g", "rm -f g"] {
        shell(&tree, "rm -f g; echo x > g");
        let entry = context.entry(b"g").unwrap().unwrap();
        shell(&tree, change);
        let error = SourceTree::open(&context, b"g", &entry).err().unwrap();
        assert!(matches!(error, LayerError::Path { .. }), "{change}: {error}");
        assert!(error.to_string().starts_with("/g: changed while"), "{change}: {error}");
    }
}

#[test]
fn nothing_outside_can_be_reached() {
    let scene = Scene::new();
    scene.tree("outside", "echo secret > s; mkdir d; echo secret > d/s");
    let tree = scene
        .tree("ctx", "mkdir d; echo mine > d/s; ln -s ../outside out; ln -s /etc etc; ln -s ../../.. up");
    let context = Arc::new(ContextDir::open(&tree, None, None).unwrap());
    for path in ["out/s", "etc/passwd", "up/etc/passwd", "../outside/s", "out", "d/../../outside/s"] {
        let found = Selection::new(context.clone(), &[path], SelectOptions::default());
        assert!(found.is_err(), "{path}");
    }
    // A directory that becomes a link between two looks.
    let entry = context.entry(b"d/s").unwrap().unwrap();
    shell(&tree, "rm -r d; ln -s ../outside/d d");
    assert!(SourceTree::open(&*context, b"d/s", &entry).is_err());
    assert!(context.entry(b"d/s").unwrap().is_none());
    assert!(SourceTree::walk(&*context, b"d", None).is_err());
}

/// One thread turns a directory into a link to the outside and back as fast as it can.
#[test]
fn a_directory_swapped_for_a_link_never_leads_out() {
    let scene = Scene::new();
    scene.tree("outside", "mkdir d; echo secret > d/s");
    let tree = scene.tree("ctx", "mkdir d; echo mine > d/s; ln -s ../outside/d link");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let swap = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(relaxed) {
                rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    tree.join("d"),
                    rustix::fs::CWD,
                    tree.join("link"),
                    swap,
                )
                .unwrap();
            }
        });
        let mut read = 0;
        for _ in 0..3000 {
            let context = ContextDir::open(&tree, None, None).unwrap();
            let Ok(Some(entry)) = context.entry(b"d/s") else { continue };
            let Ok(mut reader) = SourceTree::open(&context, b"d/s", &entry) else { continue };
            let mut content = String::new();
            if reader.read_to_string(&mut content).is_ok() {
                assert_eq!(content, "mine\n");
                read += 1;
            }
        }
        stop.store(true, relaxed);
        assert!(read > 0, "the directory was never met as one");
    });
}

#[test]
fn the_size_of_a_context_costs_no_second_walk() {
    let scene = Scene::new();
    let tree = scene.tree("ctx", "mkdir d; printf 12345 > a; printf 123 > d/b; printf 12 > d/no; ln -s a l");
    let filter: Filter = Arc::new(|path, _| match path {
        b"d/no" => Verdict::Exclude,
        _ => Verdict::Include,
    });
    let context = ContextDir::open(&tree, Some(filter), None).unwrap();
    assert_eq!(context.size().unwrap(), 8);
    shell(&tree, "echo late > late");
    let names = |directory: &[u8]| -> Vec<Vec<u8>> {
        context.walk(directory, None).unwrap().iter().map(|(path, _)| path).collect()
    };
    let paths = |all: &[&str]| -> Vec<Vec<u8>> { all.iter().map(|path| path.as_bytes().to_vec()).collect() };
    assert_eq!(names(b"d"), paths(&["b"]), "a part is walked by itself");
    assert_eq!(names(b""), paths(&["a", "d", "d/b", "l"]), "what was walked for the size");
    assert_eq!(names(b""), paths(&["a", "d", "d/b", "l", "late"]), "and only once");
}
