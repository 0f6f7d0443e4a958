//! `save`, `load` and `import`: Docker archives and OCI layouts.
use crate::{Engine, EngineError};
use std::io::{Read, Write};
use strata_oci::{ImageId, Reference};

/// One image that came out of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It got this name.
    Tagged(Reference),
    /// It has no name in the archive.
    Untagged(ImageId),
}

/// `import`.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// Name for the image.
    pub reference: Option<String>,
    /// `-c`: Dockerfile instructions applied to the config.
    pub changes: Vec<String>,
    /// `-m`: comment of the history entry.
    pub message: Option<String>,
    /// `--platform`.
    pub platform: Option<String>,
}

impl Engine {
    /// Writes one archive that is both a Docker archive and an OCI layout.
    pub fn save(&self, _names: &[String], _out: &mut dyn Write) -> Result<(), EngineError> {
        todo!()
    }
    /// Reads an archive of either kind, compressed or not.
    pub fn load(&self, _input: Box<dyn Read + Send>) -> Result<Vec<Loaded>, EngineError> {
        todo!()
    }
    /// Makes an image of one layer from a tar of a root file system, compressed or not.
    pub fn import(&self, _input: Box<dyn Read + Send>, _request: &ImportRequest) -> Result<ImageId, EngineError> {
        todo!()
    }
}
