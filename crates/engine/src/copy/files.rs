//! Files of a layout, in a directory or in a tar.
use super::{CopyError, DOCUMENT_MAX};
use fs_err::File;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use strata_oci::{Descriptor, Digest};

/// Where the files of a layout are.
pub(super) enum Files {
    /// In a directory.
    Directory(PathBuf),
    /// In an uncompressed tar: name -> offset and length.
    Tar { file: PathBuf, members: HashMap<String, (u64, u64)> },
}

impl Files {
    pub(super) fn directory(path: &Path) -> Self {
        Self::Directory(path.to_owned())
    }

    /// Reads the headers of a tar.
    pub(super) fn tar(path: &Path) -> Result<Self, CopyError> {
        let container = |why: String| CopyError::Container { path: path.to_owned(), why };
        let mut archive = tar::Archive::new(File::open(path)?);
        let (mut members, mut links) = (HashMap::new(), Vec::new());
        for entry in archive.entries_with_seek()? {
            let entry = entry.map_err(|error| container(format!("no tar, or a damaged one: {error}")))?;
            let name = clean(&String::from_utf8_lossy(&entry.path_bytes()));
            match (entry.header().entry_type(), entry.link_name_bytes()) {
                (kind, Some(target)) if kind.is_symlink() || kind.is_hard_link() => {
                    let target = String::from_utf8_lossy(&target).into_owned();
                    let from_here = if kind.is_symlink() { beside(&name, &target) } else { clean(&target) };
                    links.push((name, from_here));
                }
                (kind, _) if kind.is_file() => {
                    members.insert(name, (entry.raw_file_position(), entry.size()));
                }
                _ => {}
            }
        }
        for (name, target) in links {
            if let Some(place) = members.get(&target).copied() {
                members.insert(name, place);
            }
        }
        if members.is_empty() {
            return Err(container("no uncompressed tar with images".to_owned()));
        }
        Ok(Self::Tar { file: path.to_owned(), members })
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Tar { file: path, .. } => path,
        }
    }

    /// A file from `offset` on; an error of kind `NotFound` when there is none.
    pub(super) fn open(&self, name: &str, offset: u64) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Directory(directory) => {
                let mut file = File::open(directory.join(name))?;
                file.seek(SeekFrom::Start(offset))?;
                Ok(Box::new(file))
            }
            Self::Tar { file, members } => {
                let absent =
                    || io::Error::new(io::ErrorKind::NotFound, format!("{name} is not in the archive"));
                let (position, size) = members.get(name).ok_or_else(absent)?;
                let mut file = File::open(file)?;
                file.seek(SeekFrom::Start(position + offset.min(*size)))?;
                Ok(Box::new(file.take(size.saturating_sub(offset))))
            }
        }
    }

    /// A small document.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, CopyError> {
        let mut bytes = Vec::new();
        self.open(name, 0)?.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > DOCUMENT_MAX {
            let why = format!("{name} has more than {DOCUMENT_MAX} bytes, which no document has");
            return Err(CopyError::Container { path: self.path().to_owned(), why });
        }
        Ok(bytes)
    }

    /// Digest and length of a file.
    pub(super) fn measure(&self, name: &str) -> io::Result<(Digest, u64)> {
        let mut hash = Sha256::new();
        let length = io::copy(&mut self.open(name, 0)?, &mut hash)?;
        Ok((Digest::from_bytes(hash.finalize().into()), length))
    }
}

/// A name without `./` before it.
fn clean(name: &str) -> String {
    name.trim_start_matches("./").trim_end_matches('/').to_owned()
}

/// What a relative link in an archive names.
fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Where a layout keeps a blob.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Copies a blob and refuses one that is not what its descriptor says.
pub(super) fn copy_verified(
    blob: &Descriptor,
    from: &mut dyn Read,
    to: &mut dyn io::Write,
) -> Result<(), CopyError> {
    let what = || format!("blob {}", blob.digest);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut found = 0;
    loop {
        let read = from.read(&mut buffer).map_err(registry_error)?;
        if read == 0 {
            break;
        }
        found += read as u64;
        if found > blob.size {
            return Err(CopyError::Size { what: what(), expected: blob.size, found });
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
    if found != blob.size {
        return Err(CopyError::Size { what: what(), expected: blob.size, found });
    }
    let found = Digest::from_bytes(hash.finalize().into());
    if found != blob.digest {
        return Err(CopyError::Digest { what: what(), expected: blob.digest, found });
    }
    Ok(())
}

/// The registry's own error, where reading failed because of it.
fn registry_error(error: io::Error) -> CopyError {
    match strata_registry::Error::from_read(error) {
        Ok(error) => error.into(),
        Err(error) => CopyError::Io(error),
    }
}
