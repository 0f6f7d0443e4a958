//! Files of a tree put into a directory of the host exactly as a layer would show them: through a tar and its index,
//! so that owners, times, links and attributes are those of a COPY.
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use strata_layer::copy::{self, CopyError, CopyOptions, SelectOptions, Selection};
use strata_layer::tree::SourceTree;
use strata_layer::{Layer, LayerBuilder, LayerError};

/// Why files could not be unpacked.
pub(crate) enum UnpackError {
    /// They could not be found or read.
    Copy(CopyError),
    /// They could not be written.
    Layer(LayerError),
}

impl From<CopyError> for UnpackError {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

impl From<LayerError> for UnpackError {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

/// Copies what `path` means in `tree` to `destination` below `directory`. `tar` is an empty scratch file, readable too.
pub(crate) fn unpack(
    tree: Arc<dyn SourceTree>,
    path: &[u8],
    destination: &[u8],
    tar: File,
    directory: &Path,
) -> Result<(), UnpackError> {
    let selection = Selection::new(tree, &[path], SelectOptions::default())?;
    let mut builder = LayerBuilder::new(tar);
    copy::copy(&[selection], None, destination, &CopyOptions::default(), &mut builder)?;
    let (tar, _, contents) = builder.finish()?;
    let index = contents.index(None)?;
    Ok(Layer::open(index, tar)?.unpack(directory)?)
}
