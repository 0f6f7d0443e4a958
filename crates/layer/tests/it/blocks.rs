//! The files of a directory are planned together, and entry by entry where something is unpacked beside them: both ways
//! must come to the same layer, or to the same refusal.
use crate::generate::Random;
use crate::scene::{Copy, Scene, shell};
use std::path::Path;
use strata_layer::copy::SelectOptions;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// What the unpacked archive adds.
const MARK: &str = "archive-member";

/// Fills a directory with directories, files and links of few names, so that they meet those of another one.
fn grow(directory: &Path, depth: u64, random: &mut Random) {
    fs_err::create_dir_all(directory).unwrap();
    for name in NAMES {
        let path = directory.join(name);
        match random.below(8) {
            0 | 1 => fs_err::write(&path, random.below(3).to_string()).unwrap(),
            2 => std::os::unix::fs::symlink(NAMES[random.below(4) as usize], &path).unwrap(),
            3..=5 if depth > 0 => grow(&path, depth - 1, random),
            _ => {}
        }
    }
}

fn path(random: &mut Random) -> String {
    (0..=random.below(2)).map(|_| NAMES[random.below(4) as usize]).collect::<Vec<_>>().join("/")
}

#[test]
fn planning_together_is_planning_one_by_one() {
    let (mut refused, mut copied) = (0, 0);
    for seed in 0..120 {
        let random = &mut Random(seed);
        let mut scene = Scene::new();
        let base = scene.tree("below", "true");
        grow(&base, 3, random);
        scene.base(&format!("cp -a {}/. .", base.display()));
        let context = scene.tree("ctx", "true");
        grow(&context, 3, random);
        shell(&context, &format!("touch {MARK}; tar cf t.tar {MARK}; rm {MARK}"));
        let exists = |from: &String| context.join(from).exists();
        let from: Vec<String> = (0..3).map(|_| path(random)).filter(exists).collect();
        let from: Vec<&str> = from.iter().map(String::as_str).collect();
        let to = format!("/{}/", path(random));
        let mut copy_from = |from: &[&str], unpack| {
            let select = SelectOptions { unpack, ..SelectOptions::default() };
            let result = scene.copy(&context, &Copy { select, ..Copy::new(from, &to) });
            scene.layers.truncate(1);
            result.map(|mut changes| {
                changes.retain(|line| !line.contains(MARK));
                changes
            })
        };
        if from.is_empty() {
            continue;
        }
        let together = copy_from(&from, false);
        let one_by_one = copy_from(&[&from[..], &["t.tar"]].concat(), true);
        match (together, one_by_one) {
            (Ok(together), Ok(one_by_one)) => {
                assert_eq!(together, one_by_one, "seed {seed}: {from:?} to {to}");
                copied += 1;
            }
            (Err(together), Err(one_by_one)) => {
                assert_eq!(together.to_string(), one_by_one.to_string(), "seed {seed}: {from:?} to {to}");
                refused += 1;
            }
            (together, one_by_one) => {
                panic!("seed {seed}: {from:?} to {to}: {together:?} together, {one_by_one:?} one by one")
            }
        }
    }
    assert!(refused > 10 && copied > 10, "{refused} refused, {copied} copied");
}
