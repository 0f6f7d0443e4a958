//! `save`.
use super::ArchiveImage;
use super::form::{ArchiveForm, Blob, Saved, descriptors, manifest};
use crate::{Engine, EngineError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Write;
use strata_oci::{
    ChainId, Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, Raw, Reference, media_type,
};

impl Engine {
    /// Writes one archive that is both a Docker archive and an OCI layout. Layers are copied inside the kernel
    /// where `out` is a file.
    pub fn save(&self, names: &[String], out: &File) -> Result<(), EngineError> {
        let images = self.saved_images(names)?;
        self.write_archive(&images, &ArchiveForm::default(), out).map(drop)
    }

    /// An archive of an image that need not be in the store; its layers must be. Gives its manifest's descriptor.
    pub(crate) fn save_config(
        &self,
        config: Raw<ImageConfig>,
        names: Vec<Reference>,
        form: &ArchiveForm,
        out: &File,
    ) -> Result<Descriptor, EngineError> {
        Ok(self
            .write_archive(&[Saved { config, names, annotations: BTreeMap::new() }], form, out)?
            .swap_remove(0))
    }

    /// An image's manifest with its layers as they are, uncompressed; and its descriptor.
    pub(crate) fn manifest_of(
        &self,
        config: &Raw<ImageConfig>,
        annotations: BTreeMap<String, String>,
    ) -> Result<(Descriptor, Raw<Manifest>), EngineError> {
        let mut blobs = HashMap::new();
        let form = ArchiveForm::default();
        for layer in &config.value().rootfs.diff_ids {
            blobs.insert(*layer, self.layer_blob(layer, &form)?.0);
        }
        let image = Saved { config: config.clone(), names: Vec::new(), annotations };
        let manifest = Raw::new(manifest(&image, &blobs, &form));
        Ok((descriptors(&image, &manifest, &form).swap_remove(0), manifest))
    }

    /// Gives what stands in the index, in its order.
    fn write_archive(
        &self,
        images: &[Saved],
        form: &ArchiveForm,
        out: &File,
    ) -> Result<Vec<Descriptor>, EngineError> {
        let mut archive = Archive { out, directories: BTreeSet::new(), length: 0 };
        let mut blobs = HashMap::new();
        for image in images {
            for layer in &image.config.value().rootfs.diff_ids {
                if !blobs.contains_key(layer) {
                    let (blob, content) = self.layer_blob(layer, form)?;
                    archive.file(&blob_path(&blob.digest), content, blob.length)?;
                    blobs.insert(*layer, blob);
                }
            }
        }
        let mut written = BTreeSet::new();
        for image in images {
            if written.insert(*image.config.digest()) {
                archive.bytes(&blob_path(image.config.digest()), image.config.bytes())?;
            }
            // `layer.tar` is a plain tar for everyone who reads it.
            if form.compresses().is_none() {
                for (id, below, layer) in legacy_layers(image.config.value()) {
                    archive.legacy_layer(&id, below.as_deref(), &layer, image.config.value())?;
                }
            }
        }
        let index = archive.metadata(images, &blobs, form)?;
        archive.finish()?;
        Ok(index)
    }

    /// Resolves every name; one image named twice is saved once with both names, if they stand for the same manifest. A
    /// repository without a tag is its `latest`; an ID saves the image without a name.
    fn saved_images(&self, names: &[String]) -> Result<Vec<Saved>, EngineError> {
        let images = self.store().images();
        let mut saved: Vec<Saved> = Vec::new();
        for name in names {
            let id = images.resolve(name)?;
            let mut reference =
                name.parse::<Reference>().ok().filter(|reference| reference.digest().is_none());
            if let Some(named) = &reference
                && images.lookup(named)? != Some(id)
            {
                // A name that is also an ID prefix only counts as a name when it is one.
                reference = None;
            }
            let annotations = self.annotations(images.named_manifest(&id, reference.as_ref())?);
            let same =
                |image: &&mut Saved| image.config.digest() == id.digest() && image.annotations == annotations;
            match saved.iter_mut().find(same) {
                Some(image) => image.names.extend(reference.filter(|name| !image.names.contains(name))),
                None => {
                    let names = reference.into_iter().collect();
                    saved.push(Saved { config: images.config(&id)?, names, annotations });
                }
            }
        }
        Ok(saved)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Docker's v1 ID of each layer: here, its chain ID, which tells it apart by what lies below too.
fn legacy_layers(config: &ImageConfig) -> Vec<(String, Option<String>, DiffId)> {
    let mut chain: Option<ChainId> = None;
    let mut layers = Vec::new();
    for layer in &config.rootfs.diff_ids {
        let below = chain.map(|chain| chain.hex());
        let id = ChainId::extend(chain, *layer);
        layers.push((id.hex(), below, *layer));
        chain = Some(id);
    }
    layers
}

/// A tar being written: ustar headers, fixed owners and times, so that equal images give equal archives.
struct Archive<'a> {
    out: &'a File,
    directories: BTreeSet<String>,
    length: u64,
}

impl Archive<'_> {
    fn header(
        &mut self,
        path: &str,
        kind: tar::EntryType,
        size: u64,
        link: Option<&str>,
    ) -> Result<(), EngineError> {
        let mut header = tar::Header::new_ustar();
        header.set_path(path)?;
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        if let Some(link) = link {
            header.set_link_name(link)?;
        }
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.length += bytes.len() as u64;
        Ok(self.out.write_all(bytes)?)
    }

    fn pad(&mut self) -> Result<(), EngineError> {
        let missing = self.length.next_multiple_of(512) - self.length;
        self.write(&[0; 512][..missing as usize])
    }

    fn parents(&mut self, path: &str) -> Result<(), EngineError> {
        for (at, _) in path.match_indices('/') {
            if self.directories.insert(path[..at].to_owned()) {
                self.header(&path[..=at], tar::EntryType::Directory, 0, None)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, mut content: File, length: u64) -> Result<(), EngineError> {
        self.parents(path)?;
        self.header(path, tar::EntryType::Regular, length, None)?;
        let copied = std::io::copy(&mut content, &mut self.out)?;
        if copied != length {
            return Err(EngineError::Archive(format!(
                "{path}: {copied} bytes were read where {length} were expected"
            )));
        }
        self.length += copied;
        self.pad()
    }

    fn bytes(&mut self, path: &str, content: &[u8]) -> Result<(), EngineError> {
        self.parents(path)?;
        self.header(path, tar::EntryType::Regular, content.len() as u64, None)?;
        self.write(content)?;
        self.pad()
    }

    /// `<id>/VERSION`, `<id>/json` and `<id>/layer.tar`, once per layer on its stack.
    fn legacy_layer(
        &mut self,
        id: &str,
        below: Option<&str>,
        layer: &DiffId,
        config: &ImageConfig,
    ) -> Result<(), EngineError> {
        if self.directories.contains(id) {
            return Ok(());
        }
        let mut document = json!({ "id": id, "os": config.platform.os });
        if let (Some(below), Some(fields)) = (below, document.as_object_mut()) {
            fields.insert("parent".to_owned(), Value::from(below));
        }
        self.bytes(&format!("{id}/VERSION"), b"1.0")?;
        self.bytes(&format!("{id}/json"), document.to_string().as_bytes())?;
        self.header(&format!("{id}/layer.tar"), tar::EntryType::Link, 0, Some(&blob_path(layer.digest())))
    }

    fn metadata(
        &mut self,
        images: &[Saved],
        blobs: &HashMap<DiffId, Blob>,
        form: &ArchiveForm,
    ) -> Result<Vec<Descriptor>, EngineError> {
        let mut index = Vec::new();
        let mut docker = Vec::new();
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for image in images {
            let manifest = Raw::new(manifest(image, blobs, form));
            self.bytes(&blob_path(manifest.digest()), manifest.bytes())?;
            index.extend(descriptors(image, &manifest, form));
            let layers = &image.config.value().rootfs.diff_ids;
            // Docker's list knows no annotations: one image stands in it once.
            let config = blob_path(image.config.digest());
            let names = image.names.iter().map(Reference::familiar);
            match docker.iter_mut().find(|listed: &&mut ArchiveImage| listed.config == config) {
                Some(_) if image.names.is_empty() => {}
                Some(listed) => listed.repo_tags.get_or_insert_default().extend(names),
                None => docker.push(ArchiveImage {
                    config,
                    repo_tags: (!image.names.is_empty()).then(|| names.collect()),
                    layers: Some(layers.iter().map(|layer| blob_path(&blobs[layer].digest)).collect()),
                }),
            }
            let top = ChainId::of(layers).map(|chain| chain.hex()).unwrap_or_default();
            for name in &image.names {
                let tags = repositories.entry(name.familiar_name()).or_default();
                tags.insert(name.tag().unwrap_or("latest").to_owned(), top.clone());
            }
        }
        let document = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            manifests: index.clone(),
            annotations: BTreeMap::new(),
        };
        self.bytes("index.json", Raw::new(document).bytes())?;
        self.bytes("manifest.json", Raw::new(docker).bytes())?;
        self.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        if !repositories.is_empty() && form.compresses().is_none() {
            self.bytes("repositories", Raw::new(repositories).bytes())?;
        }
        Ok(index)
    }

    fn finish(mut self) -> Result<(), EngineError> {
        self.write(&[0; 1024])
    }
}
