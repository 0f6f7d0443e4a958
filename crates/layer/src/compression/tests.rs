use super::*;
use std::process::{Command, Stdio};

/// Bytes that compress a little.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        b"abcdefghijklmnop"[(state >> 60) as usize]
    })
    .take(length)
    .collect()
}

fn inflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    decompress(Box::new(bytes))?.read_to_end(&mut out)?;
    Ok(out)
}

fn run(program: &str, input: &[u8]) -> Option<Vec<u8>> {
    let mut child = match Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    {
        Ok(child) => child,
        Err(error) => {
            println!("skipped {program}: {error}");
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    Some(output.stdout)
}

#[test]
fn what_the_tools_write_is_read_in_one_and_in_two_members() {
    let plain = sample(700_000);
    let kinds = [
        ("gzip", Compression::Gzip),
        ("zstd", Compression::Zstd),
        ("bzip2", Compression::Bzip2),
        ("xz", Compression::Xz),
    ];
    for (program, compression) in kinds {
        let Some(packed) = run(program, &plain) else { continue };
        assert_eq!(Compression::detect(&packed[..6]), compression, "{program}");
        assert!(inflate(&packed).unwrap() == plain, "{program}");
        assert!(
            inflate(&[&packed[..], &packed].concat()).unwrap() == [&plain[..], &plain].concat(),
            "{program} twice"
        );
        let cut = &packed[..packed.len() - 20];
        assert!(inflate(cut).is_err(), "{program}: a cut stream must not pass");
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 0x55;
        assert!(inflate(&damaged).map_or(true, |bytes| bytes != plain), "{program}: damage must show");
    }
}

#[test]
fn what_is_written_is_the_same_each_time_and_reads_back() {
    let plain = sample(300_000);
    for (compression, level) in [
        (Compression::None, None),
        (Compression::Gzip, None),
        (Compression::Gzip, Some(1)),
        (Compression::Zstd, None),
        (Compression::Zstd, Some(9)),
    ] {
        let pack = || {
            let mut out = Compressor::new(compression, level, Vec::new()).unwrap();
            out.write_all(&plain).unwrap();
            out.finish().unwrap()
        };
        let packed = pack();
        assert_eq!(packed, pack());
        assert_eq!(Compression::detect(&packed), compression);
        assert!(inflate(&packed).unwrap() == plain);
    }
    let gzip = Compressor::new(Compression::Gzip, None, Vec::new()).unwrap().finish().unwrap();
    assert_eq!(gzip[3..8], [0; 5], "no name, no time");
}

#[test]
fn our_output_is_what_the_tools_read() {
    let plain = sample(100_000);
    for (program, compression) in [("gunzip", Compression::Gzip), ("unzstd", Compression::Zstd)] {
        let mut out = Compressor::new(compression, None, Vec::new()).unwrap();
        out.write_all(&plain).unwrap();
        if let Some(back) = run(program, &out.finish().unwrap()) {
            assert!(back == plain, "{program}");
        }
    }
}

#[test]
fn levels_and_kinds_that_do_not_exist_are_refused() {
    for (compression, level) in [
        (Compression::Gzip, Some(10)),
        (Compression::Zstd, Some(23)),
        (Compression::Xz, None),
        (Compression::Bzip2, None),
    ] {
        assert!(Compressor::new(compression, level, Vec::new()).is_err());
    }
}

#[test]
fn anything_else_passes_through_even_if_short() {
    for bytes in [&b""[..], b"\x1f", b"\x1f\x8b", b"plain text", b"BZh0"] {
        assert_eq!(Compression::detect(bytes), Compression::None);
        assert_eq!(inflate(bytes).unwrap(), bytes);
    }
}

#[test]
fn a_skippable_frame_may_come_first() {
    let frame = zstd::encode_all(&b"hello"[..], 3).unwrap();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &frame].concat();
    assert_eq!(inflate(&skippable).unwrap(), b"hello");
}
