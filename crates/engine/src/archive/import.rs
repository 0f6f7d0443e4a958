//! `import`.
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::io::Read;
use strata_layer::compression::decompress;
use strata_layer::{Limits, ingest};
use strata_oci::{History, ImageConfig, ImageId, Platform, Raw, RootFs, RuntimeConfig};

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
    /// Where the tar came from, for the default comment: `-`, a file.
    pub source: String,
}

impl Engine {
    /// Makes an image of one layer from a tar of a root file system, compressed or not. The tar is kept byte for
    /// byte: the layer's DiffId is the digest of the file.
    pub fn import(
        &self,
        input: Box<dyn Read + Send>,
        request: &ImportRequest,
    ) -> Result<ImageId, EngineError> {
        let name = request.reference.as_deref();
        let name =
            name.map(|text| crate::image::parse_reference("Error parsing reference: ", text)).transpose()?;
        let platform = request.platform.as_deref().map(str::parse::<Platform>).transpose();
        let platform = platform.map_err(|error| EngineError::Invalid(error.to_string()))?;
        let config = crate::build::apply_changes(&request.changes)?;

        let lease = self.store().leases().acquire()?;
        let staged = self.store().layers().begin(&lease)?;
        let mut file = staged.tar_file()?;
        let mut tar = decompress(input)?;
        let (info, contents) = ingest(&mut tar, &mut file, &Limits::default())
            .map_err(|error| EngineError::layer(format!("cannot import {}", request.source), error))?;
        let diff_id = info.diff_id;
        staged.commit(info, &contents, &[])?;

        let comment = request.message.clone().unwrap_or_else(|| format!("Imported from {}", request.source));
        let config =
            Raw::new(image_config(config, platform.unwrap_or_else(Platform::host), diff_id, comment));
        Ok(self.store().images().publish(&config, name.as_slice())?)
    }
}

fn image_config(
    config: RuntimeConfig,
    platform: Platform,
    diff_id: strata_oci::DiffId,
    comment: String,
) -> ImageConfig {
    let created = Some(Timestamp::now());
    ImageConfig {
        platform,
        created,
        config,
        history: vec![History { created, comment, ..Default::default() }],
        rootfs: RootFs { diff_ids: vec![diff_id], ..Default::default() },
        ..Default::default()
    }
}
