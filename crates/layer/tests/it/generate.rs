//! Random trees on disk, the same for the same seed.

use fs_err as fs;
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use std::ffi::{OsStr, OsString};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// What the dialect a tree is for can say.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) entries: u64,
    /// Names of up to 255 bytes, and paths of any depth.
    pub(crate) long_names: bool,
    /// Bytes that are not UTF-8.
    pub(crate) any_bytes: bool,
    /// Devices and FIFOs.
    pub(crate) specials: bool,
    pub(crate) xattrs: bool,
    /// Nanoseconds, and times before 1970.
    pub(crate) any_time: bool,
    /// Owners over 2,097,151.
    pub(crate) any_owner: bool,
    pub(crate) holes: bool,
}

/// Fills the empty directory `root`.
pub(crate) fn tree(root: &Path, shape: Shape, random: &mut Random) {
    let mut directories = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    let mut all = vec![root.to_owned()];
    for _ in 0..shape.entries {
        let parent = &directories[random.below(directories.len() as u64) as usize];
        let path = parent.join(name(shape, random));
        if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let short = path.as_os_str().len() - root.as_os_str().len() < 95;
        if !shape.long_names && !short {
            continue;
        }
        match random.below(20) {
            0..=4 => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            5 | 6 => fs_err::os::unix::fs::symlink(target(shape, random), &path).unwrap(),
            7 | 8 if !files.is_empty() => {
                let file = &files[random.below(files.len() as u64) as usize];
                fs::hard_link(file, &path).unwrap();
                continue;
            }
            9 if shape.specials => special(&path, random),
            _ => file(&path, shape, random),
        }
        if !fs::symlink_metadata(&path).unwrap().is_dir() {
            files.push(path.clone());
        }
        all.push(path);
    }
    // Children before parents, so that times stay.
    for path in all.iter().rev() {
        decorate(path, shape, random);
    }
}

fn name(shape: Shape, random: &mut Random) -> OsString {
    let length = match random.below(10) {
        0 if shape.long_names => 200 + random.below(56),
        1 if shape.long_names => 90 + random.below(40),
        _ => 1 + random.below(12),
    };
    let bytes: Vec<u8> = (0..length)
        .map(|_| match random.below(8) {
            0 if shape.any_bytes => loop {
                let byte = random.next() as u8;
                if byte != 0 && byte != b'/' {
                    break byte;
                }
            },
            _ => b"abcdefghijklmnopqrstuvwxyz0123456789-_+. !"[random.below(42) as usize],
        })
        .collect();
    match &bytes[..] {
        b"." | b".." => OsString::from("dots"),
        _ => OsString::from_vec(bytes),
    }
}

fn target(shape: Shape, random: &mut Random) -> OsString {
    let mut target = if random.chance(30) { b"/".to_vec() } else { b"../".repeat(random.below(4) as usize) };
    target.extend_from_slice(name(shape, random).as_bytes());
    if shape.long_names && random.chance(20) {
        target.extend_from_slice(&b"/long".repeat(60));
    }
    OsString::from_vec(target)
}

fn special(path: &Path, random: &mut Random) {
    let kind = [
        rustix::fs::FileType::Fifo,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::FileType::BlockDevice,
    ][random.below(3) as usize];
    let device = rustix::fs::makedev(1 + random.below(4095) as u32, random.below(1 << 20) as u32);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, Mode::from_raw_mode(0o640), device).unwrap();
}

fn file(path: &Path, shape: Shape, random: &mut Random) {
    let mut file = fs::File::create(path).unwrap();
    if shape.holes && random.chance(30) {
        for _ in 0..random.below(4) {
            file.seek(SeekFrom::Current(4096 * random.below(20) as i64)).unwrap();
            let length = if random.chance(50) { 4096 * random.below(4) } else { random.below(9000) };
            file.write_all(&random.bytes(length as usize)).unwrap();
        }
        let end = file.stream_position().unwrap() + random.below(30_000);
        file.set_len(end).unwrap();
        return;
    }
    let length = match random.below(8) {
        0 => 0,
        1 => 512 * random.below(10),
        2 => 511 + random.below(3),
        3 => random.below(300_000),
        _ => random.below(3000),
    };
    file.write_all(&random.bytes(length as usize)).unwrap();
}

fn decorate(path: &Path, shape: Shape, random: &mut Random) {
    let kind = fs::symlink_metadata(path).unwrap().file_type();
    let limit = if shape.any_owner && random.chance(20) { u64::from(u32::MAX) - 1 } else { 70_000 };
    let (uid, gid) = (random.below(limit) as u32, random.below(limit) as u32);
    rustix::fs::chownat(
        rustix::fs::CWD,
        path,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    if !kind.is_symlink() {
        let mode = Mode::from_raw_mode(random.below(0o10000) as u32);
        rustix::fs::chmodat(rustix::fs::CWD, path, mode, AtFlags::empty()).unwrap();
    }
    if shape.xattrs && (kind.is_file() || kind.is_dir()) {
        for number in 0..random.below(3) {
            let name = OsString::from(format!("user.a{number}"));
            let length = random.below(200) as usize;
            rustix::fs::lsetxattr(path, &name, &random.bytes(length), XattrFlags::empty()).unwrap();
        }
        if kind.is_file() && random.chance(10) {
            rustix::fs::lsetxattr(path, OsStr::new("security.capability"), &CAPABILITY, XattrFlags::empty())
                .unwrap();
        }
    }
    let time = Timespec {
        tv_sec: if shape.any_time && random.chance(10) {
            -(random.below(1 << 30) as i64)
        } else {
            random.below(1 << 31) as i64
        },
        tv_nsec: if shape.any_time { random.below(1_000_000_000) as i64 } else { 0 },
    };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// `cap_net_raw=ep`, version 2.
pub(crate) const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
