//! Figures, not judgements: `cargo test --release -p strata-layer throughput -- --ignored --nocapture`.

use crate::mounted::scratch;
use fs_err as fs;
use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;
use strata_layer::{LayerBuilder, Limits, ingest, pack};

/// Wall time and processor time: of this thread, and of all (the SHA-256 thread among them).
struct Clock {
    wall: Instant,
    cpu: [f64; 2],
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    fn rate(&self, bytes: u64) -> String {
        let [thread, all] = std::array::from_fn(|at| cpu()[at] - self.cpu[at]);
        let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
        let wall = self.wall.elapsed().as_secs_f64();
        format!(
            "{wall:.3} s, {:.0} MB/s; processor {thread:.3} s in this thread ({:.0} MB/s), {all:.3} s in all",
            rate(wall),
            rate(thread)
        )
    }
}

fn cpu() -> [f64; 2] {
    [ClockId::ThreadCPUTime, ClockId::ProcessCPUTime].map(|clock| {
        let time = clock_gettime(clock);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    })
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
        let started = Clock::start();
        let (info, contents) = pack(&upper, &mut fs::File::create(&tar).unwrap()).unwrap();
        println!("round {round}: pack {} entries: {}", info.entries, started.rate(info.tar_length));
        let started = Instant::now();
        let index = contents.index(None).unwrap();
        println!("  index of {} bytes in {:?}", index.len(), started.elapsed());
        let started = Clock::start();
        let copy = scratch.path().join("copy");
        let read = &mut fs::File::open(&tar).unwrap();
        let (again, _) = ingest(read, &mut fs::File::create(&copy).unwrap(), &Limits::default()).unwrap();
        println!("  ingest to a file: {}", started.rate(again.tar_length));
        let started = Clock::start();
        ingest(&mut fs::File::open(&tar).unwrap(), &mut std::io::sink(), &Limits::default()).unwrap();
        println!("  ingest to nowhere: {}", started.rate(again.tar_length));
        assert_eq!(again, info);
    }
    let started = Instant::now();
    for _ in 0..1000 {
        LayerBuilder::new(Vec::new()).finish().unwrap();
    }
    println!("an empty layer: {:?}", started.elapsed() / 1000);
}
