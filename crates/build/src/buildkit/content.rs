//! Digests of files as BuildKit's `contenthash` has them: of the old tarsum headers and the content, for a directory of the
//! names and digests of what is in it. Times do not count; owners do since 0.11.
use sha2::{Digest as _, Sha256};
use strata_oci::Digest;

/// What of a file's metadata counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Type, as tar writes it: `b'0'` regular, `b'2'` symlink, `b'5'` directory, ...
    pub typeflag: u8,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner and group; nobody's in the digests of 0.8.
    pub owner: (u32, u32),
    /// Bytes of a regular file.
    pub size: u64,
    /// Target of a symlink.
    pub link: Vec<u8>,
    /// Numbers of a device.
    pub device: (u32, u32),
    /// Attributes that belong to the content, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What is hashed before the content of a file; of anything but a regular file, all that is hashed.
pub fn file_header(header: &Header) -> Vec<u8> {
    let mode = if header.typeflag == b'2' { 0o777 } else { header.mode };
    let (uid, gid) = header.owner;
    let mut out = format!("namemode{mode}uid{uid}gid{gid}size{}typeflag", header.size).into_bytes();
    out.push(header.typeflag);
    out.extend_from_slice(b"linkname");
    out.extend_from_slice(&header.link);
    out.extend_from_slice(
        format!("unamegnamedevmajor{}devminor{}", header.device.0, header.device.1).as_bytes(),
    );
    for (name, value) in &header.xattrs {
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    out
}

/// A directory: its own header's digest, and what is in it, by name in byte order.
pub fn dir_digest(header: &Digest, entries: &[(Vec<u8>, Digest)]) -> Digest {
    let mut hashed = vec![0];
    hashed.extend_from_slice(header.to_string().as_bytes());
    for (name, digest) in entries {
        hashed.push(0);
        hashed.extend_from_slice(name);
        hashed.extend_from_slice(digest.to_string().as_bytes());
    }
    Digest::of(&hashed)
}

/// What a pattern matches, as 0.8 has it: names and digests. The only match of a pattern that is its own name is what it is.
pub fn names_digest(matched: &[(Vec<u8>, Digest)]) -> Digest {
    let one = |(name, digest): &(Vec<u8>, Digest)| [name, digest.to_string().as_bytes()].concat();
    Digest::of(&matched.iter().map(one).collect::<Vec<_>>().join(&0))
}

/// What a pattern matches or `--exclude` leaves, as versions since 0.9 have it: every file and every directory's header.
pub struct Listing {
    /// Name and digest of an entry that is alone so far.
    only: Option<(Vec<u8>, Digest)>,
    is_empty: bool,
    by_name: Sha256,
    by_path: Sha256,
}

impl Default for Listing {
    fn default() -> Self {
        Self { only: None, is_empty: true, by_name: Sha256::new(), by_path: Sha256::new() }
    }
}

impl Listing {
    /// Adds an entry: its path from where the pattern begins, or below what is copied. In the order of the paths'
    /// components, directories before what is in them.
    pub fn add(&mut self, name: &[u8], path: &[u8], digest: &Digest) {
        let text = digest.to_string();
        self.only = self.is_empty.then(|| (name.to_vec(), *digest));
        if !self.is_empty {
            self.by_name.update([0]);
        }
        self.by_name.update(name);
        self.by_name.update(&text);
        let components = path.split(|byte| *byte == b'/');
        for component in components {
            self.by_path.update([0]);
            self.by_path.update(component);
        }
        self.by_path.update(text);
        self.is_empty = false;
    }

    /// The digest of versions up to 0.25, and that of 0.26 and later. `pattern` is the last component of what was asked for.
    pub fn digests(self, pattern: &[u8]) -> [Digest; 2] {
        match self.only {
            Some((name, digest)) if name == pattern => [digest; 2],
            _ if self.is_empty => [Digest::of(b""); 2],
            _ => [self.by_name, self.by_path].map(|hasher| Digest::from_bytes(hasher.finalize().into())),
        }
    }
}

/// All sources of a copy, in the order of their paths.
pub fn selected_digest(sources: &[Digest]) -> Digest {
    Digest::of(sources.iter().map(ToString::to_string).collect::<Vec<_>>().join("\0").as_bytes())
}
