//! `--cache-from` and `--cache-to`. What this store built is always looked at; records of other stores are not read yet,
//! and a source that cannot be used says so instead of missing silently.

use super::request::bad;
use crate::failure::Failure;
use clap::Args;
use strata_engine::Engine;

#[derive(Args, Debug)]
pub(super) struct CacheFlags {
    /// Image whose build cache to use: NAME or type=registry,ref=NAME (of this store only; may be repeated)
    #[arg(long, value_name = "SOURCE")]
    cache_from: Vec<String>,
    /// Refused: the build cache stays in the store
    #[arg(long, value_name = "DESTINATION", hide = true)]
    cache_to: Vec<String>,
}

impl CacheFlags {
    /// The images that `--cache-from` names.
    ///
    /// # Errors
    /// A form without an image, and `--cache-to`.
    pub(super) fn sources(&self) -> Result<Vec<String>, Failure> {
        if let Some(destination) = self.cache_to.first() {
            return Err(bad(format!(
                "--cache-to {destination}: the build cache cannot be exported yet; it stays in the store, where every later build finds it"
            )));
        }
        self.cache_from.iter().map(|source| image(source)).collect()
    }
}

/// Why a source brings nothing, if it does not: its image was not built or pulled here.
pub(super) fn unusable(engine: &Engine, image: &str) -> Option<String> {
    let error = engine.inspect_image(image).err()?;
    Some(format!(
        "WARN: --cache-from {image}: not used: {error}; cache records can only be used in the store that built the image"
    ))
}

fn image(source: &str) -> Result<String, Failure> {
    if !source.contains('=') {
        return Ok(source.to_owned());
    }
    let field = |name: &str| {
        let mut fields = source.split(',').filter_map(|field| field.split_once('='));
        fields.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    match (field("type"), field("ref")) {
        (Some("registry") | None, Some(reference)) => Ok(reference.to_owned()),
        (Some("registry") | None, None) => Err(bad(format!("--cache-from {source}: ref=NAME is missing"))),
        (Some(kind), _) => Err(bad(format!(
            "--cache-from {source}: type {kind:?} is not supported yet: use registry, or the name of an image"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::image;

    #[test]
    fn an_image_is_named_in_either_form() {
        assert_eq!(image("app:1").expect("a name"), "app:1");
        assert_eq!(
            image("type=registry,ref=localhost:5000/app:1").expect("a source"),
            "localhost:5000/app:1"
        );
        assert_eq!(image("ref=app").expect("a source"), "app");
        for bad in ["type=registry", "type=s3,bucket=b", "type=gha"] {
            assert!(image(bad).is_err(), "{bad}");
        }
    }
}
