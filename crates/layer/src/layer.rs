//! An opened layer: index in memory, tar by offset.
use crate::index::{Digests, read_digests};
use crate::{ContentDigest, LayerError, Metadata};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use strata_erofs::{FileType, Image, Inode, Nid, Region, Source, Xattr};

/// overlayfs's mark on a directory that hides what the layers below have in it.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// The pair of one layer's index and tar.
pub struct Layer {
    tar: File,
    image: Image<Vec<u8>>,
    digests: Digests,
}

impl Layer {
    /// Opens a layer from its index bytes and its tar.
    ///
    /// # Errors
    /// A damaged index, or a tar of another length than the one the index was made for. The kernel checks
    /// neither (`spec/erofs.md` section 2), so a pair must pass here before it is mounted.
    pub fn open(index: Vec<u8>, tar: File) -> Result<Self, LayerError> {
        let (image, digests) = read_digests(index)?;
        let length = tar.metadata()?.len();
        if length != digests.tar_length() {
            return Err(LayerError::Tar {
                offset: length,
                path: None,
                what: format!("the tar has {length} bytes, its index was made for {}", digests.tar_length()),
            });
        }
        Ok(Self { tar, image, digests })
    }

    /// The index.
    pub fn image(&self) -> &Image<Vec<u8>> {
        &self.image
    }

    /// Length of the tar in bytes.
    pub fn tar_length(&self) -> u64 {
        self.digests.tar_length()
    }

    /// Content digest of a regular file, from the index's own section.
    pub fn content_digest(&self, nid: u64) -> Option<ContentDigest> {
        self.digests.get(nid)
    }

    /// Reads file bytes at an offset; 0 at the end.
    pub fn read_at(&self, nid: u64, buffer: &mut [u8], offset: u64) -> Result<usize, LayerError> {
        let regions = self.image.regions(nid)?;
        Ok(self.read_regions(&regions, buffer, offset)?)
    }

    /// A regular file's bytes from start to end.
    pub(crate) fn reader(&self, nid: u64) -> Result<FileReader<'_>, LayerError> {
        Ok(FileReader { layer: self, regions: self.image.regions(nid)?, region: 0, offset: 0 })
    }

    /// What `stat` shows of an inode.
    pub(crate) fn metadata(&self, nid: Nid) -> Result<Metadata, LayerError> {
        let inode = self.image.inode(nid)?;
        let xattrs = self.image.xattrs(nid)?;
        Ok(to_metadata(inode, xattrs))
    }

    /// True when overlayfs must not look below directory `nid`.
    pub(crate) fn is_opaque(&self, nid: Nid) -> Result<bool, LayerError> {
        Ok(self.image.xattrs(nid)?.iter().any(|xattr| xattr.name == OPAQUE && xattr.value == b"y"))
    }

    /// True when the entry hides its name in the layers below.
    pub(crate) fn is_whiteout(&self, nid: Nid, file_type: FileType) -> Result<bool, LayerError> {
        Ok(file_type == FileType::CharDevice && self.image.inode(nid)?.rdev == (0, 0))
    }

    /// The tar.
    pub(crate) fn tar(&self) -> &File {
        &self.tar
    }

    /// Reads from the region that holds `offset`; 0 when none does.
    fn read_regions(&self, regions: &[Region], buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let found = regions.partition_point(|region| region.logical + region.length <= offset);
        regions.get(found).map_or(Ok(0), |region| self.read_region(region, buffer, offset))
    }

    fn read_region(&self, region: &Region, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let skip = offset - region.logical;
        let length = usize::try_from(region.length - skip).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..length];
        match region.source {
            Source::Device(_, start) => match self.tar.read_at(buffer, start + skip)? {
                0 if length > 0 => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the layer's tar ends before byte {}", start + skip),
                )),
                read => Ok(read),
            },
            Source::Image(start) => {
                let start = usize::try_from(start + skip).map_err(io::Error::other)?;
                let bytes = self.image.bytes().get(start..start.saturating_add(length));
                buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(length)
            }
            Source::Hole => {
                buffer.fill(0);
                Ok(length)
            }
        }
    }
}

fn to_metadata(inode: Inode, xattrs: Vec<Xattr>) -> Metadata {
    let has_size = matches!(inode.file_type, FileType::Regular | FileType::Symlink);
    Metadata {
        file_type: inode.file_type,
        mode: inode.attributes.mode,
        uid: inode.attributes.uid,
        gid: inode.attributes.gid,
        mtime: inode.attributes.mtime,
        mtime_nsec: inode.attributes.mtime_nsec,
        size: if has_size { inode.size } else { 0 },
        rdev: inode.rdev,
        xattrs,
    }
}

/// A regular file's bytes in order; keeps its place among the regions.
pub(crate) struct FileReader<'a> {
    layer: &'a Layer,
    regions: Vec<Region>,
    region: usize,
    offset: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(region) = self.regions.get(self.region) {
            if self.offset < region.logical + region.length {
                let read = self.layer.read_region(region, buffer, self.offset)?;
                self.offset += read as u64;
                return Ok(read);
            }
            self.region += 1;
        }
        Ok(0)
    }
}
