//! OCI layouts and Docker archives to read from; directories with an OCI layout to write to.
use super::files::{Files, blob_path, copy_verified};
use super::{CopyError, Destination, Document, Origin, Place, Placed};
use crate::archive::{ArchiveImage, IMAGE_NAME, REF_NAME};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use strata_oci::{Descriptor, Digest, Index, Manifest, Raw, Reference, media_type};

/// Media type of an uncompressed layer in Docker's words.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// A layout with the image that is meant.
pub(super) struct Layout {
    files: Files,
    root: Document,
    /// Content that does not lie at `blobs/sha256/`: a Docker archive without a layout.
    named: HashMap<Digest, String>,
}

impl Layout {
    /// Finds the image in `index.json`: by its tag or full name; without one, the one that has no name, or the only one.
    pub(super) fn open(files: Files, tag: Option<&str>, place: &Place) -> Result<Self, CopyError> {
        let why = |error: &dyn std::fmt::Display| CopyError::Container {
            path: files.path().to_owned(),
            why: format!("no OCI layout: index.json: {error}"),
        };
        let bytes = match files.document("index.json") {
            Err(CopyError::Io(error)) => return Err(why(&error)),
            other => other?,
        };
        let index: Index = serde_json::from_slice(&bytes).map_err(|error| why(&error))?;
        let names: Vec<String> =
            index.manifests.iter().filter_map(|entry| name(entry).map(str::to_owned)).collect();
        let mut entries = index.manifests.into_iter();
        let descriptor = match tag {
            Some(tag) => entries.find(|entry| is_named(entry, tag)).ok_or_else(|| CopyError::Missing {
                place: files.path().display().to_string(),
                wanted: tag.to_owned(),
                there: names,
            })?,
            None => only(entries.collect()).map_err(|several| match several {
                0 => why(&"it lists nothing"),
                _ => CopyError::Ambiguous { place: place.to_string(), there: names },
            })?,
        };
        let root = document(&files, &descriptor)?;
        Ok(Self { files, root, named: HashMap::new() })
    }

    /// An archive of `docker save` before version 25: a manifest is made for it, layers are as they are.
    fn docker(files: Files, name: Option<&Reference>, place: &Place) -> Result<Self, CopyError> {
        let container = |why: String| CopyError::Container { path: files.path().to_owned(), why };
        let listed = files.document("manifest.json")?;
        let images: Vec<ArchiveImage> = serde_json::from_slice(&listed)
            .map_err(|error| container(format!("no Docker archive: manifest.json: {error}")))?;
        let names: Vec<String> =
            images.iter().flat_map(|image| image.repo_tags.clone().unwrap_or_default()).collect();
        let has = |image: &ArchiveImage, name: &Reference| {
            let tags = image.repo_tags.iter().flatten();
            tags.filter_map(|tag| tag.parse::<Reference>().ok()).any(|tag| tag == *name)
        };
        let image = match (name, images.as_slice()) {
            (Some(name), images) => {
                images.iter().find(|image| has(image, name)).ok_or_else(|| CopyError::Missing {
                    place: files.path().display().to_string(),
                    wanted: name.familiar(),
                    there: names,
                })?
            }
            (None, [only]) => only,
            (None, []) => return Err(container("manifest.json lists nothing".to_owned())),
            (None, _) => return Err(CopyError::Ambiguous { place: place.to_string(), there: names }),
        };
        let mut named = HashMap::new();
        let mut descriptor = |kind: &str, path: &String| -> Result<Descriptor, CopyError> {
            let (digest, size) = files.measure(path)?;
            named.insert(digest, path.clone());
            Ok(Descriptor::new(kind, digest, size))
        };
        let config = descriptor(media_type::DOCKER_CONFIG, &image.config)?;
        let layers = image.layers.iter().flatten().map(|path| descriptor(DOCKER_LAYER, path));
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::DOCKER_MANIFEST.to_owned()),
            config,
            layers: layers.collect::<Result<_, _>>()?,
            annotations: Default::default(),
        };
        let root = Document::new(media_type::DOCKER_MANIFEST, Raw::new(manifest).bytes().to_vec());
        Ok(Self { files, root, named })
    }
}

/// Opens a tar file that is an OCI layout, a Docker archive, or both.
pub(super) fn open_archive(
    file: &Path,
    name: Option<&Reference>,
    place: &Place,
) -> Result<Layout, CopyError> {
    let files = Files::tar(file)?;
    let has = |name: &str| match &files {
        Files::Tar { members, .. } => members.contains_key(name),
        Files::Directory(_) => false,
    };
    if has("index.json") && has("oci-layout") {
        return Layout::open(files, name.map(Reference::familiar).as_deref(), place);
    }
    Layout::docker(files, name, place)
}

/// What is meant where no name is given; else how many there are.
fn only(mut entries: Vec<Descriptor>) -> Result<Descriptor, usize> {
    if entries.len() > 1 && entries.iter().filter(|entry| name(entry).is_none()).count() == 1 {
        entries.retain(|entry| name(entry).is_none());
    }
    if entries.len() == 1 { Ok(entries.remove(0)) } else { Err(entries.len()) }
}

fn name(entry: &Descriptor) -> Option<&str> {
    let annotation = |key: &str| entry.annotations.get(key).map(String::as_str);
    annotation(REF_NAME).or_else(|| annotation(IMAGE_NAME))
}

/// By its tag, or by its full name, however short that is written.
fn is_named(entry: &Descriptor, wanted: &str) -> bool {
    let full = |text: &str| text.parse::<Reference>().ok();
    let names = [REF_NAME, IMAGE_NAME].into_iter().filter_map(|key| entry.annotations.get(key));
    names.into_iter().any(|have| have == wanted || (have.contains([':', '/']) && full(have) == full(wanted)))
}

fn document(files: &Files, descriptor: &Descriptor) -> Result<Document, CopyError> {
    let bytes = files.document(&blob_path(&descriptor.digest))?;
    let document = Document::new(descriptor.media_type.clone(), bytes);
    if document.digest != descriptor.digest {
        return Err(CopyError::Digest {
            what: format!("{}: manifest", files.path().display()),
            expected: descriptor.digest,
            found: document.digest,
        });
    }
    Ok(document)
}

impl Origin for Layout {
    fn root(&self) -> Result<Document, CopyError> {
        Ok(self.root.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, CopyError> {
        document(&self.files, descriptor)
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read>> {
        match self.named.get(&blob.digest) {
            Some(name) => self.files.open(name, offset),
            None => self.files.open(&blob_path(&blob.digest), offset),
        }
    }
}

/// A directory that becomes, or is, an OCI layout.
pub(super) struct Directory {
    path: PathBuf,
    tag: Option<String>,
    root: Mutex<Option<Descriptor>>,
}

impl Directory {
    pub(super) fn create(path: &Path, tag: Option<&str>) -> Result<Self, CopyError> {
        fs_err::create_dir_all(path.join("blobs/sha256"))?;
        let marker = path.join("oci-layout");
        if !marker.exists() {
            fs_err::write(marker, "{\"imageLayoutVersion\":\"1.0.0\"}")?;
        }
        Ok(Self { path: path.to_owned(), tag: tag.map(str::to_owned), root: Mutex::default() })
    }

    /// Writes a file so that it is there completely or not at all.
    fn write(
        &self,
        path: &Path,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let mut staged = tempfile::Builder::new().prefix(".copy-").tempfile_in(&self.path)?;
        fill(&mut staged)?;
        staged.as_file().sync_all()?;
        fs_err::set_permissions(staged.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        staged.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

impl Destination for Directory {
    fn blob(&self, blob: &Descriptor, origin: &dyn Origin) -> Result<Placed, CopyError> {
        let path = self.path.join(blob_path(&blob.digest));
        if fs_err::metadata(&path).is_ok_and(|metadata| metadata.len() == blob.size) {
            return Ok(Placed::Exists);
        }
        self.write(&path, &mut |file| copy_verified(blob, &mut *origin.blob(blob, 0)?, file))?;
        Ok(Placed::Copied)
    }

    fn manifest(&self, document: &Document, is_root: bool) -> Result<(), CopyError> {
        let path = self.path.join(blob_path(&document.digest));
        self.write(&path, &mut |file| Ok(file.write_all(&document.bytes)?))?;
        if is_root {
            let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
            *root = Some(document.descriptor());
        }
        Ok(())
    }

    /// Lists the image in `index.json`, in the place of one with the same tag. What others wrote there stays.
    fn finish(self: Box<Self>) -> Result<(), CopyError> {
        let Some(mut root) = self.root.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        if let Some(tag) = &self.tag {
            root.annotations.insert(REF_NAME.to_owned(), tag.clone());
        }
        let path = self.path.join("index.json");
        let mut index = match fs_err::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| CopyError::Container {
                path: path.clone(),
                why: format!("no index of an OCI layout: {error}"),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX })
            }
            Err(error) => return Err(error.into()),
        };
        let replaced = |entry: &Value| match &self.tag {
            Some(tag) => entry["annotations"][REF_NAME] == **tag,
            None => entry["digest"] == root.digest.to_string() && entry["annotations"][REF_NAME].is_null(),
        };
        let mut entries = index["manifests"].as_array().cloned().unwrap_or_default();
        entries.retain(|entry| !replaced(entry));
        entries.push(json!(root));
        index["manifests"] = Value::Array(entries);
        self.write(&path, &mut |file| Ok(file.write_all(index.to_string().as_bytes())?))
    }
}
