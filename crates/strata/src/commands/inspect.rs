//! `inspect`, `image inspect`, `container inspect`.

mod remote;

use super::arguments::at_least;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use crate::render::json;
use crate::render::template::{Mode, Template};
use clap::Args;
use serde_json::{Value, json};
use strata_engine::{Engine, EngineError};
use strata_oci::Platform;

/// Show details of containers, images or volumes, whichever has the name.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// A Go template, or json
    #[arg(short, long)]
    format: Option<String>,
    /// Only this kind: container, image, volume
    #[arg(long, value_name = "KIND")]
    r#type: Option<String>,
    /// Also the sizes of containers
    #[arg(short, long)]
    size: bool,
    /// Names or IDs
    #[arg(value_name = "NAME|ID [NAME|ID...]")]
    names: Vec<String>,
}

/// Show details of images.
#[derive(Args, Debug)]
pub(crate) struct InspectImage {
    /// A Go template, or json
    #[arg(short, long)]
    format: Option<String>,
    /// Ask the registry; also oci:DIR[:TAG], docker-archive:FILE. Nothing is fetched but the image's documents
    #[arg(long)]
    remote: bool,
    /// With --remote: the image for this platform (os/arch[/variant]) [default: this machine's]
    #[arg(long, value_name = "PLATFORM", requires = "remote", value_parser = super::place::platform)]
    platform: Option<Platform>,
    /// Names or IDs
    #[arg(value_name = "IMAGE [IMAGE...]")]
    names: Vec<String>,
}

/// Show details of containers.
#[derive(Args, Debug)]
pub(crate) struct InspectContainer {
    /// A Go template, or json
    #[arg(short, long)]
    format: Option<String>,
    /// Also the sizes
    #[arg(short, long)]
    size: bool,
    /// Names or IDs
    #[arg(value_name = "CONTAINER [CONTAINER...]")]
    names: Vec<String>,
}

impl Inspect {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.names, 1)?;
        let engine = global.look()?;
        let kind = self.r#type.as_deref();
        let find = |name: &str| match kind {
            None => any(&engine, name, self.size),
            Some("image") => image(&engine, name),
            Some("container") => container(&engine, name, self.size),
            Some("volume") => volume(&engine, name),
            Some(other) => {
                Err(Failure::new(format!("unknown type: {other:?}: use container, image or volume")))
            }
        };
        show(self.format.as_deref(), &self.names, find)
    }
}

impl InspectImage {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.names, 1)?;
        if self.remote {
            let look = |name: &str| remote::image(global, name, self.platform.as_ref());
            return show(self.format.as_deref(), &self.names, look);
        }
        let engine = global.look()?;
        show(self.format.as_deref(), &self.names, |name| image(&engine, name))
    }
}

impl InspectContainer {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        at_least(&self.names, 1)?;
        let engine = global.look()?;
        show(self.format.as_deref(), &self.names, |name| container(&engine, name, self.size))
    }
}

/// Containers before images before volumes, as Docker looks.
fn any(engine: &Engine, name: &str, size: bool) -> Result<Value, Failure> {
    match engine.inspect_container(name) {
        Ok(document) => return with_size(engine, name, size, document),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    match engine.inspect_image(name) {
        Ok(document) => return serde_json::to_value(document).map_err(Failure::new),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    match volume(engine, name) {
        Ok(document) => Ok(document),
        Err(_) => Err(Failure::new(format!("No such object: {name}"))),
    }
}

fn image(engine: &Engine, name: &str) -> Result<Value, Failure> {
    serde_json::to_value(engine.inspect_image(name)?).map_err(Failure::new)
}

fn container(engine: &Engine, name: &str, size: bool) -> Result<Value, Failure> {
    let document = engine.inspect_container(name)?;
    with_size(engine, name, size, document)
}

fn with_size(engine: &Engine, name: &str, size: bool, mut document: Value) -> Result<Value, Failure> {
    if let (true, Some(fields)) = (size, document.as_object_mut()) {
        let (own, image) = engine.container_size(name)?;
        fields.insert("SizeRw".to_owned(), own.into());
        fields.insert("SizeRootFs".to_owned(), (own + image).into());
    }
    Ok(document)
}

pub(super) fn volume(engine: &Engine, name: &str) -> Result<Value, Failure> {
    let volume = engine.volume(name)?;
    Ok(json!({
        "CreatedAt": volume.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "Driver": "local",
        "Labels": (!volume.labels.is_empty()).then_some(&volume.labels),
        "Mountpoint": volume.mountpoint.display().to_string(),
        "Name": volume.name,
        "Options": null,
        "Scope": "local",
    }))
}

/// Prints what was found, then reports what was not; `[]` comes first when nothing was, as Docker prints it.
pub(super) fn show(
    format: Option<&str>,
    names: &[String],
    find: impl Fn(&str) -> Result<Value, Failure>,
) -> Outcome {
    let template = match format {
        None | Some("json") => None,
        Some(text) => Some(
            Template::parse(&text.replace("\\t", "\t").replace("\\n", "\n"))
                .map_err(|error| Failure::with_code(format!("template parsing error: {error}"), 64))?,
        ),
    };
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match find(name) {
            Ok(document) => documents.push(document),
            Err(failure) => failures.push(failure),
        }
    }
    match (&template, format) {
        (None, Some(_)) => emit(&(serde_json::to_string(&documents).map_err(Failure::new)? + "\n"))?,
        (None, None) => emit(&json::array(&documents).map_err(Failure::new)?)?,
        (Some(template), _) => {
            for document in &documents {
                match template.execute(document, Mode::Document) {
                    Ok(text) => emit(&format!("{text}\n"))?,
                    Err(error) => {
                        emit("\n")?;
                        return Err(Failure::with_code(format!("template parsing error: {error}"), 1));
                    }
                }
            }
            if documents.is_empty() {
                emit("\n")?;
            }
        }
    }
    let code = failures.iter().map(Failure::code).max().unwrap_or(0);
    failures.iter().for_each(Failure::print);
    Ok(code)
}

/// The error's kind decides whether to look elsewhere.
trait NotFound {
    fn is_not_found(&self) -> bool;
}

impl NotFound for EngineError {
    fn is_not_found(&self) -> bool {
        matches!(self, EngineError::NoSuchImage(_) | EngineError::NoSuchContainer(_))
    }
}
