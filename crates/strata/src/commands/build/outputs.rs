//! `-o`, `--metadata-file`: where the result of a build goes.

use crate::commands::destination::write_file;
use crate::failure::Failure;
use clap::Args;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use strata_engine::Engine;
use strata_engine::build::{BuildReport, BuildRequest};
use strata_oci::Reference;

#[derive(Args, Debug)]
pub(super) struct OutputFlags {
    /// Where the result goes: DIRECTORY, - (a tar), or type=local|tar|oci|docker|image|cacheonly[,dest=PATH][,name=NAME]
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
    pub(super) fn parse(&self) -> Result<Outputs, Failure> {
        let list = self.output.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
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
            "push" | "push-by-digest" if boolean(key, value)? => {
                return Err(bad(
                    "-o push=true: registries are not supported yet; use type=oci and another tool",
                ));
            }
            "platform-split" | "push" | "push-by-digest" | "unpack" | "store" | "oci-mediatypes"
            | "name-canonical" => {
                boolean(key, value)?;
            }
            "compression" if value == "uncompressed" => {}
            "mode" if value == "copy" => {}
            _ => return Err(bad(format!("{key}={value} in -o is not supported"))),
        }
    }
    let path = |destination: Option<String>| destination.filter(|path| path != "-").map(PathBuf::from);
    match kind.as_deref() {
        None => Err(bad("type is required for -o: local, tar, oci, docker, image or cacheonly")),
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
        Some("image") => Ok(Output::Image(names)),
        Some("cacheonly") => Ok(Output::Nothing),
        Some("registry") => {
            Err(bad("-o type=registry: registries are not supported yet; use type=oci and another tool"))
        }
        Some(other) => {
            Err(bad(format!("unknown type {other:?} of -o: use local, tar, oci, docker, image or cacheonly")))
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
            if let Output::Image(names) = output {
                request.keep_image = true;
                request.tags.extend(names.iter().cloned());
            }
        }
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
    ) -> Result<(), Failure> {
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
                Output::Image(_) | Output::Nothing => {}
            }
        }
        match &self.metadata_file {
            Some(path) => self.write_metadata(engine, request, report, path),
            None => Ok(()),
        }
    }

    fn write_metadata(
        &self,
        engine: &Engine,
        request: &BuildRequest,
        report: &BuildReport,
        path: &Path,
    ) -> Result<(), Failure> {
        let mut document = Map::new();
        let image = |output: &Output| matches!(output, Output::Image(_) | Output::Archive { .. });
        if self.list.is_empty() || self.list.iter().any(image) {
            let (manifest, descriptor) = engine.manifest(report)?;
            document.insert("containerimage.config.digest".to_owned(), Value::from(report.id.to_string()));
            document.insert("containerimage.descriptor".to_owned(), json!(descriptor));
            document.insert("containerimage.digest".to_owned(), Value::from(manifest.digest().to_string()));
            let names = self.list.iter().filter_map(|output| match output {
                Output::Archive { names, .. } => Some(names),
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
        let archive = |packed| Output::Archive { destination: Some("x".into()), names: Vec::new(), packed };
        assert_eq!(parsed("type=oci,dest=x"), archive(true));
        assert_eq!(parsed("type=oci,dest=x,tar=false"), archive(false));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let failed = "ERROR: failed to build: ";
        assert_eq!(refused("type=local"), format!("{failed}dest is required for -o type=local: a directory"));
        let wanted = "type is required for -o: local, tar, oci, docker, image or cacheonly";
        assert_eq!(refused("dest=x"), format!("{failed}{wanted}"));
        for text in [
            "type=what",
            "type=registry",
            "type=image,push=true",
            "type=local,dest=x,what=1",
            "type=tar,tar=maybe",
        ] {
            assert!(!refused(text).is_empty());
        }
    }
}
