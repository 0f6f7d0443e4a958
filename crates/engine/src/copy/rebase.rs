//! An image on a newer base without building it again.
//!
//! What a build would give on the new base is known when three things hold: the old base's layers are the lowest of the
//! image, its history is the beginning of the image's, and every difference between the configs is the image's or the
//! base's doing, not both at once. Then the old base's layers are replaced by the new one's, and of the config what the
//! image did is kept and what the base did is renewed. What the steps above would have done differently on the new base
//! (a `RUN` that compiles against its libraries) nobody can know: that remains the caller's judgement.

mod merge;

use super::choose::{self, is_index, is_known};
use super::{Copied, Copier, CopyError, Document, Origin, Place};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Cursor, Read};
use strata_oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Raw, media_type};
use strata_registry::Repository;

const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// What to rebase.
#[derive(Clone, Debug)]
pub struct RebaseRequest {
    /// The image.
    pub image: Place,
    /// What it was built on; `None`: what its annotations say.
    pub old_base: Option<Place>,
    /// What it shall stand on.
    pub new_base: Place,
    /// Where the result goes.
    pub destination: Place,
    /// One image of an index instead of all.
    pub platform: Option<Platform>,
}

/// One image with its documents.
struct Image {
    document: Document,
    manifest: Manifest,
    config: ImageConfig,
}

/// The image's and the new base's content, and the documents that were made.
struct Composed<'a> {
    image: &'a dyn Origin,
    base: &'a dyn Origin,
    root: Document,
    made: HashMap<Digest, Document>,
    of_base: BTreeMap<Digest, Descriptor>,
}

impl Copier<'_> {
    /// Replaces an image's base.
    pub fn rebase(&self, request: &RebaseRequest) -> Result<Copied, CopyError> {
        let image = self.origin(&request.image)?;
        let root = choose::root(&*image, request.platform.as_ref(), &request.image)?;
        let old_place = match &request.old_base {
            Some(place) => place.clone(),
            None => annotated(&root, &request.image)?,
        };
        let (old, new) = (self.origin(&old_place)?, self.origin(&request.new_base)?);
        let mut composed = Composed {
            image: &*image,
            base: &*new,
            root: root.clone(),
            made: HashMap::new(),
            of_base: BTreeMap::new(),
        };
        let names = Names { image: &request.image, old: &old_place, new: &request.new_base };
        composed.root = match is_index(&root.media_type) {
            false => composed.one(&root, &*old, &*new, &names)?,
            true => composed.all(&root, &*old, &*new, &names)?,
        };
        let root = composed.root.clone();
        self.deliver(&composed, &root, &request.destination, false)
    }
}

struct Names<'a> {
    image: &'a Place,
    old: &'a Place,
    new: &'a Place,
}

impl Names<'_> {
    fn refuse(&self, why: impl Into<String>) -> CopyError {
        CopyError::Unsafe { image: self.image.to_string(), why: why.into() }
    }
}

/// The base that the image's maker wrote into its annotations.
fn annotated(root: &Document, image: &Place) -> Result<Place, CopyError> {
    let annotations = match is_index(&root.media_type) {
        true => choose::index(root)?.annotations,
        false => choose::manifest(root)?.annotations,
    };
    let unknown = |why: &str| CopyError::Unsafe { image: image.to_string(), why: why.to_owned() };
    let Some(name) = annotations.get(BASE_NAME) else {
        return Err(unknown("its annotations do not tell what it was built on: name the old base"));
    };
    // The name alone would be the base of today.
    let Some(digest) = annotations.get(BASE_DIGEST) else {
        return Err(unknown("its annotations name its base without a digest: name the old base"));
    };
    let name = name.split('@').next().unwrap_or(name);
    format!("docker://{name}@{digest}").parse()
}

fn load(origin: &dyn Origin, document: Document, place: &Place) -> Result<Image, CopyError> {
    let manifest = choose::manifest(&document)?;
    let config = origin.read(&manifest.config)?;
    let config = Raw::<ImageConfig>::parse(config).map_err(|error| CopyError::Malformed {
        what: format!("{place}: config {}", manifest.config.digest),
        why: error.to_string(),
    })?;
    Ok(Image { document, manifest, config: config.value().clone() })
}

/// The image of a base for a platform.
fn base(origin: &dyn Origin, platform: &Platform, place: &Place) -> Result<Image, CopyError> {
    let document = choose::root(origin, Some(platform), place)?;
    load(origin, document, place)
}

impl Composed<'_> {
    fn one(
        &mut self,
        document: &Document,
        old: &dyn Origin,
        new: &dyn Origin,
        names: &Names<'_>,
    ) -> Result<Document, CopyError> {
        let image = load(self.image, document.clone(), names.image)?;
        let platform = image.config.platform.clone();
        let (old, new) = (base(old, &platform, names.old)?, base(new, &platform, names.new)?);
        let (config, above) = self.config(&image, &old, &new, names)?;
        let config = Raw::new(config);
        let to_oci = [&image, &new].iter().any(|one| one.document.media_type == media_type::OCI_MANIFEST);
        let of_base = new.manifest.layers.iter().map(|layer| in_words_of(to_oci, layer));
        for layer in &new.manifest.layers {
            self.of_base.insert(layer.digest, layer.clone());
        }
        let of_image = image.manifest.layers[above..].iter().map(|layer| in_words_of(to_oci, layer));
        let kinds = if to_oci {
            (media_type::OCI_MANIFEST, media_type::OCI_CONFIG)
        } else {
            (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG)
        };
        let mut annotations = image.manifest.annotations.clone();
        note_base(&mut annotations, names.new, &new.document);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(kinds.0.to_owned()),
            config: Descriptor::new(kinds.1, *config.digest(), config.bytes().len() as u64),
            layers: of_base.chain(of_image).collect(),
            annotations: if to_oci { annotations } else { BTreeMap::new() },
        };
        let document = Document::new(kinds.0, Raw::new(manifest).bytes().to_vec());
        self.made.insert(*config.digest(), Document::new(kinds.1, config.bytes().to_vec()));
        self.made.insert(document.digest, document.clone());
        Ok(document)
    }

    /// Every image of an index. Attestations speak of manifests that are no longer in it: they stay behind.
    fn all(
        &mut self,
        root: &Document,
        old: &dyn Origin,
        new: &dyn Origin,
        names: &Names<'_>,
    ) -> Result<Document, CopyError> {
        let index = choose::index(root)?;
        let mut manifests = Vec::new();
        for entry in index.manifests {
            if entry.platform.as_ref().is_some_and(|platform| !is_known(platform)) {
                continue;
            }
            let document = self.image.manifest(&entry)?;
            let made = self.one(&document, old, new, names)?;
            manifests.push(Descriptor {
                platform: entry.platform,
                annotations: entry.annotations,
                ..made.descriptor()
            });
        }
        let mut annotations = index.annotations;
        // The entries name their bases; the index of the base has a digest of its own.
        annotations.remove(BASE_DIGEST);
        annotations.remove(BASE_NAME);
        let media = Some(root.media_type.clone());
        let made = Index { schema_version: 2, media_type: media, manifests, annotations };
        Ok(Document::new(root.media_type.clone(), Raw::new(made).bytes().to_vec()))
    }

    /// The new config, and the number of layers that were the old base's.
    fn config(
        &self,
        image: &Image,
        old: &Image,
        new: &Image,
        names: &Names<'_>,
    ) -> Result<(ImageConfig, usize), CopyError> {
        let (above, below) = (&image.config.rootfs.diff_ids, &old.config.rootfs.diff_ids);
        if !above.starts_with(below) {
            let same = above.iter().zip(below).take_while(|(one, other)| one == other).count();
            let why = format!(
                "it does not stand on {}: of that base's {} layers only the lowest {same} are its own",
                names.old,
                below.len()
            );
            return Err(names.refuse(why));
        }
        if above.len() != image.manifest.layers.len()
            || new.manifest.layers.len() != new.config.rootfs.diff_ids.len()
        {
            return Err(names.refuse("manifest and config disagree about the number of layers"));
        }
        let (mine, theirs) = (&image.config.platform, &new.config.platform);
        if (&mine.os, &mine.architecture) != (&theirs.os, &theirs.architecture) {
            return Err(names.refuse(format!("it is for {mine}, {} is for {theirs}", names.new)));
        }
        let history = merge::history(&image.config, &old.config, &new.config)
            .ok_or_else(|| names.refuse(format!("its history does not begin with that of {}", names.old)))?;
        if !new.config.config.on_build.is_empty() && new.config.config.on_build != old.config.config.on_build
        {
            return Err(
                names.refuse(format!("{} has ONBUILD instructions, which a build would execute", names.new))
            );
        }
        let runtime = merge::runtime(&image.config.config, &old.config.config, &new.config.config)
            .map_err(|why| names.refuse(why))?;
        let mut config = image.config.clone();
        config.config = runtime;
        config.history = history;
        config.rootfs.diff_ids = new.config.rootfs.diff_ids.clone();
        config.rootfs.diff_ids.extend(&above[below.len()..]);
        Ok((config, below.len()))
    }
}

fn note_base(annotations: &mut BTreeMap<String, String>, place: &Place, base: &Document) {
    if let Place::Registry(reference) = place {
        let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        annotations.insert(BASE_NAME.to_owned(), format!("{}{tag}", reference.name()));
        annotations.insert(BASE_DIGEST.to_owned(), base.digest.to_string());
    }
}

/// A layer's media type in OCI's words, where a manifest mixes Docker's and OCI's layers.
fn in_words_of(oci: bool, layer: &Descriptor) -> Descriptor {
    let mut layer = layer.clone();
    if oci {
        layer.media_type = match layer.media_type.as_str() {
            media_type::DOCKER_LAYER_GZIP => media_type::OCI_LAYER_GZIP.to_owned(),
            "application/vnd.docker.image.rootfs.diff.tar" => media_type::OCI_LAYER.to_owned(),
            other => other.to_owned(),
        };
    }
    layer
}

impl Origin for Composed<'_> {
    fn root(&self) -> Result<Document, CopyError> {
        Ok(self.root.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, CopyError> {
        match self.made.get(&descriptor.digest) {
            Some(made) => Ok(made.clone()),
            None => self.image.manifest(descriptor),
        }
    }

    fn blob(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read>> {
        if let Some(made) = self.made.get(&blob.digest) {
            let mut bytes = Cursor::new(made.bytes.clone());
            bytes.set_position(offset);
            return Ok(Box::new(bytes));
        }
        match self.of_base.get(&blob.digest) {
            Some(original) => self.base.blob(original, offset),
            None => self.image.blob(blob, offset),
        }
    }

    fn repository(&self, blob: &Digest) -> Option<Repository> {
        if self.made.contains_key(blob) {
            return None;
        }
        let of_base = self.of_base.contains_key(blob);
        if of_base { self.base.repository(blob) } else { self.image.repository(blob) }
    }
}
