//! `manifest create|annotate|inspect|push|rm`: indexes made of images that are on registries.

use super::arguments::{at_least, at_most, exactly};
use super::place::{reference, with_copier};
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::emit;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::PathBuf;
use strata_engine::copy::list::{Annotation, Lists};
use strata_engine::copy::{Document, Place, platforms};

/// Manage manifests and manifest lists
#[derive(Subcommand, Debug)]
pub(crate) enum Manifest {
    /// Make a manifest list of images that are on registries; it stays here until it is pushed
    Create {
        /// Add to a list that is there
        #[arg(short, long)]
        amend: bool,
        /// Taken for Docker's sake: which registries may speak http is configured
        #[arg(long, hide = true)]
        insecure: bool,
        /// MANIFEST_LIST MANIFEST [MANIFEST...]
        #[arg(value_name = "MANIFEST_LIST MANIFEST [MANIFEST...]")]
        names: Vec<String>,
    },
    /// Say on which platform an image of a local manifest list runs
    Annotate {
        /// Architecture: amd64, arm64...
        #[arg(long)]
        arch: Option<String>,
        /// Operating system
        #[arg(long)]
        os: Option<String>,
        /// Variant of the architecture: v7, v8...
        #[arg(long)]
        variant: Option<String>,
        /// Version of the operating system
        #[arg(long, value_name = "VERSION")]
        os_version: Option<String>,
        /// Features of the operating system
        #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
        os_features: Vec<String>,
        /// MANIFEST_LIST MANIFEST
        #[arg(value_name = "MANIFEST_LIST MANIFEST")]
        names: Vec<String>,
    },
    /// Show a manifest or manifest list
    Inspect {
        /// With name, descriptor and platform of every image
        #[arg(short, long)]
        verbose: bool,
        /// Taken for Docker's sake: which registries may speak http is configured
        #[arg(long, hide = true)]
        insecure: bool,
        /// [MANIFEST_LIST] MANIFEST
        #[arg(value_name = "[MANIFEST_LIST] MANIFEST")]
        names: Vec<String>,
    },
    /// Push a local manifest list to its registry, with the images that are not there yet
    Push {
        /// Forget the local list afterwards
        #[arg(short, long)]
        purge: bool,
        /// Taken for Docker's sake: which registries may speak http is configured
        #[arg(long, hide = true)]
        insecure: bool,
        /// Its name
        #[arg(value_name = "MANIFEST_LIST")]
        names: Vec<String>,
    },
    /// Forget local manifest lists
    Rm {
        /// Their names
        #[arg(value_name = "MANIFEST_LIST [MANIFEST_LIST...]")]
        names: Vec<String>,
    },
}

impl Manifest {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let lists = Lists::new(directory());
        match self {
            Self::Create { amend, names, .. } => {
                at_least(&names, 2)?;
                let list = reference(&names[0])?;
                let images = names[1..].iter().map(|name| reference(name)).collect::<Result<Vec<_>, _>>()?;
                let name =
                    with_copier(global, &|_| {}, |copier| copier.create_list(&lists, &list, &images, amend))?;
                emit(&format!("Created manifest list {name}\n"))?;
            }
            Self::Annotate { arch, os, variant, os_version, os_features, names } => {
                exactly(&names, 2)?;
                let say = Annotation { architecture: arch, os, variant, os_version, os_features };
                lists.annotate(&reference(&names[0])?, &reference(&names[1])?, &say)?;
            }
            Self::Inspect { verbose, names, .. } => {
                at_least(&names, 1)?;
                at_most(&names, 2)?;
                inspect(global, &lists, &names, verbose)?;
            }
            Self::Push { purge, names, .. } => {
                exactly(&names, 1)?;
                let name = reference(&names[0])?;
                let copied = with_copier(global, &|_| {}, |copier| copier.push_list(&lists, &name))?;
                if purge {
                    lists.remove(&name)?;
                }
                emit(&format!("{}\n", copied.digest.map(|digest| digest.to_string()).unwrap_or_default()))?;
            }
            Self::Rm { names } => {
                at_least(&names, 1)?;
                return remove(&lists, &names);
            }
        }
        Ok(0)
    }
}

/// Beside Docker's own lists, which are directories.
fn directory() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let docker = from("DOCKER_CONFIG").or_else(|| from("HOME").map(|home| home.join(".docker")));
    docker.unwrap_or_else(|| "/var/tmp".into()).join("manifests")
}

fn remove(lists: &Lists, names: &[String]) -> Outcome {
    let mut code = 0;
    for name in names {
        if let Err(failure) = reference(name).and_then(|name| Ok(lists.remove(&name)?)) {
            failure.print();
            code = failure.code();
        }
    }
    Ok(code)
}

/// A local list goes before what the registry has; with two names, an image of the list.
fn inspect(global: &Global, lists: &Lists, names: &[String], verbose: bool) -> Result<(), Failure> {
    let first = reference(&names[0])?;
    let list = lists.get(&first)?;
    let (name, document) = match (names.get(1), list) {
        (Some(image), Some(list)) => {
            let image = reference(image)?;
            let full = Place::Registry(image.clone());
            let known = list.entries.iter().any(|entry| entry.reference.ends_with(&image.familiar()));
            if !known {
                let list = first.familiar();
                return Err(Failure::new(format!("No such manifest: {} in {list}", image.familiar())));
            }
            (full.to_string(), remote(global, &full)?)
        }
        (Some(_), None) => return Err(Failure::new(format!("No such manifest: {}", first.familiar()))),
        (None, Some(list)) => (list.name.clone(), list.document()),
        (None, None) => {
            let place = Place::Registry(first);
            (place.to_string(), remote(global, &place)?)
        }
    };
    let value: Value = serde_json::from_slice(&document.bytes).map_err(Failure::new)?;
    let value = if verbose { detailed(global, &name, &document, value)? } else { value };
    emit(&(indented(&value)? + "\n"))
}

fn remote(global: &Global, place: &Place) -> Result<Document, Failure> {
    with_copier(global, &|_| {}, |copier| copier.document(place))
}

/// Docker's form of `-v`: name, descriptor and document; of a list, an array of those.
fn detailed(global: &Global, name: &str, document: &Document, value: Value) -> Result<Value, Failure> {
    let images = platforms(document)?;
    if images.is_empty() {
        return Ok(entry(name, document, None, value));
    }
    let base = name.split('@').next().unwrap_or(name);
    let bare = base.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(base, |(bare, _)| bare);
    let mut entries = Vec::new();
    for image in images {
        let name = format!("{bare}@{}", image.digest);
        let child = remote(global, &Place::Registry(reference(&name)?))?;
        let value = serde_json::from_slice(&child.bytes).map_err(Failure::new)?;
        entries.push(entry(&name, &child, image.platform.map(|platform| json!(platform)), value));
    }
    Ok(Value::Array(entries))
}

fn entry(name: &str, document: &Document, platform: Option<Value>, value: Value) -> Value {
    let oci = document.media_type.contains("vnd.oci.");
    let mut descriptor =
        json!({ "mediaType": document.media_type, "digest": document.digest, "size": document.bytes.len() });
    if let Some(platform) = platform {
        descriptor["platform"] = platform;
    }
    let kind = if oci { "OCIManifest" } else { "SchemaV2Manifest" };
    json!({ "Ref": name, "Descriptor": descriptor, kind: value })
}

/// With a tab per level, as Docker prints manifests.
fn indented(value: &Value) -> Result<String, Failure> {
    use serde::Serialize;
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value.serialize(&mut serializer).map_err(Failure::new)?;
    String::from_utf8(out).map_err(Failure::new)
}
