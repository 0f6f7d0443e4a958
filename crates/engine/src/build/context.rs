//! Contexts: directories read in place, `.dockerignore` applied, stat cache beside the store.
use super::BuildRequest;
use crate::{Engine, EngineError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strata_dockerfile::{Ignore, Verdict as IgnoreVerdict};
use strata_layer::context::ContextDir;
use strata_layer::tree::{Filter, InlineFiles, SourceTree, Verdict};
use strata_layer::{FileType, Stack};

/// Where the main context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory.
    Directory(PathBuf),
    /// The files of a tar.
    Tar(super::TarContext),
    /// Nothing: the Dockerfile came alone (`build - < Dockerfile`).
    Empty,
}

/// Why a context cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// Not there.
    #[error("unable to prepare context: path {:?} not found", .0.display())]
    Missing(PathBuf),
    /// Not a directory.
    #[error("unable to prepare context: path {:?} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// A bad `.dockerignore`.
    #[error("{}: {source}", .path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// Which line and why.
        source: strata_dockerfile::IgnoreError,
    },
}

/// All contexts of a build, opened.
pub struct Contexts {
    main: Context,
    /// `.dockerignore` of the main context.
    ignore: Option<Ignore>,
    named: BTreeMap<String, Context>,
}

#[derive(Clone)]
enum Context {
    Directory(Arc<ContextDir>),
    Tar(Arc<Stack>),
    Empty(Arc<InlineFiles>),
}

impl Contexts {
    pub(super) fn open(engine: &Engine, request: &BuildRequest) -> Result<Self, EngineError> {
        let (main, ignore) = match &request.context {
            ContextSource::Directory(path) => open(engine, path, request.dockerfile_path.as_deref())?,
            other => (Context::of(other), None),
        };
        let mut named = BTreeMap::new();
        for (name, source) in &request.contexts {
            let context = match source {
                ContextSource::Directory(path) => open(engine, path, None)?.0,
                other => Context::of(other),
            };
            named.insert(name.clone(), context);
        }
        Ok(Self { main, ignore, named })
    }

    /// Bytes of the main context after `.dockerignore`; `None` when it cannot be read (the build will say why). The
    /// build does not walk again what was walked for this.
    pub fn size(&self) -> Option<u64> {
        if let Context::Directory(directory) = &self.main {
            return directory.size().ok();
        }
        let entries = self.main.tree().walk(b"", None).ok()?;
        let files = entries.positions().filter(|at| entries.file_type(*at) == FileType::Regular);
        Some(files.map(|at| entries.size(at)).sum())
    }

    pub(super) fn main(&self) -> Arc<dyn SourceTree> {
        self.main.tree()
    }

    pub(super) fn ignore(&self) -> Option<&Ignore> {
        self.ignore.as_ref()
    }

    pub(super) fn named(&self, name: &str) -> Option<Arc<dyn SourceTree>> {
        self.named.get(name).map(Context::tree)
    }

    /// Writes what was learned; a stat cache that cannot be written only costs time.
    pub(super) fn save(&self) {
        for context in std::iter::once(&self.main).chain(self.named.values()) {
            if let Context::Directory(directory) = context {
                let _ = directory.save();
            }
        }
    }
}

impl Context {
    /// What needs no opening.
    fn of(source: &ContextSource) -> Self {
        match source {
            ContextSource::Tar(tar) => Self::Tar(tar.files()),
            ContextSource::Directory(_) | ContextSource::Empty => {
                Self::Empty(Arc::new(InlineFiles::new([], (0, 0))))
            }
        }
    }

    fn tree(&self) -> Arc<dyn SourceTree> {
        match self {
            Self::Directory(directory) => Arc::clone(directory) as Arc<dyn SourceTree>,
            Self::Tar(files) => Arc::clone(files) as Arc<dyn SourceTree>,
            Self::Empty(files) => Arc::clone(files) as Arc<dyn SourceTree>,
        }
    }
}

fn open(
    engine: &Engine,
    path: &Path,
    dockerfile: Option<&Path>,
) -> Result<(Context, Option<Ignore>), EngineError> {
    let real = match fs_err::canonicalize(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ContextError::Missing(path.to_owned()).into());
        }
        other => other?,
    };
    if !real.is_dir() {
        return Err(ContextError::NotDirectory(path.to_owned()).into());
    }
    let ignore = ignore_file(&real, dockerfile)?;
    let stat_cache = engine.store().contexts().path(&real);
    let directory = ContextDir::open(&real, ignore.clone().map(filter), Some(&stat_cache))
        .map_err(|error| EngineError::layer("unable to prepare context", error))?;
    let layers = engine.store().layers().clone();
    // A layer that has left the store only costs the time of reading the files.
    let directory =
        directory.with_tars(Arc::new(move |layer| Some(layers.open_tar(layer).ok()?.into_parts().0)));
    Ok((Context::Directory(Arc::new(directory)), ignore))
}

/// `<Dockerfile>.dockerignore` wins over `.dockerignore` (`spec/build.md`, section 6).
pub(super) fn ignore_file(root: &Path, dockerfile: Option<&Path>) -> Result<Option<Ignore>, EngineError> {
    let own = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in own.into_iter().chain([root.join(".dockerignore")]) {
        let text = match fs_err::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let ignore = Ignore::parse(&text).map_err(|source| ContextError::Ignore { path, source })?;
        return Ok(Some(ignore));
    }
    Ok(None)
}

/// The same verdicts in the layer crate's words.
pub(super) fn filter(ignore: Ignore) -> Filter {
    Arc::new(move |path, is_directory| match ignore.verdict(path, is_directory) {
        IgnoreVerdict::Include => Verdict::Include,
        IgnoreVerdict::Exclude => Verdict::Exclude,
        IgnoreVerdict::ExcludeButDescend => Verdict::ExcludeButDescend,
    })
}
