//! `-o`, `--metadata-file`: where the result of a build goes.

use crate::commands::destination::write_file;
use crate::commands::transfer::Display;
use crate::failure::{Failure, with_causes};
use clap::Args;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use strata_engine::Engine;
use strata_engine::build::{BuildReport, BuildRequest};
use strata_engine::transfer::{Progress, Pushed, Recipe};
use strata_oci::Reference;

#[derive(Args, Debug)]
pub(super) struct OutputFlags {
    /// Where the result goes: DIRECTORY, - (a tar), or
    /// type=local|tar|oci|docker|image|registry|cacheonly[,dest=PATH][,name=NAME][,push=true][,compression=gzip|zstd]
    #[arg(short, long, value_name = "DEST")]
    output: Vec<String>,
    /// Write digests and names of the result to a file, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
}

/// One `-o`.
#[derive(Clone, Debug, PartialEq)]
enum Output {
    /// The root file system in a directory.
    Directory(PathBuf),
    /// The root file system as a tar; `None` is standard output.
    Tar(Option<PathBuf>),
    /// An archive, Docker's and an OCI layout at once; unpacked with `tar=false`.
    Archive { destination: Option<PathBuf>, names: Vec<Reference>, packed: bool },
    /// An image in the store.
    Image(Vec<Reference>),
    /// An image on the registries of its names; in the store too if `kept`.
    Registry { names: Vec<Reference>, kept: bool, recipe: Option<Recipe> },
    /// Nothing but the cache.
    Nothing,
}

/// Where a build goes.
#[derive(Debug)]
pub(super) struct Outputs {
    list: Vec<Output>,
    metadata_file: Option<PathBuf>,
}

impl OutputFlags {
    pub(super) fn parse(&self, push: bool) -> Result<Outputs, Failure> {
        let mut list = self.output.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        if push {
            list.push(Output::Registry { names: Vec::new(), kept: true, recipe: None });
        }
        let to_stdout = list.iter().filter(|output| output.is_stdout()).count();
        if to_stdout > 1 {
            return Err(bad("only one output can go to standard output"));
        }
        if to_stdout == 1 && std::io::stdout().is_terminal() {
            return Err(bad("the output is a terminal: redirect it, or name a file with dest=FILE"));
        }
        Ok(Outputs { list, metadata_file: self.metadata_file.clone() })
    }
}

/// A flag's value that means nothing: told like every other failure of a build, as buildx does.
fn bad(message: impl std::fmt::Display) -> Failure {
    Failure::with_code(format!("ERROR: failed to build: {message}"), 1)
}

fn parse(text: &str) -> Result<Output, Failure> {
    if !text.contains('=') {
        return Ok(if text == "-" { Output::Tar(None) } else { Output::Directory(text.into()) });
    }
    let (mut kind, mut destination, mut names, mut packed) = (None, None, Vec::new(), true);
    let (mut push, mut compression, mut level) = (false, None, None);
    for field in fields(text) {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| bad(format!("invalid value {field}: -o takes fields of the form key=value")))?;
        match key.to_lowercase().as_str() {
            "type" => kind = Some(value.to_owned()),
            "dest" => destination = Some(value.to_owned()),
            "name" => {
                for name in value.split(',') {
                    names.push(
                        name.parse().map_err(|error| bad(format!("invalid name {name:?} in -o: {error}")))?,
                    );
                }
            }
            "tar" => packed = boolean(key, value)?,
            "push" => push = boolean(key, value)?,
            "push-by-digest" if boolean(key, value)? => {
                return Err(bad("push-by-digest=true in -o is not supported: give the image a name"));
            }
            "platform-split" | "push-by-digest" | "unpack" | "store" | "oci-mediatypes"
            | "name-canonical" | "force-compression" => {
                boolean(key, value)?;
            }
            "compression" => compression = Some(value.to_owned()),
            "compression-level" => {
                level = Some(value.parse().map_err(|_| bad(format!("{value:?} is no level")))?)
            }
            "mode" if value == "copy" => {}
            _ => return Err(bad(format!("{key}={value} in -o is not supported"))),
        }
    }
    let recipe = match (&compression, level) {
        (None, None) => None,
        (name, level) => Some(Recipe::new(name.as_deref().unwrap_or("gzip"), level).map_err(bad)?),
    };
    let pushes = push || kind.as_deref() == Some("registry");
    if recipe.is_some_and(|recipe| recipe.compresses()) && !pushes {
        return Err(bad("compression in -o is for type=registry and push=true; archives are not compressed"));
    }
    if push && !matches!(kind.as_deref(), Some("image" | "registry")) {
        return Err(bad("push=true in -o is for type=image"));
    }
    let path = |destination: Option<String>| destination.filter(|path| path != "-").map(PathBuf::from);
    match kind.as_deref() {
        None => Err(bad("type is required for -o: local, tar, oci, docker, image, registry or cacheonly")),
        Some("local") => match destination {
            Some(directory) if directory != "-" => Ok(Output::Directory(directory.into())),
            _ => Err(bad("dest is required for -o type=local: a directory")),
        },
        Some("tar") => Ok(Output::Tar(path(destination))),
        Some("docker") if destination.is_none() => Ok(Output::Image(names)),
        Some("oci" | "docker") => {
            let destination = path(destination);
            if !packed && destination.is_none() {
                return Err(bad("tar=false in -o needs dest=DIRECTORY"));
            }
            Ok(Output::Archive { destination, names, packed })
        }
        Some("image") if push => Ok(Output::Registry { names, kept: true, recipe }),
        Some("image") => Ok(Output::Image(names)),
        Some("registry") => Ok(Output::Registry { names, kept: false, recipe }),
        Some("cacheonly") => Ok(Output::Nothing),
        Some(other) => Err(bad(format!(
            "unknown type {other:?} of -o: use local, tar, oci, docker, image, registry or cacheonly"
        ))),
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
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(bad(format!("invalid value {other:?} for {key} in -o: use true or false"))),
    }
}

impl Output {
    fn is_stdout(&self) -> bool {
        matches!(self, Self::Tar(None) | Self::Archive { destination: None, .. })
    }
}

impl Outputs {
    /// Tells the build whether an image is wanted, and by which further names.
    pub(super) fn prepare(&self, request: &mut BuildRequest) {
        request.keep_image = self.list.is_empty();
        for output in &self.list {
            if let Output::Image(names) | Output::Registry { names, kept: true, .. } = output {
                request.keep_image = true;
                request.tags.extend(names.iter().cloned());
            }
        }
    }

    /// Refuses, before anything is built, to push what has no name.
    pub(super) fn check(&self, request: &BuildRequest) -> Result<(), Failure> {
        let nameless = |output: &Output| matches!(output, Output::Registry { names, .. } if names.is_empty());
        if request.tags.is_empty() && self.list.iter().any(nameless) {
            return Err(bad("tag is needed when pushing to registry"));
        }
        Ok(())
    }

    /// True when standard output belongs to an export.
    pub(super) fn takes_stdout(&self) -> bool {
        self.list.iter().any(Output::is_stdout)
    }

    /// Writes everything that was asked for.
    pub(super) fn write(
        &self,
        engine: &Engine,
        request: &BuildRequest,
        report: &BuildReport,
        tell: &dyn Fn(&str),
        display: &Display,
        cancel: &AtomicBool,
    ) -> Result<(), Failure> {
        let mut pushed = None;
        let epoch = request.options.build_args.get("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
        for output in &self.list {
            match output {
                Output::Directory(path) => {
                    engine.export_directory(report, path, epoch)?;
                    tell(&format!("exported the file system to {}", path.display()));
                }
                Output::Tar(path) => to(path.as_deref(), |file| {
                    let mut out = BufWriter::with_capacity(1 << 20, file);
                    engine.export_tar(report, &mut out, epoch)?;
                    Ok(out.flush()?)
                })?,
                Output::Archive { destination, names, packed } => {
                    let names = if names.is_empty() { &request.tags } else { names };
                    match destination {
                        Some(directory) if !packed => unpacked(engine, report, names, directory)?,
                        destination => {
                            to(destination.as_deref(), |file| {
                                Ok(engine.export_archive(report, names, file)?)
                            })?;
                        }
                    }
                }
                Output::Registry { names, recipe, .. } => {
                    let names = if names.is_empty() { &request.tags } else { names };
                    for name in names {
                        let shown = |progress: Progress<'_>| display.show(progress);
                        let sent = engine.push_build(report, name, *recipe, &shown, cancel);
                        display.end();
                        let sent = sent.map_err(|error| bad(with_causes(&error)))?;
                        pushed = Some(sent);
                    }
                }
                Output::Image(_) | Output::Nothing => {}
            }
        }
        match &self.metadata_file {
            Some(path) => self.write_metadata(engine, request, report, pushed.as_ref(), path),
            None => Ok(()),
        }
    }

    fn write_metadata(
        &self,
        engine: &Engine,
        request: &BuildRequest,
        report: &BuildReport,
        pushed: Option<&Pushed>,
        path: &Path,
    ) -> Result<(), Failure> {
        let mut document = Map::new();
        let image =
            |output: &Output| !matches!(output, Output::Directory(_) | Output::Tar(_) | Output::Nothing);
        if self.list.is_empty() || self.list.iter().any(image) {
            let (manifest, mut descriptor) = engine.manifest(report)?;
            let mut digest = *manifest.digest();
            if let Some(pushed) = pushed {
                (digest, descriptor.digest, descriptor.size) = (pushed.digest, pushed.digest, pushed.size);
            }
            document.insert("containerimage.config.digest".to_owned(), Value::from(report.id.to_string()));
            document.insert("containerimage.descriptor".to_owned(), json!(descriptor));
            document.insert("containerimage.digest".to_owned(), Value::from(digest.to_string()));
            let names = self.list.iter().filter_map(|output| match output {
                Output::Archive { names, .. } | Output::Registry { names, kept: false, .. } => Some(names),
                _ => None,
            });
            let names: Vec<String> =
                request.tags.iter().chain(names.flatten()).map(Reference::to_string).collect();
            if !names.is_empty() {
                document.insert("image.name".to_owned(), Value::from(names.join(",")));
            }
        }
        let text = serde_json::to_string_pretty(&document).map_err(Failure::new)?;
        write_file(path, |mut file| Ok(file.write_all(text.as_bytes())?))
    }
}

/// A file, or standard output.
fn to(path: Option<&Path>, write: impl FnOnce(&File) -> Result<(), Failure>) -> Result<(), Failure> {
    match path {
        Some(path) => write_file(path, write),
        None => write(&File::from(std::io::stdout().as_fd().try_clone_to_owned()?)),
    }
}

/// An OCI layout as a directory.
fn unpacked(
    engine: &Engine,
    report: &BuildReport,
    names: &[Reference],
    directory: &Path,
) -> Result<(), Failure> {
    fs_err::create_dir_all(directory)?;
    engine.export_layout(report, names, directory).map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Output {
        parse(text).expect(text)
    }

    fn refused(text: &str) -> String {
        parse(text).expect_err(text).to_string().lines().next().unwrap_or_default().to_owned()
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
        assert_eq!(parsed("type=docker"), Output::Image(Vec::new()));
        let named = Output::Image(vec!["a:1".parse().unwrap(), "b".parse().unwrap()]);
        assert_eq!(parsed("type=image,\"name=a:1,b\",push=false"), named);
        let registry = |kept, recipe| Output::Registry { names: Vec::new(), kept, recipe };
        assert_eq!(parsed("type=registry"), registry(false, None));
        let zstd = Recipe::new("zstd", Some(9)).expect("a recipe");
        let text = "type=image,push=true,compression=zstd,compression-level=9";
        assert_eq!(parsed(text), registry(true, Some(zstd)));
        let archive = |packed| Output::Archive { destination: Some("x".into()), names: Vec::new(), packed };
        assert_eq!(parsed("type=oci,dest=x"), archive(true));
        assert_eq!(parsed("type=oci,dest=x,tar=false"), archive(false));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let failed = "ERROR: failed to build: ";
        assert_eq!(refused("type=local"), format!("{failed}dest is required for -o type=local: a directory"));
        let wanted = "type is required for -o: local, tar, oci, docker, image, registry or cacheonly";
        assert_eq!(refused("dest=x"), format!("{failed}{wanted}"));
        for text in [
            "type=what",
            "type=tar,push=true",
            "type=oci,dest=x,compression=zstd",
            "type=registry,compression=xz",
            "type=registry,compression=gzip,compression-level=10",
            "type=local,dest=x,what=1",
            "type=tar,tar=maybe",
        ] {
            assert!(!refused(text).is_empty());
        }
    }
}
