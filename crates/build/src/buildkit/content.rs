//! Digests of files as BuildKit's `contenthash` has them: of the old tarsum headers and the content, for a directory of the
//! names and digests of what is in it. Neither times nor, in 0.8, owners count.
use strata_oci::Digest;

/// What of a file's metadata counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Type, as tar writes it: `b'0'` regular, `b'2'` symlink, `b'5'` directory, ...
    pub typeflag: u8,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
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
    let mut out = format!("namemode{mode}uid0gid0size{}typeflag", header.size).into_bytes();
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

/// What a pattern matches: names and digests. The only match of a pattern that is its own name is what it is.
pub fn names_digest(matched: &[(Vec<u8>, Digest)]) -> Digest {
    let one = |(name, digest): &(Vec<u8>, Digest)| [name, digest.to_string().as_bytes()].concat();
    Digest::of(&matched.iter().map(one).collect::<Vec<_>>().join(&0))
}

/// All sources of a copy, in the order of their paths.
pub fn selected_digest(sources: &[Digest]) -> Digest {
    Digest::of(sources.iter().map(ToString::to_string).collect::<Vec<_>>().join("\0").as_bytes())
}
