//! What is done to the layers of a finished build: all its own made one (`--squash`), times after
//! `SOURCE_DATE_EPOCH` cut off (`rewrite-timestamp=true`). The layers of the base image stay what they are.
//!
//! Which layer became which is kept in the build cache, so that it is done once.
use super::BuildReport;
use crate::{Engine, EngineError};
use std::io::BufReader;
use strata_build::Built;
use strata_layer::{Contents, LayerError, LayerInfo};
use strata_oci::{DiffId, Digest, History, ImageConfig, ImageId, Raw, RootFs};
use strata_store::{Ingest, Lease};

/// Bytes read at once from a layer's tar.
const BUFFER: usize = 1 << 20;
/// What the records of made layers are filed under in the build cache.
const SLOT: &str = "made of other layers";

/// An image config, and how many of its layers, from the bottom, are those of the base.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) config: Raw<ImageConfig>,
    pub(super) base_layers: usize,
}

impl<L> From<Built<L>> for Image {
    fn from(built: Built<L>) -> Self {
        Self { config: built.config, base_layers: built.base_layers }
    }
}

impl Engine {
    /// The same build with the times of its files as they are, or (`clamp`) none of its own layers' after
    /// `SOURCE_DATE_EPOCH`. Without that there is nothing to cut off at.
    pub fn with_times(&self, report: &BuildReport, clamp: bool) -> Result<BuildReport, EngineError> {
        let image = if clamp {
            self.clamp(&report.built, report.epoch, &report.lease)?
        } else {
            report.built.clone()
        };
        Ok(BuildReport { id: ImageId::new(*image.config.digest()), config: image.config, ..report.clone() })
    }

    pub(super) fn clamp(
        &self,
        image: &Image,
        epoch: Option<jiff::Timestamp>,
        lease: &Lease,
    ) -> Result<Image, EngineError> {
        let Some(epoch) = epoch else { return Ok(image.clone()) };
        let latest = epoch.as_second();
        let layers = &image.config.value().rootfs.diff_ids;
        let mut clamped = layers[..image.base_layers].to_vec();
        for layer in &layers[image.base_layers..] {
            let key = format!("times of {layer} until {latest}");
            let made = self.made_layer(&key, &clamped, lease, |ingest| {
                let mut tar = BufReader::with_capacity(BUFFER, self.store().layers().open_tar(layer)?);
                write(ingest, |out| strata_layer::clamp_times(&mut tar, latest, out))
            })?;
            clamped.push(made);
        }
        let mut config = image.config.value().clone();
        config.rootfs = RootFs { diff_ids: clamped, ..RootFs::default() };
        Ok(Image { config: Raw::new(config), base_layers: image.base_layers })
    }

    /// One layer in place of all that the build has put on its base, as Docker's `--squash` makes it: the history keeps
    /// its rows, and one more stands for the layer.
    pub(super) fn squash(&self, image: &Image, lease: &Lease) -> Result<Image, EngineError> {
        let layers = &image.config.value().rootfs.diff_ids;
        let (base, own) = layers.split_at(image.base_layers);
        if own.len() < 2 {
            return Ok(image.clone());
        }
        let key = format!("squash of {layers:?} on {}", base.len());
        let made = self.made_layer(&key, base, lease, |ingest| {
            let stacks = (self.store().layers().stack(base)?, self.store().layers().stack(layers)?);
            write(ingest, |out| strata_layer::difference(&stacks.0, &stacks.1, out))
        })?;
        let mut config = image.config.value().clone();
        let of_base = config.history.iter().filter(|row| !row.empty_layer).take(base.len()).count();
        let own_rows = config.history.iter_mut().filter(|row| !row.empty_layer).skip(of_base);
        own_rows.for_each(|row| row.empty_layer = true);
        // Docker names the image that was squashed; its ID holds times, and this one shall be the same every time.
        let comment = format!("merge of {} layers", own.len());
        config.history.push(History { created: config.created, comment, ..History::default() });
        config.rootfs = RootFs { diff_ids: [base, &[made]].concat(), ..RootFs::default() };
        Ok(Image { config: Raw::new(config), base_layers: base.len() })
    }

    /// The layer that was made under this name, or `make` makes now.
    fn made_layer(
        &self,
        name: &str,
        below: &[DiffId],
        lease: &Lease,
        make: impl FnOnce(&Ingest) -> Result<(LayerInfo, Contents), EngineError>,
    ) -> Result<DiffId, EngineError> {
        let key = *Digest::of(name.as_bytes()).as_bytes();
        let cache = self.store().cache();
        if let Some([known]) = cache.get(&key)?.as_ref().map(|record| &record.layers[..])
            && lease.hold(&[*known])?.is_empty()
        {
            cache.touch(&[key])?;
            return Ok(*known);
        }
        let ingest = self.store().layers().begin(lease)?;
        let (info, contents) = make(&ingest)?;
        let made = ingest.commit(info, &contents, below)?.diff_id;
        cache.put(&key, SLOT, "{}", &[made])?;
        Ok(made)
    }
}

/// Writes the tar of a layer in progress.
fn write(
    ingest: &Ingest,
    fill: impl FnOnce(&mut dyn std::io::Write) -> Result<(LayerInfo, Contents), LayerError>,
) -> Result<(LayerInfo, Contents), EngineError> {
    let mut tar = ingest.tar_file()?;
    fill(&mut tar).map_err(|error| EngineError::layer("cannot make a layer of other layers", error))
}
