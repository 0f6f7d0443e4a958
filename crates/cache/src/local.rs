//! A cache in a directory: an OCI layout whose index names, by tag, a cache's manifest or index.
use crate::registry::{document, parts};
use crate::{CONFIG_LIMIT, CONFIG_TYPE, Config, Content, Directory, Form, Found, Place, PlaceError, Sent};
use fs_err::File;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use strata_oci::{Descriptor, Digest, Index, media_type};

/// The annotation of an index's entry that holds its tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What says that a directory is an OCI layout.
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// Bytes copied at once.
const BUFFER: usize = 256 << 10;

/// A tag of an OCI layout.
#[derive(Clone, Debug)]
pub struct LocalPlace {
    directory: Directory,
    form: Form,
}

impl LocalPlace {
    /// Nothing is opened or made yet.
    pub fn new(directory: Directory, form: Form) -> Self {
        Self { directory, form }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.path.join("blobs/sha256").join(digest.hex())
    }

    fn not_a_cache(&self, why: impl Into<String>) -> PlaceError {
        PlaceError::NotACache { place: self.to_string(), why: why.into() }
    }

    /// A small file, if it is there.
    fn read(&self, path: PathBuf) -> Result<Option<Vec<u8>>, PlaceError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(CONFIG_LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > CONFIG_LIMIT {
            return Err(self.not_a_cache(format!("a document of it has more than {CONFIG_LIMIT} bytes")));
        }
        Ok(Some(bytes))
    }

    /// A document by its digest, checked.
    fn document(&self, what: &'static str, digest: &Digest) -> Result<Vec<u8>, PlaceError> {
        let bytes = self.read(self.blob_path(digest))?;
        let bytes = bytes.ok_or_else(|| self.not_a_cache(format!("its {what} {digest} is missing")))?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(PlaceError::WrongDigest { place: self.to_string(), what, expected: *digest, found });
        }
        Ok(bytes)
    }

    fn index(&self) -> Result<Option<Index>, PlaceError> {
        let Some(bytes) = self.read(self.directory.path.join("index.json"))? else { return Ok(None) };
        let index = serde_json::from_slice(&bytes);
        index.map(Some).map_err(|error| self.not_a_cache(format!("index.json: {error}")))
    }

    /// What the index names, by digest or by tag; without tags, the only thing that is there.
    fn named(&self) -> Result<Option<Digest>, PlaceError> {
        if let Some(digest) = self.directory.digest {
            return Ok(Some(digest));
        }
        let Some(index) = self.index()? else { return Ok(None) };
        let tagged = |entry: &&Descriptor| entry.annotations.get(REF_NAME) == Some(&self.directory.tag);
        match (index.manifests.iter().find(tagged), &index.manifests[..]) {
            (Some(entry), _) => Ok(Some(entry.digest)),
            (None, [only]) if !only.annotations.contains_key(REF_NAME) => Ok(Some(only.digest)),
            (None, _) => Ok(None),
        }
    }

    /// Writes a file completely or not at all.
    fn write(
        &self,
        path: &std::path::Path,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let directory = path.parent().unwrap_or(&self.directory.path);
        fs_err::create_dir_all(directory)?;
        let mut staged = tempfile::Builder::new().prefix(".strata-").tempfile_in(directory)?;
        let mut file = File::from_parts(staged.as_file().try_clone()?, staged.path());
        fill(&mut file)?;
        file.sync_all()?;
        readable_by_all(staged.as_file_mut())?;
        staged.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    fn put_document(&self, bytes: &[u8]) -> Result<Digest, PlaceError> {
        let digest = Digest::of(bytes);
        let path = self.blob_path(&digest);
        if !path.exists() {
            self.write(&path, |file| file.write_all(bytes))?;
        }
        Ok(digest)
    }

    /// `reset=true`: what no entry of the index leads to goes.
    fn sweep(&self, config: &Digest, named: &Digest, layers: &[Descriptor]) -> Result<(), PlaceError> {
        let keep: std::collections::BTreeSet<String> =
            layers.iter().map(|layer| &layer.digest).chain([config, named]).map(Digest::hex).collect();
        for entry in fs_err::read_dir(self.directory.path.join("blobs/sha256"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_blob = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_blob && !keep.contains(&name) {
                fs_err::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// As other programs leave layouts: temporary files are their owner's alone.
fn readable_by_all(file: &mut std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

impl fmt::Display for LocalPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local:{}", self.directory.path.display())
    }
}

impl Place for LocalPlace {
    fn config(&self) -> Result<Option<Found>, PlaceError> {
        let Some(digest) = self.named()? else { return Ok(None) };
        let bytes = self.document("manifest", &digest)?;
        let parts = parts(&bytes).map_err(|error| self.not_a_cache(error.to_string()))?;
        let (config, blobs) = parts.ok_or_else(|| self.not_a_cache("it has no cache config"))?;
        let bytes = self.document("cache config", &config.digest)?;
        let config =
            Config::parse(&bytes).map_err(|source| PlaceError::Config { place: self.to_string(), source })?;
        let blobs: BTreeMap<_, _> = blobs.into_iter().map(|blob| (blob.digest, blob)).collect();
        Ok(Some(Found { config, blobs, in_image: false }))
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send>, PlaceError> {
        let mut file = File::open(self.blob_path(&blob.digest))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn has(&self, blob: &Digest) -> Result<bool, PlaceError> {
        Ok(self.blob_path(blob).exists())
    }

    fn size(&self, blob: &Digest) -> Result<Option<u64>, PlaceError> {
        match fs_err::metadata(self.blob_path(blob)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn put(&self, content: &dyn Content) -> Result<Sent, PlaceError> {
        let directory = self.directory.path.join("blobs/sha256");
        fs_err::create_dir_all(&directory)?;
        let mut staged = tempfile::Builder::new().prefix(".strata-").tempfile_in(&directory)?;
        let mut reader = content.open(0)?;
        let (mut hasher, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    staged.write_all(&buffer[..count])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let found = Digest::from_bytes(hasher.finalize().into());
        if let Some((expected, _)) = content.known().filter(|(digest, _)| *digest != found) {
            let (place, what) = (self.to_string(), "a layer on its way there");
            return Err(PlaceError::WrongDigest { place, what, expected, found });
        }
        staged.as_file().sync_all()?;
        readable_by_all(staged.as_file_mut())?;
        staged.persist(self.blob_path(&found)).map_err(|error| error.error)?;
        Ok(Sent::Whole)
    }

    fn publish(&self, config: &Config, layers: &[Descriptor]) -> Result<(), PlaceError> {
        let bytes = config.to_bytes();
        let config = self.put_document(&bytes)?;
        let described = Descriptor::new(CONFIG_TYPE, config, bytes.len() as u64);
        let (kind, document) = document(self.form, described, layers);
        let named = self.put_document(&document)?;
        let mut entry = Descriptor::new(kind, named, document.len() as u64);
        entry.annotations.insert(REF_NAME.to_owned(), self.directory.tag.clone());
        let old = if self.directory.reset { None } else { self.index()? };
        let mut index = old.unwrap_or_else(|| Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            ..Index::default()
        });
        index.manifests.retain(|old| {
            let tag = old.annotations.get(REF_NAME);
            tag.is_some_and(|tag| *tag != self.directory.tag)
        });
        index.manifests.push(entry);
        self.write(&self.directory.path.join("oci-layout"), |file| file.write_all(LAYOUT.as_bytes()))?;
        let text = serde_json::to_vec(&index).expect("an index has a JSON form");
        self.write(&self.directory.path.join("index.json"), |file| file.write_all(&text))?;
        if self.directory.reset {
            self.sweep(&config, &named, layers)?;
        }
        Ok(())
    }
}
