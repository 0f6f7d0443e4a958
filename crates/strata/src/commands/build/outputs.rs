//! `-o`, `--annotation`, `--metadata-file`: where the result of a build goes.

mod annotations;
mod parse;

use crate::commands::destination::write_file;
use crate::commands::transfer::Display;
use crate::failure::{Failure, with_causes};
use clap::Args;
use parse::{ImageOptions, Output, bad};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use strata_engine::Engine;
use strata_engine::archive::ArchiveForm;
use strata_engine::build::{BuildReport, BuildRequest};
use strata_engine::transfer::{Progress, Pushed};
use strata_oci::{Descriptor, Reference, media_type};

#[derive(Args, Debug)]
pub(super) struct OutputFlags {
    /// Where the result goes: DIRECTORY, - (a tar), or
    /// type=local|tar|oci|docker|image|registry|cacheonly[,dest=PATH][,name=NAME][,push=true][,compression=gzip|zstd]
    #[arg(short, long, value_name = "DEST")]
    output: Vec<String>,
    /// Annotate the image's manifest: [manifest|manifest-descriptor[PLATFORM]:]KEY=VALUE
    #[arg(long, value_name = "ANNOTATION")]
    annotation: Vec<String>,
    /// Make one layer of all that the build adds to its base image
    #[arg(long)]
    squash: bool,
    /// Keep the image in the store: short for --output type=docker
    #[arg(long)]
    load: bool,
    /// Write digests and names of the result to a file, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
}

/// Where a build goes.
#[derive(Debug)]
pub(super) struct Outputs {
    list: Vec<Output>,
    squash: bool,
    annotations: Vec<annotations::Annotation>,
    metadata_file: Option<PathBuf>,
}

impl OutputFlags {
    pub(super) fn parse(&self, push: bool) -> Result<Outputs, Failure> {
        let mut list = self.output.iter().map(|text| parse::parse(text)).collect::<Result<Vec<_>, _>>()?;
        if push {
            list.push(Output::Registry { image: ImageOptions::default(), kept: true });
        }
        let keeps = list
            .iter()
            .any(|output| matches!(output, Output::Image(_) | Output::Registry { kept: true, .. }));
        if self.load && !list.is_empty() && !keeps {
            list.push(Output::Image(ImageOptions::default()));
        }
        let to_stdout = list.iter().filter(|output| output.is_stdout()).count();
        if to_stdout > 1 {
            return Err(bad("only one output can go to standard output"));
        }
        if to_stdout == 1 && std::io::stdout().is_terminal() {
            return Err(bad("the output is a terminal: redirect it, or name a file with dest=FILE"));
        }
        let annotations = self.annotation.iter().map(|text| annotations::of_flag(text).map_err(bad));
        Ok(Outputs {
            list,
            squash: self.squash,
            annotations: annotations.collect::<Result<_, _>>()?,
            metadata_file: self.metadata_file.clone(),
        })
    }
}

impl Outputs {
    /// Tells the build whether an image is wanted, by which further names and in which shape. What is wrong with the
    /// outputs is said before anything is built.
    pub(super) fn prepare(&self, request: &mut BuildRequest) -> Result<(), Failure> {
        request.keep_image = self.list.is_empty();
        request.shape.squash = self.squash;
        request.needs_layers = self.squash;
        for output in &self.list {
            // To a registry, what is not here goes from where it is, unless it has to be made anew.
            request.needs_layers |= match output {
                Output::Nothing => false,
                Output::Registry { image, .. } => image.clamp_times || image.recipe.is_some(),
                _ => true,
            };
            if let Output::Image(image) | Output::Registry { image, kept: true } = output {
                request.keep_image = true;
                request.shape.clamp_times |= image.clamp_times;
            }
        }
        let images: Vec<&ImageOptions> = self.list.iter().filter_map(Output::image).collect();
        if images.is_empty() && !self.list.is_empty() && !self.annotations.is_empty() {
            return Err(bad("--annotation: none of the outputs is an image"));
        }
        request.annotations = self.form(&ImageOptions::default(), request)?.annotations;
        let asked = request.tags.clone();
        for output in &self.list {
            if let Output::Image(image) | Output::Registry { image, kept: true } = output {
                let annotations = self.form(image, request)?.annotations;
                let names = if image.names.is_empty() { &asked } else { &image.names };
                request.annotated.extend(names.iter().map(|name| (name.clone(), annotations.clone())));
                request.tags.extend(image.names.iter().cloned());
                request.annotations.extend(annotations);
            }
        }
        images.into_iter().try_for_each(|image| self.form(image, request).map(drop))
    }

    /// Refuses, before anything is built, to push what has no name.
    pub(super) fn check(&self, request: &BuildRequest) -> Result<(), Failure> {
        let nameless =
            |output: &Output| matches!(output, Output::Registry { image, .. } if image.names.is_empty());
        if request.tags.is_empty() && self.list.iter().any(nameless) {
            return Err(bad("tag is needed when pushing to registry"));
        }
        if self.squash && request.cache_to.iter().any(|destination| destination.location.is_none()) {
            return Err(bad(
                "--cache-to type=inline: a squashed image has not the layers of its steps; use type=registry",
            ));
        }
        Ok(())
    }

    /// What the store cannot keep of what was asked for, and what cannot be done without `SOURCE_DATE_EPOCH`.
    pub(super) fn remarks(&self, report: &BuildReport) -> Vec<String> {
        let mut remarks = Vec::new();
        let images = || self.list.iter().filter_map(Output::image);
        if images().any(|image| image.clamp_times) && report.epoch.is_none() {
            remarks.push(
                "rewrite-timestamp=true without SOURCE_DATE_EPOCH: times stay as they are; give \
                 --build-arg SOURCE_DATE_EPOCH=SECONDS"
                    .to_owned(),
            );
        }
        remarks
    }

    /// How an image is written into an archive.
    fn form(&self, image: &ImageOptions, request: &BuildRequest) -> Result<ArchiveForm, Failure> {
        let all = self.annotations.iter().chain(&image.annotations);
        let (annotations, descriptor_annotations) =
            annotations::sort(all, &request.options.platform).map_err(bad)?;
        Ok(ArchiveForm {
            recipe: image.recipe,
            docker_types: image.docker_types,
            annotations,
            descriptor_annotations,
            created: None,
        })
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
        let (mut written, mut pushed) = (None, None);
        for output in &self.list {
            match output {
                Output::Directory(path) => {
                    engine.export_directory(report, path)?;
                    tell(&format!("exported the file system to {}", path.display()));
                }
                Output::Tar(path) => to(path.as_deref(), |file| {
                    let mut out = BufWriter::with_capacity(1 << 20, file);
                    engine.export_tar(report, &mut out)?;
                    Ok(out.flush()?)
                })?,
                Output::Archive { destination, packed, image } => {
                    let shaped = engine.with_times(report, image.clamp_times)?;
                    let names = if image.names.is_empty() { &request.tags } else { &image.names };
                    let form = self.form(image, request)?;
                    let manifest = archive(engine, &shaped, names, &form, destination.as_deref(), *packed)?;
                    written.get_or_insert((shaped, manifest));
                }
                Output::Registry { image, .. } => {
                    let shaped = engine.with_times(report, image.clamp_times)?;
                    let names = if image.names.is_empty() { &request.tags } else { &image.names };
                    let annotations = self.form(image, request)?.annotations;
                    for name in names {
                        let shown = |progress: Progress<'_>| display.show(progress);
                        let sent =
                            engine.push_build(&shaped, name, image.recipe, &annotations, &shown, cancel);
                        display.end();
                        pushed = Some(sent.map_err(|error| bad(with_causes(&error)))?);
                    }
                }
                Output::Image(_) | Output::Nothing => {}
            }
        }
        self.remarks(report).iter().for_each(|remark| tell(&format!("WARNING: {remark}")));
        match &self.metadata_file {
            Some(path) => self.write_metadata(engine, request, (report, written, pushed), path),
            None => Ok(()),
        }
    }

    /// buildx's keys; those of an image only if there is one.
    fn write_metadata(
        &self,
        engine: &Engine,
        request: &BuildRequest,
        (report, archive, pushed): (&BuildReport, Option<(BuildReport, Descriptor)>, Option<Pushed>),
        path: &Path,
    ) -> Result<(), Failure> {
        let mut document = Map::new();
        document.insert("buildx.build.ref".to_owned(), Value::from(build_reference()));
        let image = match archive {
            Some((report, manifest)) => Some((report.id, manifest)),
            None if request.keep_image => Some((report.id, engine.manifest(report, &request.annotations)?)),
            // Its layers may have passed by without being here.
            None => pushed.as_ref().map(|pushed| {
                (report.id, Descriptor::new(media_type::OCI_MANIFEST, pushed.digest, pushed.size))
            }),
        };
        if let Some((id, mut manifest)) = image {
            if let Some(pushed) = pushed {
                (manifest.digest, manifest.size) = (pushed.digest, pushed.size);
            }
            document.insert("containerimage.config.digest".to_owned(), Value::from(id.to_string()));
            document.insert("containerimage.descriptor".to_owned(), json!(manifest));
            document.insert("containerimage.digest".to_owned(), Value::from(manifest.digest.to_string()));
            let named = self.list.iter().filter_map(|output| match output {
                Output::Archive { image, .. } | Output::Registry { image, kept: false } => Some(&image.names),
                _ => None,
            });
            let names: Vec<String> =
                request.tags.iter().chain(named.flatten()).map(Reference::to_string).collect();
            if !names.is_empty() {
                document.insert("image.name".to_owned(), Value::from(names.join(",")));
            }
        }
        let text = serde_json::to_string_pretty(&document).map_err(Failure::new)?;
        write_file(path, |mut file| Ok(file.write_all(text.as_bytes())?))
    }
}

/// What buildx calls a build: builder, node and a name that no other build has.
fn build_reference() -> String {
    const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    // The standard library's seeds for hash tables are random numbers of the kernel's.
    let random = || u128::from(RandomState::new().hash_one(std::process::id()));
    let mut rest = random() << 64 | random();
    let name = std::iter::from_fn(|| {
        let letter = LETTERS[(rest % 36) as usize];
        rest /= 36;
        Some(char::from(letter))
    });
    format!("strata/strata/{}", name.take(25).collect::<String>())
}

/// A file, or standard output.
fn to<T>(path: Option<&Path>, write: impl FnOnce(&File) -> Result<T, Failure>) -> Result<T, Failure> {
    match path {
        Some(path) => write_file(path, write),
        None => write(&File::from(std::io::stdout().as_fd().try_clone_to_owned()?)),
    }
}

/// One file, or an OCI layout as a directory.
fn archive(
    engine: &Engine,
    report: &BuildReport,
    names: &[Reference],
    form: &ArchiveForm,
    destination: Option<&Path>,
    packed: bool,
) -> Result<Descriptor, Failure> {
    match destination {
        Some(directory) if !packed => {
            fs_err::create_dir_all(directory)?;
            Ok(engine.export_layout(report, names, form, directory)?)
        }
        file => to(file, |out| Ok(engine.export_archive(report, names, form, out)?)),
    }
}
