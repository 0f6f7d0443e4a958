//! The value of `-o`.

use super::annotations::{self, Annotation};
use crate::failure::Failure;
use std::path::PathBuf;
use strata_engine::transfer::Recipe;
use strata_oci::Reference;

/// One `-o`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// The root file system in a directory.
    Directory(PathBuf),
    /// The root file system as a tar; `None` is standard output.
    Tar(Option<PathBuf>),
    /// An archive, Docker's and an OCI layout at once; unpacked with `tar=false`.
    Archive { destination: Option<PathBuf>, packed: bool, image: ImageOptions },
    /// An image in the store.
    Image(ImageOptions),
    /// An image on the registries of its names; in the store too if `kept`.
    Registry { image: ImageOptions, kept: bool },
    /// Nothing but the cache.
    Nothing,
}

/// What the types that give an image share.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ImageOptions {
    pub(super) names: Vec<Reference>,
    /// `rewrite-timestamp=true`.
    pub(super) clamp_times: bool,
    /// `compression=`, `compression-level=`.
    pub(super) recipe: Option<Recipe>,
    /// `oci-mediatypes=false`.
    pub(super) docker_types: bool,
    pub(super) annotations: Vec<Annotation>,
}

/// Fields as they come.
#[derive(Default)]
struct Fields {
    kind: Option<String>,
    destination: Option<String>,
    unpacked: bool,
    mounted: bool,
    push: bool,
    store: Option<bool>,
    compression: Option<String>,
    level: Option<i32>,
    image: ImageOptions,
    /// Fields that only images have.
    of_image: Option<String>,
}

/// A flag's value that means nothing: told like every other failure of a build, as buildx does.
pub(super) fn bad(message: impl std::fmt::Display) -> Failure {
    Failure::with_code(format!("ERROR: failed to build: {message}"), 1)
}

pub(super) fn parse(text: &str) -> Result<Output, Failure> {
    if !text.contains('=') {
        return Ok(if text == "-" { Output::Tar(None) } else { Output::Directory(text.into()) });
    }
    let mut read = Fields::default();
    for field in fields(text) {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| bad(format!("invalid value {field}: -o takes fields of the form key=value")))?;
        read.field(key.trim(), value)?;
    }
    read.output()
}

impl Fields {
    fn field(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let lower = key.to_lowercase();
        if lower.starts_with("annotation") {
            self.of_image.get_or_insert(lower);
            self.image.annotations.push(annotations::of_output(key, value).map_err(bad)?);
            return Ok(());
        }
        match lower.as_str() {
            "type" => self.kind = Some(value.to_owned()),
            "dest" => self.destination = Some(value.to_owned()),
            "tar" => self.unpacked = !boolean(key, value)?,
            "platform-split" => _ = boolean(key, value)?,
            "mode" if value == "copy" => {}
            "mode" => {
                return Err(bad(format!(
                    "mode={value} in -o is not supported: files are copied over what is there"
                )));
            }
            _ => {
                self.image_field(&lower, value)?;
                self.of_image.get_or_insert(lower);
            }
        }
        Ok(())
    }

    fn image_field(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let image = &mut self.image;
        match key {
            "name" => {
                for name in value.split(',').filter(|name| !name.is_empty()) {
                    let parsed = name.parse();
                    image
                        .names
                        .push(parsed.map_err(|error| bad(format!("invalid name {name:?} in -o: {error}")))?);
                }
            }
            "rewrite-timestamp" => image.clamp_times = boolean(key, value)?,
            "oci-mediatypes" => image.docker_types = !boolean(key, value)?,
            "unpack" => self.mounted = boolean(key, value)?,
            "push" => self.push = boolean(key, value)?,
            "store" => self.store = Some(boolean(key, value)?),
            "compression" => self.compression = Some(value.to_owned()),
            "compression-level" => {
                let level = value.parse().map_err(|_| bad(format!("{value:?} is no level")));
                self.level = Some(level?);
            }
            "push-by-digest" if boolean(key, value)? => {
                return Err(bad("push-by-digest=true in -o is not supported: give the image a name"));
            }
            // Layers are always written as the compression says.
            "push-by-digest" | "force-compression" | "name-canonical" | "registry.insecure" | "buildinfo"
            | "buildinfo-attrs" | "oci-artifact" => _ = boolean(key, value)?,
            "dangling-name-prefix" | "context" => {}
            _ => return Err(bad(format!("{key}={value} in -o is not supported"))),
        }
        Ok(())
    }

    fn output(self) -> Result<Output, Failure> {
        let Self {
            kind,
            destination,
            unpacked,
            mounted,
            push,
            store,
            compression,
            level,
            mut image,
            of_image,
        } = self;
        // A level without a method is gzip's, as with BuildKit.
        if compression.is_some() || level.is_some() {
            let recipe = Recipe::new(compression.as_deref().unwrap_or("gzip"), level);
            image.recipe = Some(recipe.map_err(|why| bad(format!("-o: {why}")))?);
        }
        if let (Some(key), Some(kind @ ("local" | "tar" | "cacheonly"))) = (of_image, kind.as_deref()) {
            return Err(bad(format!("{key} in -o is for images: type={kind} has none")));
        }
        if push && !matches!(kind.as_deref(), Some("image" | "registry")) {
            return Err(bad("push=true in -o is for type=image"));
        }
        if mounted && image.clamp_times {
            return Err(bad("exporter option \"rewrite-timestamp\" conflicts with \"unpack\""));
        }
        let path = |destination: Option<String>| destination.filter(|path| path != "-").map(PathBuf::from);
        match kind.as_deref() {
            None => {
                Err(bad("type is required for -o: local, tar, oci, docker, image, registry or cacheonly"))
            }
            Some("local") => match destination {
                Some(directory) if directory != "-" => Ok(Output::Directory(directory.into())),
                _ => Err(bad("dest is required for -o type=local: a directory")),
            },
            Some("tar") => Ok(Output::Tar(path(destination))),
            Some("docker") if destination.is_none() => Ok(Output::Image(image)),
            Some("oci" | "docker") => {
                let destination = path(destination);
                if unpacked && destination.is_none() {
                    return Err(bad("tar=false in -o needs dest=DIRECTORY"));
                }
                Ok(Output::Archive { destination, packed: !unpacked, image })
            }
            Some("image") if push => Ok(Output::Registry { image, kept: store.unwrap_or(true) }),
            // Nobody gets it: what is left are the steps.
            Some("image") if store == Some(false) => Ok(Output::Nothing),
            Some("image") => Ok(Output::Image(image)),
            Some("registry") => Ok(Output::Registry { image, kept: store.unwrap_or(false) }),
            Some("cacheonly") => Ok(Output::Nothing),
            Some(other) => Err(bad(format!(
                "unknown type {other:?} of -o: use local, tar, oci, docker, image, registry or cacheonly"
            ))),
        }
    }
}

/// Splits at commas; a field in double quotes may hold some.
fn fields(text: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => fields.last_mut().expect("there is always one").push(letter),
        }
    }
    fields
}

fn boolean(key: &str, value: &str) -> Result<bool, Failure> {
    match value.to_lowercase().as_str() {
        "true" | "t" | "1" => Ok(true),
        "false" | "f" | "0" => Ok(false),
        _ => Err(bad(format!("invalid value {value:?} for {key} in -o: use true or false"))),
    }
}

impl Output {
    pub(super) fn is_stdout(&self) -> bool {
        matches!(self, Self::Tar(None) | Self::Archive { destination: None, .. })
    }

    /// What is said of the image, if it is one.
    pub(super) fn image(&self) -> Option<&ImageOptions> {
        match self {
            Self::Image(image) | Self::Archive { image, .. } | Self::Registry { image, .. } => Some(image),
            Self::Directory(_) | Self::Tar(_) | Self::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Output {
        parse(text).expect(text)
    }

    fn refused(text: &str) -> String {
        let told = parse(text).expect_err(text).to_string();
        told.strip_prefix("ERROR: failed to build: ").expect("as buildx says it").to_owned()
    }

    fn archive(packed: bool, image: ImageOptions) -> Output {
        Output::Archive { destination: Some("x".into()), packed, image }
    }

    #[test]
    fn short_forms() {
        assert_eq!(parsed("-"), Output::Tar(None));
        assert_eq!(parsed("out/dir"), Output::Directory("out/dir".into()));
    }

    #[test]
    fn long_forms() {
        assert_eq!(parsed("type=local,dest=out"), Output::Directory("out".into()));
        assert_eq!(parsed("type=tar"), Output::Tar(None));
        assert_eq!(parsed("type=tar,dest=-"), Output::Tar(None));
        assert_eq!(parsed("type=tar,dest=x.tar"), Output::Tar(Some("x.tar".into())));
        assert_eq!(parsed("type=cacheonly"), Output::Nothing);
        assert_eq!(parsed("type=docker"), Output::Image(ImageOptions::default()));
        let names = vec!["a:1".parse().unwrap(), "b".parse().unwrap()];
        let named = Output::Image(ImageOptions { names, ..ImageOptions::default() });
        assert_eq!(parsed("type=image,\"name=a:1,b\",push=false"), named);
        assert_eq!(parsed("type=oci,dest=x"), archive(true, ImageOptions::default()));
        assert_eq!(parsed("type=oci,dest=x,tar=false"), archive(false, ImageOptions::default()));
    }

    #[test]
    fn registries() {
        let registry = |kept, image| Output::Registry { image, kept };
        assert_eq!(parsed("type=registry"), registry(false, ImageOptions::default()));
        let recipe = Some(Recipe::new("zstd", Some(9)).expect("a recipe"));
        let text = "type=image,push=true,compression=zstd,compression-level=9";
        assert_eq!(parsed(text), registry(true, ImageOptions { recipe, ..ImageOptions::default() }));
    }

    #[test]
    fn what_is_said_of_an_image() {
        let text = "type=oci,dest=x,compression=zstd,compression-level=9,force-compression=true,\
                    oci-mediatypes=false,rewrite-timestamp=true,annotation.a=b=c,buildinfo=true";
        let Output::Archive { image, .. } = parsed(text) else { panic!("an archive") };
        assert_eq!(image.recipe, Some(Recipe::new("zstd", Some(9)).unwrap()));
        assert!(image.docker_types && image.clamp_times);
        assert_eq!(image.annotations.len(), 1);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        assert_eq!(refused("type=local"), "dest is required for -o type=local: a directory");
        let wanted = "type is required for -o: local, tar, oci, docker, image, registry or cacheonly";
        assert_eq!(refused("dest=x"), wanted);
        assert_eq!(
            refused("type=image,unpack=true,rewrite-timestamp=true"),
            "exporter option \"rewrite-timestamp\" conflicts with \"unpack\""
        );
        assert_eq!(
            refused("type=local,dest=x,rewrite-timestamp=true"),
            "rewrite-timestamp in -o is for images: type=local has none"
        );
        assert_eq!(
            refused("type=oci,dest=x,compression=estargz"),
            "-o: unknown compression \"estargz\": use gzip, zstd or uncompressed"
        );
        for text in [
            "type=what",
            "type=tar,push=true",
            "type=registry,compression=xz",
            "type=registry,compression=gzip,compression-level=10",
            "type=local,dest=x,what=1",
            "type=tar,tar=maybe",
            "type=oci,dest=x,compression-level=high",
            "type=local,dest=x,mode=delete",
        ] {
            assert!(!refused(text).is_empty());
        }
    }
}
