//! Any bytes as a tar: an answer or an error, the same bytes out, and an index that opens again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use strata_layer::{Layer, LayerError, Limits, ingest};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { entries: 10_000, tar_length: 1 << 24, header: 1 << 20, metadata: 8 << 20 };
    let mut kept = Vec::new();
    let Ok((info, contents)) = ingest(&mut &bytes[..], &mut kept, &limits) else { return };
    assert_eq!(kept, bytes);
    assert_eq!(info.tar_length, bytes.len() as u64);
    match contents.index(None) {
        Ok(index) => {
            let mut tar = tempfile();
            tar.write_all(bytes).expect("temporary files can be written");
            Layer::open(index, tar).expect("our own index opens");
        }
        // A hard link to what is not there.
        Err(LayerError::Path { .. }) => {}
        Err(error) => panic!("{error}"),
    }
});

fn tempfile() -> std::fs::File {
    let path = format!("/dev/shm/strata-fuzz-{}", std::process::id());
    let file = std::fs::File::options().create(true).truncate(true).read(true).write(true).open(path);
    file.expect("temporary files can be made")
}
