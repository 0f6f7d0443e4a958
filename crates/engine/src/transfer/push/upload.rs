//! Bytes to a repository: mounted, compressed, or passed on from another registry.
use super::sender::{Document, Sender};
use crate::EngineError;
use crate::transfer::layer::check;
use crate::transfer::{Offered, Status, TransferError};
use std::io::{self, Cursor, Read};
use std::sync::atomic::AtomicBool;
use strata_layer::compression::Blocks;
use strata_oci::{Descriptor, DiffId, Digest, ImageConfig, Raw, Reference};
use strata_registry::{Mount, Repository, Target};

impl Sender<'_> {
    /// Mounts a blob from the first other repository of the registry that has it.
    pub(super) fn mount(
        &self,
        layer: &DiffId,
        digest: &Digest,
        holders: &[String],
    ) -> Result<bool, EngineError> {
        let own = self.repository.to_string();
        for holder in holders.iter().filter(|holder| **holder != own) {
            let Some((host, path)) = holder.split_once('/') else { continue };
            if host != self.repository.host() {
                continue;
            }
            if let Mount::Mounted = self.registries.mount(&self.repository, digest, path)? {
                self.tell(layer, Status::MountedFrom(path));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends a layer while it is compressed; the digest is known at the end.
    pub(super) fn send_blocks(
        &self,
        layer: &DiffId,
        blocks: &Blocks,
        total: u64,
        cancel: &AtomicBool,
    ) -> Result<(Digest, u64), EngineError> {
        let sent = |sent| self.tell(layer, Status::Pushing { done: blocks.uncompressed(sent), total });
        let open = |offset| Ok(Box::new(blocks.read_from(offset)?) as Box<dyn Read>);
        let mut source = Watched { open: &open, sent: &sent, cancel };
        let mut digest = || blocks.finished().map_or(*layer.digest(), |(digest, _)| digest);
        let sent = self.registries.upload_unsized(&self.repository, layer.digest(), &mut source, &mut digest);
        stopped(sent, cancel)?;
        let unread = || io::Error::other("the registry took a layer that was not read to its end");
        Ok(blocks.finished().ok_or_else(unread)?)
    }

    /// Passes a blob on from a registry that has it, or from where its descriptor says that it is: what cannot be made here
    /// again keeps its digest.
    pub(super) fn forward(
        &self,
        layer: &DiffId,
        blob: &Descriptor,
        holders: &[String],
        cancel: &AtomicBool,
    ) -> Result<(), EngineError> {
        let Descriptor { digest, size, .. } = blob;
        let sent = |sent| self.tell(layer, Status::Pushing { done: sent, total: *size });
        let mut why = String::new();
        for holder in holders {
            let Ok(name) = holder.parse::<Reference>() else { continue };
            let from = Repository::from(&name);
            // Asked first: what cannot be read is no reason to begin an upload.
            if let Err(error) = self.registries.blob(&from, digest, *size, 0) {
                why = format!(" ({error})");
                continue;
            }
            let open = |offset| {
                let blob = self.registries.blob(&from, digest, *size, offset);
                Ok(Box::new(blob.map_err(io::Error::other)?) as Box<dyn Read>)
            };
            return self.send_known(layer, blob, &mut Watched { open: &open, sent: &sent, cancel });
        }
        let elsewhere = |offset| self.registries.foreign_layer(&self.repository, blob, offset);
        if let Some(Ok(_)) = elsewhere(0) {
            let open = |offset| {
                let nowhere = || io::Error::from(io::ErrorKind::NotFound);
                let found = elsewhere(offset).ok_or_else(nowhere)?.map_err(io::Error::other)?;
                Ok(Box::new(found) as Box<dyn Read>)
            };
            return self.send_known(layer, blob, &mut Watched { open: &open, sent: &sent, cancel });
        }
        let unfit = format!("layer {digest} was compressed elsewhere and cannot be had from there{why}");
        Err(TransferError::Unfit(unfit).into())
    }

    /// Sends a blob while it comes from a shared cache, or from the registry of a base image.
    pub(super) fn upload_offered(
        &self,
        layer: &DiffId,
        offered: &Offered,
        cancel: &AtomicBool,
    ) -> Result<(), EngineError> {
        let sent = |sent| self.tell(layer, Status::Pushing { done: sent, total: offered.blob().size });
        let open = |offset| Ok(offered.open(offset)? as Box<dyn Read>);
        self.send_known(layer, offered.blob(), &mut Watched { open: &open, sent: &sent, cancel })
    }

    fn send_known(
        &self,
        layer: &DiffId,
        blob: &Descriptor,
        source: &mut Watched<'_>,
    ) -> Result<(), EngineError> {
        let sent = self.registries.upload(&self.repository, &blob.digest, blob.size, source);
        stopped(sent, source.cancel)?;
        self.tell(layer, Status::Pushed);
        Ok(())
    }

    pub(super) fn place_config(&self, config: &Raw<ImageConfig>) -> Result<(), EngineError> {
        let digest = config.digest();
        if self.registries.blob_exists(&self.repository, digest)? {
            return Ok(());
        }
        let never = AtomicBool::new(false);
        let open = |offset| {
            let mut bytes = Cursor::new(config.bytes().to_vec());
            bytes.set_position(offset);
            Ok(Box::new(bytes) as Box<dyn Read>)
        };
        let mut source = Watched { open: &open, sent: &|_| {}, cancel: &never };
        let size = config.bytes().len() as u64;
        Ok(self.registries.upload(&self.repository, digest, size, &mut source)?)
    }

    /// Points a tag at what was sent: the commit point.
    pub(super) fn name(&self, tag: &str, manifest: &Document) -> Result<(), EngineError> {
        let target = Target::Tag(tag.to_owned());
        self.registries.put_manifest(&self.repository, &target, &manifest.media_type, &manifest.bytes)?;
        Ok(())
    }
}

/// A reader that was told to stop is the reason, not what the client says about the reader.
fn stopped(sent: Result<(), strata_registry::Error>, cancel: &AtomicBool) -> Result<(), EngineError> {
    sent.map_err(|error| check(cancel).err().unwrap_or_else(|| error.into()))
}

/// Opens something to be sent, from any byte on.
type Open<'a> = dyn Fn(u64) -> io::Result<Box<dyn Read + 'a>> + 'a;

/// Something to be sent that tells how far it is, and stops when it is told to.
struct Watched<'a> {
    open: &'a Open<'a>,
    sent: &'a dyn Fn(u64),
    cancel: &'a AtomicBool,
}

/// One reader of it.
struct Sending<'a> {
    inner: Box<dyn Read + 'a>,
    position: u64,
    sent: &'a dyn Fn(u64),
    cancel: &'a AtomicBool,
}

impl strata_registry::Source for Watched<'_> {
    fn open(&mut self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let inner = (self.open)(offset)?;
        Ok(Box::new(Sending { inner, position: offset, sent: self.sent, cancel: self.cancel }))
    }
}

impl Read for Sending<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        check(self.cancel).map_err(io::Error::other)?;
        let count = self.inner.read(buffer)?;
        self.position += count as u64;
        (self.sent)(self.position);
        Ok(count)
    }
}
