//! Figures, on request: `cargo test --release -p strata-layer --test it speed -- --ignored --nocapture`.
use crate::scene::Scene;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use strata_layer::context::ContextDir;
use strata_layer::copy::{CopyOptions, SelectOptions, Selection, copy};

/// 16 files a directory, 25 directories a package, sizes like a source tree's: about 7.5 KB each.
fn make_context(root: &Path, files: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for number in 0..files {
        let directory = root.join(format!("pkg{:03}/mod{:02}", number / 400, number / 16 % 25));
        if number % 16 == 0 {
            fs_err::create_dir_all(&directory).unwrap();
        }
        let size = (random() % 6000 + if random() % 20 == 0 { random() % 180_000 } else { 0 }) as usize;
        let body: Vec<u8> = (0..size / 8 + 1).flat_map(|_| random().to_le_bytes()).collect();
        fs_err::write(directory.join(format!("f{number:06}.src")), &body[..size]).unwrap();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn select(context: &Path, cache: &Path) -> (Selection, Arc<ContextDir>) {
    let context = Arc::new(ContextDir::open(context, None, Some(cache)).unwrap());
    let options = SelectOptions { wildcards: true, ..SelectOptions::default() };
    (Selection::new(context.clone(), &["."], options).unwrap(), context)
}

#[test]
#[ignore = "measures; needs a release build and half a minute"]
fn twenty_thousand_files() {
    let mut scene = Scene::new();
    let context = scene.path("ctx");
    make_context(&context, 20_000);
    let cache = scene.path("cache");
    let options = CopyOptions::default();

    let (mut cold, mut cp, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        let began = Instant::now();
        let target = scene.path(&format!("cp-{round}"));
        assert!(
            std::process::Command::new("cp").arg("-r").arg(&context).arg(&target).status().unwrap().success()
        );
        cp.push(began.elapsed());

        let below = scene.stack();
        let began = Instant::now();
        let (selection, _) = select(&context, &scene.path(&format!("cold-{round}")));
        scene.add(|builder| copy(&[selection], Some(&below), b"/app", &options, builder)).unwrap();
        cold.push(began.elapsed());

        let began = Instant::now();
        let (selection, _) = select(&context, &scene.path(&format!("keyed-{round}")));
        selection.digest().unwrap();
        scene.add(|builder| copy(&[selection], Some(&below), b"/app", &options, builder)).unwrap();
        again.push(began.elapsed());
    }
    println!("cp -r {:?}; COPY cold {:?}; key, then COPY {:?}", median(cp), median(cold), median(again));

    std::thread::sleep(Duration::from_secs(3));
    let (selection, tree) = select(&context, &cache);
    selection.digest().unwrap();
    tree.save().unwrap();
    let (mut walk, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..11 {
        let began = Instant::now();
        let (selection, tree) = select(&context, &cache);
        walk.push(began.elapsed());
        selection.digest().unwrap();
        assert_eq!(tree.hashed_files(), 0);
        tree.save().unwrap();
        warm.push(began.elapsed());
    }
    println!("unchanged context: walk {:?}, walk and key {:?}", median(walk), median(warm));

    let top = scene.layers.len() - 1;
    let mut unpack = Vec::new();
    for round in 0..3 {
        let target = scene.path(&format!("unpacked-{round}"));
        fs_err::create_dir(&target).unwrap();
        let began = Instant::now();
        scene.layers[top].unpack(&target).unwrap();
        unpack.push(began.elapsed());
    }
    let began = Instant::now();
    let from = scene.stack();
    let options = SelectOptions::default();
    let selection = Selection::new(Arc::new(from), &["app"], options).unwrap();
    selection.digest().unwrap();
    println!("unpack {:?}; key of the same files in a stage {:?}", median(unpack), began.elapsed());
}

/// For a profiler: `STRATA_CONTEXT=DIR ... unchanged_context` walks and keys DIR a hundred times.
#[test]
#[ignore = "measures a directory named by STRATA_CONTEXT"]
fn unchanged_context() {
    let Some(context) = std::env::var_os("STRATA_CONTEXT") else { return };
    let scene = Scene::new();
    let cache = scene.path("cache");
    let mut times: Vec<(Duration, Duration)> = (0..100)
        .map(|_| {
            let began = Instant::now();
            let (selection, tree) = select(Path::new(&context), &cache);
            let walked = began.elapsed();
            selection.digest().unwrap();
            let all = began.elapsed();
            tree.save().unwrap();
            (walked, all)
        })
        .collect();
    times.sort();
    println!("best {:?}, median {:?}", times[0], times[50]);
}
