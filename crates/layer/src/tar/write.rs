//! Our own headers: ustar where it can say everything, PAX records for the rest. The same entry always gives the
//! same bytes: no names of owners, no access or change times, no process numbers.
use super::{BLOCK, padding};
use crate::Xattr;
use std::fmt::Write;

/// One member to be written.
pub(crate) struct Header<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) kind: HeaderKind,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) mtime_nsec: u32,
    pub(crate) size: u64,
    pub(crate) rdev: (u32, u32),
    /// Target of a link.
    pub(crate) link: &'a [u8],
    pub(crate) xattrs: &'a [Xattr],
}

/// POSIX type flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderKind {
    Regular = b'0' as isize,
    HardLink = b'1' as isize,
    Symlink = b'2' as isize,
    CharDevice = b'3' as isize,
    BlockDevice = b'4' as isize,
    Directory = b'5' as isize,
    Fifo = b'6' as isize,
}

/// Largest numbers of the fields of 7 and 11 octal digits.
const MAX_7: u64 = 0o777_7777;
const MAX_11: u64 = 0o777_7777_7777;

impl Header<'_> {
    /// The blocks of the header, extension header first if there must be one.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let name = self.name();
        let split = split(&name);
        let records = self.records(&name, split.is_some());
        let mut blocks = Vec::with_capacity(BLOCK as usize * 3 + records.len());
        if !records.is_empty() {
            blocks.extend_from_slice(&self.extension(records.len() as u64));
            blocks.extend_from_slice(&records);
            blocks.resize(blocks.len() + padding(records.len() as u64) as usize, 0);
        }
        let mtime = u64::try_from(self.mtime).ok().filter(|mtime| *mtime <= MAX_11).unwrap_or(0);
        let (prefix, base) = split.unwrap_or((b"", &name));
        let mut block = Block::new(base, self.kind as u8);
        block.octal(100, 8, u64::from(self.mode & 0o7777));
        block.octal(108, 8, within(u64::from(self.uid), MAX_7));
        block.octal(116, 8, within(u64::from(self.gid), MAX_7));
        block.octal(124, 12, within(self.size, MAX_11));
        block.octal(136, 12, mtime);
        block.text(157, 100, self.link);
        block.octal(329, 8, u64::from(self.rdev.0));
        block.octal(337, 8, u64::from(self.rdev.1));
        block.text(345, 155, prefix);
        blocks.extend_from_slice(&block.sealed());
        blocks
    }

    /// The path as it stands in the tar: directories end in `/`, the root is `./`.
    fn name(&self) -> Vec<u8> {
        let mut name = if self.path.is_empty() { b".".to_vec() } else { self.path.to_vec() };
        if self.kind == HeaderKind::Directory {
            name.push(b'/');
        }
        name
    }

    /// PAX records for what the header cannot say, sorted by key.
    fn records(&self, name: &[u8], fits: bool) -> Vec<u8> {
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |key: &[u8], value: Vec<u8>| records.push((key.to_vec(), value));
        for (key, id) in [(&b"gid"[..], self.gid), (b"uid", self.uid)] {
            if u64::from(id) > MAX_7 {
                add(key, id.to_string().into_bytes());
            }
        }
        if self.size > MAX_11 {
            add(b"size", self.size.to_string().into_bytes());
        }
        if self.mtime_nsec != 0 || self.mtime < 0 || self.mtime as u64 > MAX_11 {
            add(b"mtime", time(self.mtime, self.mtime_nsec).into_bytes());
        }
        let foreign = |text: &[u8]| !text.is_ascii();
        if !fits || foreign(name) {
            add(b"path", name.to_vec());
        }
        if self.link.len() > 100 || foreign(self.link) {
            add(b"linkpath", self.link.to_vec());
        }
        // PAX text is UTF-8 unless this says that it is not.
        if [name, self.link].iter().any(|text| std::str::from_utf8(text).is_err()) {
            add(b"hdrcharset", b"BINARY".to_vec());
        }
        for xattr in self.xattrs {
            add(&[&b"SCHILY.xattr."[..], &encode_keyword(&xattr.name)].concat(), xattr.value.clone());
        }
        records.sort();
        records.iter().flat_map(|(key, value)| record(key, value)).collect()
    }

    fn extension(&self, length: u64) -> [u8; BLOCK as usize] {
        let base = self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let plain = base.iter().map(|byte| if byte.is_ascii_graphic() { *byte } else { b'_' });
        let name: Vec<u8> = b"PaxHeaders.0/".iter().copied().chain(plain).take(100).collect();
        let mut block = Block::new(&name, b'x');
        for (at, width) in [(100, 8), (108, 8), (116, 8), (136, 12), (329, 8), (337, 8)] {
            block.octal(at, width, 0);
        }
        block.octal(124, 12, length);
        block.sealed()
    }
}

fn within(value: u64, max: u64) -> u64 {
    if value > max { 0 } else { value }
}

/// A name that ustar holds, as prefix and rest; `None` if it holds it in no way.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((b"", name));
    }
    // The last `/` of the first 156 bytes that is not the trailing one leaves the shortest rest.
    let end = name.len() - 1;
    let slash = name[..end.min(156)].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (!prefix.is_empty() && rest.len() <= 100).then_some((prefix, rest))
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if digits(length) != digits(rest) {
        length = rest + digits(length);
    }
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Seconds with as many decimals as needed; before 1970 the fraction counts down from the second above.
fn time(seconds: i64, nanos: u32) -> String {
    let (sign, whole, fraction) = match (seconds < 0, nanos) {
        (false, _) => ("", seconds.unsigned_abs(), nanos),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, _) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    let mut text = format!("{sign}{whole}");
    if fraction != 0 {
        let decimals = format!("{fraction:09}");
        let _ = write!(text, ".{}", decimals.trim_end_matches('0'));
    }
    text
}

/// As GNU tar does, because `=` ends a key.
fn encode_keyword(name: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'%' => encoded.extend_from_slice(b"%25"),
            b'=' => encoded.extend_from_slice(b"%3D"),
            _ => encoded.push(*byte),
        }
    }
    encoded
}

/// A header block being filled.
struct Block([u8; BLOCK as usize]);

impl Block {
    fn new(name: &[u8], kind: u8) -> Self {
        let mut block = Self([0; BLOCK as usize]);
        block.text(0, 100, name);
        block.0[156] = kind;
        block.text(257, 8, b"ustar\x0000");
        block
    }

    fn text(&mut self, at: usize, width: usize, text: &[u8]) {
        let length = text.len().min(width);
        self.0[at..at + length].copy_from_slice(&text[..length]);
    }

    /// Octal digits, zero padded, and a NUL.
    fn octal(&mut self, at: usize, width: usize, mut value: u64) {
        for digit in self.0[at..at + width - 1].iter_mut().rev() {
            *digit = b'0' + (value & 7) as u8;
            value >>= 3;
        }
    }

    fn sealed(mut self) -> [u8; BLOCK as usize] {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        self.octal(148, 7, sum);
        self.0[154] = 0;
        self.0
    }
}

#[cfg(test)]
mod tests;
