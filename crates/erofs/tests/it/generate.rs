//! Random trees from a seed.

use crate::tree::Tree;
use strata_erofs::{Attributes, Kind, Xattr};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Any name a directory can hold; often short, so that names are close to each other and to `.` and `..`.
    fn name(&mut self) -> Vec<u8> {
        let length = match self.below(8) {
            0..4 => 1 + self.below(3),
            4..7 => 1 + self.below(40),
            _ => self.pick(&[200, 254, 255]),
        };
        let alphabet: &[u8] =
            if self.one_in(3) { b"\x01!-.a\xff\xe2" } else { b"abcdefghijklmnopqrstuvwxyz0123456789._-" };
        (0..length).map(|_| self.pick(alphabet)).collect()
    }

    fn attributes(&mut self) -> Attributes {
        Attributes {
            mode: self.below(0o10000) as u16,
            uid: self.pick(&[0, 0, 0, 1000, 65_535, 65_536, u32::MAX - 1]),
            gid: self.pick(&[0, 0, 0, 1000, 65_535, 65_536, u32::MAX - 1]),
            mtime: self.pick(&[1_600_000_000, 1_600_000_000, 0, -1, -12_345_678_901, 1 << 33]),
            mtime_nsec: self.pick(&[0, 0, 0, 1, 999_999_999]),
            xattrs: Vec::new(),
        }
    }

    /// Xattrs that the kernel gives back for an inode of `kind`.
    fn xattrs(&mut self, kind: &Kind) -> Vec<Xattr> {
        let mut xattrs: Vec<Xattr> = Vec::new();
        if !self.one_in(4) {
            return xattrs;
        }
        let user = matches!(kind, Kind::Directory | Kind::Regular { .. });
        for number in 0..self.pick(&[1, 2, 3, 40]) {
            let prefix = self.pick(if user { &["user.", "trusted."][..] } else { &["trusted."] });
            let stem = "n".repeat(self.pick(&[1, 2, 3, 4, 200]));
            let length = self.pick(&[0, 1, 2, 3, 4, 20, 300]);
            xattrs.push(Xattr { name: format!("{prefix}{stem}{number}").into(), value: self.bytes(length) });
        }
        if self.one_in(2) && !matches!(kind, Kind::Symlink(_)) {
            xattrs.push(Xattr {
                name: b"system.posix_acl_access".to_vec(),
                value: acl(self.below(1000) as u32),
            });
        }
        if self.one_in(2) && matches!(kind, Kind::Directory) {
            xattrs.push(Xattr { name: b"system.posix_acl_default".to_vec(), value: acl(7) });
        }
        if self.one_in(2) && matches!(kind, Kind::Regular { .. }) {
            xattrs.push(Xattr { name: b"security.capability".to_vec(), value: capability() });
        }
        xattrs
    }

    fn special(&mut self) -> Kind {
        let (major, minor) = self.pick(&[(0, 0), (1, 3), (8, 255), (8, 256), (4095, 1_048_575)]);
        match self.below(5) {
            0 => {
                let length = self.pick(&[1, 5, 30, 31, 32, 448, 480, 511, 512, 513, 1000, 4000]);
                Kind::Symlink((0..length).map(|_| self.pick(b"abc/.\xff\x01")).collect())
            }
            1 => Kind::CharDevice { major, minor },
            2 => Kind::BlockDevice { major, minor },
            3 => Kind::Fifo,
            _ => Kind::Socket,
        }
    }

    fn add_file(
        &mut self,
        tree: &mut Tree,
        directory: usize,
        name: Vec<u8>,
        attributes: Attributes,
    ) -> usize {
        let size = self.pick(&[0, 1, 100, 479, 480, 511, 512, 513, 1024, 4096, 5000, 20_000]);
        if self.one_in(3) {
            let bytes = self.bytes(size);
            return tree.inline(directory, name, attributes, &bytes);
        }
        let segments = if self.one_in(3) {
            self.sparse(size, tree.devices.len() as u64)
        } else {
            let device = 1 + self.below(tree.devices.len() as u64) as u16;
            vec![(device, 0, self.bytes(size))]
        };
        tree.file(directory, name, attributes, size, &segments)
    }

    /// Segments with holes between them, each possibly in another device.
    fn sparse(&mut self, size: u64, devices: u64) -> Vec<(u16, u64, Vec<u8>)> {
        let mut segments = Vec::new();
        let unit = self.pick(&[512, 1024, 4096]);
        let mut at = unit * self.below(3);
        while at < size {
            let length = (unit * self.below(4)).saturating_sub(self.pick(&[0, 0, 1, 500])).min(size - at);
            segments.push((1 + self.below(devices) as u16, at, self.bytes(length)));
            at = (at + length + unit * self.below(3)).next_multiple_of(unit);
        }
        segments
    }

    /// A tree of up to `entries` entries.
    pub(crate) fn tree(&mut self, entries: u64) -> Tree {
        let mut tree = Tree::new(1 + self.below(3) as usize);
        let mut directories = vec![0];
        let mut others = Vec::new();
        tree.nodes[0].attributes = self.attributes();
        for _ in 0..self.below(entries + 1) {
            let directory =
                if self.one_in(3) { directories[directories.len() - 1] } else { self.pick(&directories) };
            let name = self.name();
            if matches!(&name[..], b"." | b"..") || tree.nodes[directory].entries.contains_key(&name) {
                continue;
            }
            let attributes = self.attributes();
            let node = match self.below(8) {
                0 | 1 => tree.put(directory, name, attributes, Kind::Directory),
                2 | 3 => {
                    let kind = self.special();
                    tree.put(directory, name, attributes, kind)
                }
                4 if !others.is_empty() => {
                    tree.name(directory, name, self.pick(&others));
                    continue;
                }
                _ => self.add_file(&mut tree, directory, name, attributes),
            };
            let kind = tree.nodes[node].kind.clone();
            tree.nodes[node].attributes.xattrs = self.xattrs(&kind);
            if matches!(kind, Kind::Directory) { directories.push(node) } else { others.push(node) }
        }
        tree
    }
}

/// A POSIX ACL as `getxattr` gives it: owner, one named user, group, mask, others.
pub(crate) fn acl(user: u32) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1u16, 7u16, u32::MAX), (2, 5, user), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 4, u32::MAX)]
    {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

/// `cap_net_raw+ep` as `getxattr` gives it.
pub(crate) fn capability() -> Vec<u8> {
    let mut value = vec![1, 0, 0, 2];
    value.extend((1u32 << 13).to_le_bytes());
    value.resize(20, 0);
    value
}
