//! Unchanged files taken from the layer of an earlier copy, and directories planned as a whole.
use crate::scene::{CREATED, Scene, shell};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use strata_layer::context::ContextDir;
use strata_layer::copy::{CopyError, CopyOptions, SelectOptions, Selection, copy};
use strata_layer::{LayerBuilder, LayerInfo};

/// A context with a stat cache, and the tars of the layers that were made of it.
struct Builds {
    scene: Scene,
    context: PathBuf,
    opened: Arc<AtomicUsize>,
}

impl Builds {
    fn new(script: &str) -> Self {
        let scene = Scene::new();
        let context = scene.tree("ctx", script);
        std::thread::sleep(Duration::from_millis(2_100));
        Self { scene, context, opened: Arc::default() }
    }

    fn tar(&self, layer: &LayerInfo) -> PathBuf {
        self.scene.path(&layer.diff_id.hex())
    }

    fn select(&self) -> (Arc<ContextDir>, Selection) {
        let (directory, opened) = (self.scene.directory.path().to_owned(), Arc::clone(&self.opened));
        let context = ContextDir::open(&self.context, None, Some(&self.scene.path("cache"))).unwrap();
        let context = Arc::new(context.with_tars(Arc::new(move |layer| {
            opened.fetch_add(1, Ordering::Relaxed);
            Some(fs_err::File::open(directory.join(layer.hex())).ok()?.into_file())
        })));
        let selection = Selection::new(context.clone(), &["."], SelectOptions::default()).unwrap();
        selection.digest().unwrap();
        (context, selection)
    }

    /// Copies what was selected; the layer is kept under its name.
    fn copy(&self, (context, selection): (Arc<ContextDir>, Selection)) -> Result<LayerInfo, CopyError> {
        let path = self.scene.path("new");
        let info = write(&path, &[&selection])?;
        fs_err::rename(path, self.tar(&info)).unwrap();
        selection.were_written_to(&info.diff_id);
        context.save().unwrap();
        Ok(info)
    }

    fn build(&self) -> LayerInfo {
        self.copy(self.select()).unwrap()
    }

    /// What a build makes that knows of nothing earlier.
    fn plain(&self) -> LayerInfo {
        let context = Arc::new(ContextDir::open(&self.context, None, None).unwrap());
        let selection = Selection::new(context, &["."], SelectOptions::default()).unwrap();
        write(&self.scene.path("plain"), &[&selection]).unwrap()
    }
}

fn write(path: &Path, selections: &[&Selection]) -> Result<LayerInfo, CopyError> {
    let options = CopyOptions { created: CREATED, ..CopyOptions::default() };
    let mut builder = LayerBuilder::new(fs_err::File::create(path).unwrap().into_file());
    copy(selections, None, b"/app/", &options, &mut builder)?;
    Ok(builder.finish()?.1)
}

const FILES: &str = "mkdir -p d/e; for i in $(seq 40); do echo $i > d/f$i; echo $i$i > d/e/g$i; done; : > empty
    head -c 3000000 /dev/urandom > d/big; ln d/f1 d/e/hard; ln -s f1 d/link; head -c 9000 /dev/urandom > d/odd";

#[test]
fn unchanged_files_come_from_the_earlier_layer() {
    let builds = Builds::new(FILES);
    builds.build();
    shell(&builds.context, "echo changed > d/f7; rm d/f9; echo new > d/e/new");
    let selected = builds.select();
    // Nobody looks at what has not changed: it may as well be gone. Large files are read where they are.
    shell(
        &builds.context,
        "mkdir ../kept; touch -r d ../kept/d; touch -r d/e ../kept/e; mv d/f1 d/e/g2 d/odd ../kept",
    );
    let layer = builds.copy(selected).unwrap();
    assert_eq!(builds.opened.load(Ordering::Relaxed), 1, "one tar, opened once");
    shell(
        &builds.context,
        "cd ../kept; mv f1 odd ../ctx/d; mv g2 ../ctx/d/e; touch -r e ../ctx/d/e; touch -r d ../ctx/d",
    );
    assert_eq!(layer, builds.plain());
    // What was taken from the first layer is now in the second, too, and that is where the third build looks.
    fs_err::remove_file(builds.tar(&layer)).unwrap();
    shell(&builds.context, "echo again > d/f7");
    assert_eq!(builds.build(), builds.plain());
}

#[test]
fn a_damaged_or_missing_earlier_layer_makes_no_wrong_one() {
    for damage in ["rm", "truncate", "other bytes"] {
        let builds = Builds::new(FILES);
        let first = builds.build();
        let tar = builds.tar(&first);
        match damage {
            "rm" => fs_err::remove_file(&tar).unwrap(),
            "truncate" => fs_err::OpenOptions::new().write(true).open(&tar).unwrap().set_len(5_000).unwrap(),
            _ => {
                let flipped: Vec<u8> = fs_err::read(&tar).unwrap().iter().map(|byte| byte ^ 0x55).collect();
                fs_err::write(&tar, flipped).unwrap();
            }
        }
        shell(&builds.context, "echo changed > d/f7");
        assert_eq!(builds.build(), builds.plain(), "{damage}");
    }
}

#[test]
fn a_file_that_changes_during_a_build_is_in_the_layer_as_its_key_has_it() {
    let builds = Builds::new(FILES);
    let before = builds.build();
    let selected = builds.select();
    shell(&builds.context, "echo later > d/f3; echo later > d/e/hard");
    assert_eq!(builds.copy(selected).unwrap(), before, "from the earlier layer: what the key was made from");
    let after = builds.build();
    assert_eq!(after, builds.plain());
    assert_ne!(after, before);
}

/// The plan of whole directories and the one of single files, which archives need, write the same tar.
#[test]
fn directories_are_planned_as_if_file_by_file() {
    let scene = Scene::new();
    let tree = scene.tree(
        "ctx",
        "mkdir -p one/a one/d/deep two/a two/e three none
        for n in a.b a0 a- 'a b' z; do echo 1 > one/$n; echo 2 > two/$n; done 2> /dev/null; rm two/z
        for n in x y; do echo 1 > one/a/$n; echo 2 > two/a/$n; echo 3 > one/d/deep/$n; done; echo 4 > one/a/only
        ln one/a/x one/d/x; ln -s a/x one/link; ln -s elsewhere two/link; mkfifo one/fifo; echo 5 > two/fifo
        echo z > z; tar -cf root.tar --no-recursion ./",
    );
    let context = Arc::new(ContextDir::open(&tree, None, None).unwrap());
    let select = |paths: &[&str], unpack| {
        let options = SelectOptions { unpack, ..SelectOptions::default() };
        Selection::new(context.clone(), paths, options).unwrap()
    };
    let sources = [
        &["one"][..],
        &["one", "two"],
        &["two", "one"],
        &["one", "z"],
        &["z", "one", "two", "one/a", "none"],
    ];
    for paths in sources {
        let whole = write(&scene.path("whole"), &[&select(paths, false)]).unwrap();
        let (files, archive) = (select(paths, false), select(&["root.tar"], true));
        let single = write(&scene.path("single"), &[&files, &archive]).unwrap();
        assert_eq!(whole, single, "{paths:?}");
    }
    for (first, second) in [("one", "three"), ("three", "one")] {
        shell(&tree, "rm -rf three; mkdir -p three/a.b");
        let refused =
            write(&scene.path("whole"), &[&select(&[first, second], false)]).unwrap_err().to_string();
        let (files, archive) = (select(&[first, second], false), select(&["root.tar"], true));
        let single = write(&scene.path("single"), &[&files, &archive]).unwrap_err().to_string();
        assert_eq!(refused, single);
    }
}
