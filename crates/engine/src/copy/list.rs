//! Lists of manifests under construction (`manifest create|annotate|push|rm`): files that name images on registries
//! with their platforms, until a push makes an index of them.
use super::choose::is_index;
use super::{Copied, Copier, CopyError, Document, Origin, Place};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use strata_oci::{Descriptor, Digest, Reference, media_type};
use strata_registry::Repository;

/// Where lists wait.
#[derive(Clone, Debug)]
pub struct Lists {
    directory: PathBuf,
}

/// A list of images under one name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct List {
    /// The name that it is to have.
    pub name: String,
    /// Its images, in the order in which they were named.
    pub entries: Vec<Entry>,
}

/// One image of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// As it was named, in full.
    pub reference: String,
    /// Media type of its manifest.
    pub media_type: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Length of its manifest.
    pub size: u64,
    /// `architecture`, `os`, `variant`, `os.version`, `os.features`.
    pub platform: Map<String, Value>,
}

/// What `annotate` says of an image's platform. Empty: leave it as it is.
#[derive(Clone, Debug, Default)]
pub struct Annotation {
    /// `amd64`
    pub architecture: Option<String>,
    /// `linux`
    pub os: Option<String>,
    /// `v7`
    pub variant: Option<String>,
    /// Of Windows.
    pub os_version: Option<String>,
    /// Of Windows.
    pub os_features: Vec<String>,
}

impl Lists {
    /// Lists in a directory, which is made when the first one is written.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn path(&self, name: &Reference) -> PathBuf {
        self.directory.join(format!("{}.json", full(name).replace('/', "_").replace(':', "-")))
    }

    /// A list; `None` when there is none of this name.
    pub fn get(&self, name: &Reference) -> Result<Option<List>, CopyError> {
        let path = self.path(name);
        let bytes = match fs_err::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let malformed = |why: String| CopyError::Malformed { what: path.display().to_string(), why };
        let list: List = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        // Two names may make one file name; the file tells whose it is.
        Ok(Some(list).filter(|list| list.name == full(name)))
    }

    fn put(&self, name: &Reference, list: &List) -> Result<(), CopyError> {
        fs_err::create_dir_all(&self.directory)?;
        let staged = tempfile::Builder::new().prefix(".list-").tempfile_in(&self.directory)?;
        fs_err::write(staged.path(), serde_json::to_vec_pretty(list).expect("a list is serialisable"))?;
        staged.persist(self.path(name)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Forgets a list.
    pub fn remove(&self, name: &Reference) -> Result<(), CopyError> {
        if self.get(name)?.is_none() {
            return Err(CopyError::List(format!("No such manifest: {}", full(name))));
        }
        Ok(fs_err::remove_file(self.path(name))?)
    }

    /// Says on which platform an image of a list runs.
    pub fn annotate(&self, name: &Reference, image: &Reference, say: &Annotation) -> Result<(), CopyError> {
        let absent = || {
            CopyError::List(format!("manifest for image {} does not exist in {}", full(image), full(name)))
        };
        let mut list =
            self.get(name)?.ok_or_else(|| CopyError::List(format!("No such manifest: {}", full(name))))?;
        let entry =
            list.entries.iter_mut().find(|entry| entry.reference == full(image)).ok_or_else(absent)?;
        let texts = [
            ("architecture", &say.architecture),
            ("os", &say.os),
            ("variant", &say.variant),
            ("os.version", &say.os_version),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                entry.platform.insert(key.to_owned(), json!(value));
            }
        }
        if !say.os_features.is_empty() {
            entry.platform.insert("os.features".to_owned(), json!(say.os_features));
        }
        let text = |key: &str| entry.platform.get(key).and_then(Value::as_str).unwrap_or_default();
        let (os, architecture) = (text("os"), text("architecture"));
        if !is_known(os, architecture) {
            return Err(CopyError::List(format!(
                "manifest entry for image has unsupported os/arch combination: {os}/{architecture}"
            )));
        }
        self.put(name, &list)
    }
}

/// Whether Go has a port for it (`go tool dist list`): registries and clients spell platforms as Go does.
fn is_known(os: &str, architecture: &str) -> bool {
    const EVERYWHERE: [&str; 4] = ["386", "amd64", "arm", "arm64"];
    const LINUX: [&str; 9] =
        ["loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x"];
    match os {
        "linux" => EVERYWHERE.contains(&architecture) || LINUX.contains(&architecture),
        "android" | "darwin" | "windows" => EVERYWHERE.contains(&architecture),
        "freebsd" | "openbsd" => EVERYWHERE.contains(&architecture) || architecture == "riscv64",
        "netbsd" => EVERYWHERE.contains(&architecture),
        "plan9" => ["386", "amd64", "arm"].contains(&architecture),
        "aix" => architecture == "ppc64",
        "dragonfly" | "illumos" | "solaris" => architecture == "amd64",
        "ios" => ["amd64", "arm64"].contains(&architecture),
        "js" | "wasip1" => architecture == "wasm",
        _ => false,
    }
}

/// `docker.io/library/busybox:latest`
fn full(name: &Reference) -> String {
    let mut text = name.name();
    if let Some(tag) = name.tag() {
        text = format!("{text}:{tag}");
    }
    if let Some(digest) = name.digest() {
        text = format!("{text}@{digest}");
    }
    text
}

impl List {
    /// The index that a push sends: OCI's, unless an image is Docker's.
    pub fn document(&self) -> Document {
        let oci = self.entries.iter().all(|entry| entry.media_type == media_type::OCI_MANIFEST);
        let kind = if oci { media_type::OCI_INDEX } else { media_type::DOCKER_INDEX };
        let entries = self.entries.iter().map(|entry| {
            json!({
                "mediaType": entry.media_type,
                "size": entry.size,
                "digest": entry.digest,
                "platform": entry.platform,
            })
        });
        let document = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "manifests": entries.collect::<Vec<_>>(),
        });
        let bytes = serde_json::to_vec_pretty(&document).expect("values are serialisable");
        Document::new(kind, bytes)
    }
}

impl Copier<'_> {
    /// Makes a list of images that are on registries, or adds to one. Its name in full.
    pub fn create_list(
        &self,
        lists: &Lists,
        name: &Reference,
        images: &[Reference],
        amend: bool,
    ) -> Result<String, CopyError> {
        let mut list = match lists.get(name)? {
            Some(_) if !amend => {
                let why = "refusing to amend an existing manifest list with no --amend flag";
                return Err(CopyError::List(why.to_owned()));
            }
            Some(list) => list,
            None => List { name: full(name), entries: Vec::new() },
        };
        for image in images {
            let entry = self.entry(image)?;
            list.entries.retain(|have| have.reference != entry.reference);
            list.entries.push(entry);
        }
        lists.put(name, &list)?;
        Ok(list.name)
    }

    fn entry(&self, image: &Reference) -> Result<Entry, CopyError> {
        let origin = self.origin(&Place::Registry(image.clone()))?;
        let document = origin.root()?;
        if is_index(&document.media_type) {
            return Err(CopyError::List(format!("{} is a manifest list", full(image))));
        }
        let manifest = super::choose::manifest(&document)?;
        let config = origin.read(&manifest.config)?;
        let config: Value = serde_json::from_slice(&config).unwrap_or_default();
        let known = ["architecture", "os", "variant", "os.version", "os.features"];
        let said =
            known.iter().filter_map(|key| config.get(*key).map(|value| ((*key).to_owned(), value.clone())));
        Ok(Entry {
            reference: full(image),
            media_type: document.media_type,
            digest: document.digest,
            size: document.bytes.len() as u64,
            platform: said.collect(),
        })
    }

    /// Sends a list, and before it every image of it that the repository does not have.
    pub fn push_list(&self, lists: &Lists, name: &Reference) -> Result<Copied, CopyError> {
        let list = lists.get(name)?.ok_or_else(|| CopyError::List(format!("{} not found", full(name))))?;
        for entry in &list.entries {
            for key in ["architecture", "os"] {
                if entry.platform.get(key).and_then(Value::as_str).is_none_or(str::is_empty) {
                    return Err(CopyError::List(format!(
                        "manifest {} must have an OS and Architecture to be pushed to a registry: see manifest annotate",
                        entry.reference
                    )));
                }
            }
        }
        let mut origins = BTreeMap::new();
        for entry in &list.entries {
            let reference = format!("docker://{}@{}", bare(&entry.reference), entry.digest);
            origins.insert(entry.digest, self.origin(&reference.parse()?)?);
        }
        let gathered = Gathered { root: list.document(), origins, blobs: BTreeMap::new() }.with_blobs()?;
        let root = gathered.root.clone();
        self.deliver(&gathered, &root, &Place::Registry(name.clone()), false)
    }
}

/// The repository of a full reference.
fn bare(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// The images of a list, each from its own repository.
struct Gathered {
    root: Document,
    /// By the digest of the image's manifest.
    origins: BTreeMap<Digest, Box<dyn Origin>>,
    /// Which image a blob belongs to.
    blobs: BTreeMap<Digest, Digest>,
}

impl Gathered {
    fn with_blobs(mut self) -> Result<Self, CopyError> {
        for (digest, origin) in &self.origins {
            let manifest = super::choose::manifest(&origin.root()?)?;
            for blob in std::iter::once(manifest.config).chain(manifest.layers) {
                self.blobs.insert(blob.digest, *digest);
            }
        }
        Ok(self)
    }

    fn of(&self, blob: &Digest) -> Option<&dyn Origin> {
        self.blobs.get(blob).and_then(|image| self.origins.get(image)).map(|origin| &**origin)
    }
}

impl Origin for Gathered {
    fn root(&self) -> Result<Document, CopyError> {
        Ok(self.root.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, CopyError> {
        match self.origins.get(&descriptor.digest) {
            Some(origin) => origin.root(),
            None => {
                Err(CopyError::List(format!("no image of the list has the digest {}", descriptor.digest)))
            }
        }
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read>> {
        let origin = self.of(&blob.digest).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        origin.blob(blob, offset)
    }

    fn repository(&self, blob: &Digest) -> Option<Repository> {
        self.of(blob).and_then(|origin| origin.repository(blob))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_found_under_its_name_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let lists = Lists::new(directory.path().join("manifests"));
        let name = |text: &str| text.parse::<Reference>().expect(text);
        let list = List { name: full(&name("a/b:1")), entries: Vec::new() };
        assert!(lists.get(&name("a/b:1")).expect("readable").is_none());
        lists.put(&name("a/b:1"), &list).expect("written");
        assert!(lists.get(&name("docker.io/a/b:1")).expect("readable").is_some());
        for other in ["a_b:1", "a/b", "a/b-1", "localhost/a/b:1"] {
            assert!(lists.get(&name(other)).expect("readable").is_none(), "{other}");
        }
        assert!(lists.remove(&name("x")).expect_err("none").to_string().starts_with("No such manifest: "));
        lists.remove(&name("a/b:1")).expect("removed");
        assert!(lists.get(&name("a/b:1")).expect("readable").is_none());
    }

    #[test]
    fn repositories_of_references() {
        assert_eq!(bare("localhost:5000/a:1"), "localhost:5000/a");
        assert_eq!(bare("localhost:5000/a"), "localhost:5000/a");
        assert_eq!(bare("docker.io/library/a:1@sha256:00"), "docker.io/library/a");
    }
}
