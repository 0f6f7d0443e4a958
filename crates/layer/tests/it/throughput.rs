//! Figures, not judgements: `cargo test --release -p strata-layer throughput -- --ignored --nocapture`.

use crate::mounted::scratch;
use fs_err as fs;
use std::time::Instant;
use strata_layer::{LayerBuilder, Limits, ingest, pack};

fn megabytes_per_second(bytes: u64, started: Instant) -> String {
    let seconds = started.elapsed().as_secs_f64();
    format!("{seconds:.3} s, {:.0} MB/s", bytes as f64 / 1e6 / seconds)
}

#[test]
#[ignore = "measures"]
fn pack_and_ingest() {
    let scratch = scratch();
    let upper = scratch.path().join("upper");
    for directory in 0..70 {
        let directory = upper.join(format!("{directory}"));
        fs::create_dir_all(&directory).unwrap();
        for file in 0..100 {
            fs::write(directory.join(format!("{file}")), vec![file as u8; 28_600]).unwrap();
        }
    }
    let tar = scratch.path().join("tar");
    for round in 0..3 {
        let started = Instant::now();
        let (info, contents) = pack(&upper, &mut fs::File::create(&tar).unwrap()).unwrap();
        println!(
            "round {round}: pack {} entries: {}",
            info.entries,
            megabytes_per_second(info.tar_length, started)
        );
        let started = Instant::now();
        let index = contents.index(None).unwrap();
        println!("  index of {} bytes in {:?}", index.len(), started.elapsed());
        let started = Instant::now();
        let copy = scratch.path().join("copy");
        let read = &mut fs::File::open(&tar).unwrap();
        let (again, _) = ingest(read, &mut fs::File::create(&copy).unwrap(), &Limits::default()).unwrap();
        println!("  ingest to a file: {}", megabytes_per_second(again.tar_length, started));
        let started = Instant::now();
        ingest(&mut fs::File::open(&tar).unwrap(), &mut std::io::sink(), &Limits::default()).unwrap();
        println!("  ingest to nowhere: {}", megabytes_per_second(again.tar_length, started));
        assert_eq!(again, info);
    }
    let started = Instant::now();
    for _ in 0..1000 {
        LayerBuilder::new(Vec::new()).finish().unwrap();
    }
    println!("an empty layer: {:?}", started.elapsed() / 1000);
}
