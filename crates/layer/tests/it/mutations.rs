//! Random damage: never a panic, never more memory than the input deserves, and what passes can be indexed and opened.

use crate::generate::Random;
use crate::handmade::Raw;
use crate::mounted::{open, scratch};
use strata_layer::{LayerError, Limits, ingest};

/// One of everything.
fn seeds() -> Vec<Vec<u8>> {
    let map = [("GNU.sparse.map", &b"0,512,2048,100"[..]), ("GNU.sparse.size", b"5000")];
    let new = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9000")];
    let all = Raw::default()
        .dir("./")
        .dir("d")
        .file("d/f", &[1; 1000])
        .hard_link("h", "d/f")
        .symlink("s", "d")
        .file("s/through", b"x")
        .file(".wh.gone", b"")
        .file("d/.wh..wh..opq", b"")
        .pax(b'g', &[("comment", b"all")])
        .pax(b'x', &[("path", b"long/name"), ("mtime", b"-1.5"), ("SCHILY.xattr.user.a", b"\0\n=")])
        .file("x", b"data")
        .member(b"././@LongLink", b'L', b"", 9, b"gnu/name\0")
        .file("x", b"")
        .member(b"c", b'3', b"", 0, b"")
        .patch(329, b"0000001\0")
        .member(b"p", b'6', b"", 0, b"");
    let sparse = Raw::default()
        .pax(b'x', &map)
        .file("sparse", &[2; 612])
        .pax(b'x', &new)
        .file("sparse1", &[&b"2\n0\n512\n4096\n100\n"[..], &[0; 495], &[3; 612]].concat())
        .member(b"old", b'S', b"", 612, &[4; 612])
        .patch(386, b"00000000000\x0000000001000\x0000000010000\x0000000000144\0")
        .patch(483, b"00000020000\0");
    vec![all.clone().end(), sparse.clone().end(), all.raw(&sparse.bytes).end()]
}

fn mutate(tar: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(tar.len() as u64) as usize;
        match random.below(7) {
            0 => tar[at] = random.next() as u8,
            1 => tar[at] ^= 1 << random.below(8),
            2 => tar.truncate(at.max(1)),
            3 => {
                let from = random.below(tar.len() as u64) as usize / 512 * 512;
                let block = tar[from..(from + 512).min(tar.len())].to_vec();
                let to = at / 512 * 512;
                tar.splice(to..to, block);
            }
            4 => {
                let from = at / 512 * 512;
                let to = (from + 512).min(tar.len());
                tar.drain(from..to);
            }
            5 => {
                let number =
                    [&b"77777777777\0"[..], b"00000000000\0", &[0xff; 12], &[0x80; 12], b"99999999999\0"];
                let field = at / 512 * 512 + [124, 136, 386, 398, 483][random.below(5) as usize];
                let end = (field + 12).min(tar.len());
                if field < end {
                    tar[field..end].copy_from_slice(&number[random.below(5) as usize][..end - field]);
                }
            }
            _ => {
                let flags = b"0123456xgLKSVDM7";
                let field = at / 512 * 512 + 156;
                if field < tar.len() {
                    tar[field] = flags[random.below(16) as usize];
                }
            }
        }
        if tar.is_empty() {
            return;
        }
    }
    if random.chance(80) {
        reseal(tar);
    }
}

/// Makes the checksum of everything that looks like a header right again, so that damage gets past it.
fn reseal(tar: &mut [u8]) {
    for block in tar.as_chunks_mut::<512>().0 {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

#[test]
fn random_damage_is_survived() {
    let limits = Limits { header: 1 << 20, metadata: 8 << 20, ..Limits::default() };
    let scratch = scratch();
    let seeds = seeds();
    for seed in &seeds {
        ingest(&mut &seed[..], &mut std::io::sink(), &limits).unwrap();
    }
    let rounds = std::env::var("STRATA_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(6000);
    let (mut passed, mut refused) = (0, 0);
    for round in 0..rounds {
        let mut random = Random(round);
        let mut tar = seeds[random.below(3) as usize].clone();
        mutate(&mut tar, &mut random);
        let mut kept = Vec::new();
        match ingest(&mut &tar[..], &mut kept, &limits) {
            Ok((info, contents)) => {
                passed += 1;
                assert!(kept == tar, "round {round}");
                match contents.index(None) {
                    Ok(index) => {
                        // An index may be long only for a sparse file's map.
                        assert!(index.len() < 9 << 20, "round {round}: {} bytes of index", index.len());
                        let layer = open(&tar, index, scratch.path());
                        assert_eq!(layer.tar_length(), info.tar_length);
                    }
                    Err(LayerError::Path { .. }) => {}
                    Err(other) => panic!("round {round}: {other}"),
                }
            }
            Err(LayerError::Tar { .. }) => refused += 1,
            Err(other) => panic!("round {round}: {other}"),
        }
    }
    println!("{passed} passed, {refused} refused");
    assert!(passed > rounds / 20 && refused > rounds / 20, "{passed} passed, {refused} refused");
}
