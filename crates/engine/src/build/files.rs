//! COPY, ADD and WORKDIR: files streamed into a new layer.
use super::context::filter;
use super::layer::LayerHandle;
use super::remote::RemoteError;
use super::worker::{EngineWorker, copy_failed, listed};
use crate::EngineError;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use strata_build::{
    CommittedLayer, CopyOp, CopySource, Detail, FileOp, Layer as _, Origin, Selected, Selection, Worker as _,
    WorkerError,
};
use strata_dockerfile::Ignore;
use strata_layer::copy::{self, Chmod, CopyOptions, SelectOptions};
use strata_layer::tree::{InlineFiles, SourceTree};
use strata_layer::{LayerBuilder, Stack};
use strata_oci::{DiffId, Digest};
use strata_store::TarFile;

/// How a build's selection is read by the layer crate.
pub(super) fn select_options(selection: &Selection, unpack: bool) -> Result<SelectOptions, EngineError> {
    let exclude = match &selection.exclude[..] {
        [] => None,
        patterns => {
            let ignore = Ignore::from_patterns(patterns)
                .map_err(|error| EngineError::Invalid(format!("invalid --exclude: {error}")))?;
            Some(filter(ignore))
        }
    };
    Ok(SelectOptions { wildcards: selection.wildcards, parents: selection.parents, exclude, unpack })
}

impl EngineWorker<'_> {
    /// Makes the layer of a file operation and publishes it.
    pub(super) fn make_files(
        &self,
        parents: &[LayerHandle],
        origin: Origin<'_, LayerHandle>,
        op: &FileOp,
    ) -> Result<LayerHandle, WorkerError> {
        let below: Vec<DiffId> =
            parents.iter().map(|layer| Ok(layer.committed()?.diff_id)).collect::<Result<_, WorkerError>>()?;
        let made = match op {
            FileOp::Copy(op) => self.make_copy(&below, origin, op)?,
            FileOp::Workdir { path, owner, epoch } => self.make_layer(&below, |stack, builder| {
                let accounts = (!below.is_empty()).then_some(stack);
                let owner = if owner.is_empty() { (0, 0) } else { self.owner(accounts, owner)? };
                copy::workdir(stack, path.as_bytes(), owner, seconds(*epoch), builder).map_err(copy_failed)
            })?,
        };
        Ok(LayerHandle::committed_as(made))
    }

    /// Copies the files that the key was made from. If they have changed since, those that are there now: the solver
    /// then finds that they are not the key's.
    fn make_copy(
        &self,
        below: &[DiffId],
        origin: Origin<'_, LayerHandle>,
        op: &CopyOp,
    ) -> Result<CommittedLayer, WorkerError> {
        let has_root = !below.is_empty();
        if let Some(keyed) = keyed(op)
            && let Some(seen) = self.seen(origin, &keyed)
        {
            let made = self.make_layer(below, |stack, builder| {
                self.copy_into(stack, has_root, std::slice::from_ref(&seen), op, builder)
            });
            match made {
                Err(_) if !self.cancel().load(Ordering::Relaxed) => self.forget_seen(origin, &keyed),
                Err(error) => return Err(error),
                Ok(layer) => {
                    seen.were_written_to(&layer.diff_id);
                    return Ok(layer);
                }
            }
        }
        self.make_layer(below, |stack, builder| {
            let created = seconds(op.epoch);
            let selections: Vec<_> = op
                .sources
                .iter()
                .map(|source| self.source(origin, op, source, created).map(Arc::new))
                .collect::<Result<_, _>>()?;
            self.copy_into(stack, has_root, &selections, op, builder)
        })
    }

    fn make_layer(
        &self,
        below: &[DiffId],
        fill: impl FnOnce(&Stack, &mut LayerBuilder<TarFile>) -> Result<(), WorkerError>,
    ) -> Result<CommittedLayer, WorkerError> {
        let layers = self.engine().store().layers();
        let stack = layers.stack(below).map_err(store_failed)?;
        let staged = layers.begin(self.lease()).map_err(store_failed)?;
        let file = staged.tar_file().map_err(store_failed)?;
        let mut builder = LayerBuilder::new(file);
        fill(&stack, &mut builder)?;
        let (_, info, contents) = builder
            .finish()
            .map_err(|error| EngineError::layer("cannot write a layer", error))
            .map_err(super::cache::failed)?;
        let record = staged.commit(info, &contents, below).map_err(store_failed)?;
        Ok(CommittedLayer { diff_id: record.diff_id, size: record.content_size })
    }

    fn copy_into(
        &self,
        stack: &Stack,
        has_root: bool,
        selections: &[Arc<copy::Selection>],
        op: &CopyOp,
        builder: &mut LayerBuilder<TarFile>,
    ) -> Result<(), WorkerError> {
        let created = seconds(op.epoch);
        let owner = match op.chown.as_deref() {
            None | Some("") => None,
            Some(text) => Some(self.owner((!op.link && has_root).then_some(stack), text)?),
        };
        let chmod = op.chmod.as_deref().map(str::parse::<Chmod>).transpose();
        let chmod = chmod.map_err(super::cache::failed)?;
        let options = CopyOptions { owner, chmod, created };
        let below = (!op.link).then_some(stack);
        copy::copy(selections, below, op.destination.as_bytes(), &options, builder).map_err(copy_failed)
    }

    /// Whom a name means; what is not known is told.
    fn owner(&self, accounts: Option<&Stack>, name: &str) -> Result<(u32, u32), WorkerError> {
        let owner = copy::owner(accounts, name).map_err(copy_failed)?;
        for message in &owner.unknown {
            self.warn(message);
        }
        Ok(owner.ids)
    }

    /// The key's part of an ADD from elsewhere: what was fetched, and beside it perhaps files of the context.
    pub(super) fn select_remote(
        &self,
        origin: Origin<'_, LayerHandle>,
        selection: &Selection,
        detail: Detail,
    ) -> Result<Selected, WorkerError> {
        let mut parts = String::new();
        let mut files = Vec::new();
        if !selection.paths.is_empty() {
            let local = Selection { remote: Vec::new(), ..selection.clone() };
            let selected = self.select(origin, &local, detail)?;
            parts.push_str(&format!("{}\n", selected.digest));
            files.extend(selected.files);
        }
        for source in &selection.remote {
            let options = remote_options(source, &selection.exclude, false)?;
            let found = self.fetched(source, options)?;
            let identity = self.remote().fetch(source).map_err(|error| unfetched(source, error))?.identity;
            let digest = match identity {
                Some(identity) => identity,
                None => Digest::from_bytes(found.digest().map_err(copy_failed)?.0),
            };
            parts.push_str(&format!("{digest}\n"));
            if detail == Detail::Files {
                files.extend(listed(&found)?);
            }
        }
        Ok(Selected { digest: Digest::of(parts.as_bytes()), files })
    }

    fn fetched(&self, source: &CopySource, options: SelectOptions) -> Result<copy::Selection, WorkerError> {
        let fetched = self.remote().fetch(source).map_err(|error| unfetched(source, error))?;
        copy::Selection::new(fetched.files, &[fetched.path], options).map_err(copy_failed)
    }

    fn source(
        &self,
        origin: Origin<'_, LayerHandle>,
        op: &CopyOp,
        source: &CopySource,
        created: (i64, u32),
    ) -> Result<copy::Selection, WorkerError> {
        let (tree, path): (Arc<dyn SourceTree>, &str) = match source {
            CopySource::Path(path) => (self.tree(origin)?, path),
            CopySource::Inline { name, content } => {
                let files = InlineFiles::new([(name.clone().into_bytes(), content.clone())], created);
                (Arc::new(files), name)
            }
            CopySource::Http { .. } | CopySource::Git { .. } => {
                let options = remote_options(source, &op.exclude, op.unpack)?;
                return self.fetched(source, options);
            }
        };
        let is_inline = matches!(source, CopySource::Inline { .. });
        let selection = Selection {
            paths: Vec::new(),
            wildcards: !is_inline,
            parents: op.parents && !is_inline,
            exclude: op.exclude.clone(),
            remote: Vec::new(),
        };
        let options = select_options(&selection, op.unpack && !is_inline).map_err(super::cache::failed)?;
        copy::Selection::new(tree, &[path], options).map_err(copy_failed)
    }
}

/// How a fetched source is read: a file by its name, a repository as the contents of a directory.
fn remote_options(
    source: &CopySource,
    exclude: &[String],
    unpack: bool,
) -> Result<SelectOptions, WorkerError> {
    let selection = Selection {
        paths: Vec::new(),
        remote: Vec::new(),
        wildcards: matches!(source, CopySource::Git { .. }),
        parents: false,
        exclude: exclude.to_vec(),
    };
    select_options(&selection, unpack).map_err(super::cache::failed)
}

/// The selection in the key of a COPY that takes nothing but files of its origin, as they are.
fn keyed(op: &CopyOp) -> Option<Selection> {
    let path = |source: &CopySource| match source {
        CopySource::Path(path) => Some(path.clone()),
        _ => None,
    };
    let paths = op.sources.iter().map(path).collect::<Option<Vec<_>>>()?;
    let exclude = op.exclude.clone();
    (!op.unpack).then_some(Selection {
        paths,
        wildcards: true,
        parents: op.parents,
        exclude,
        remote: Vec::new(),
    })
}

fn unfetched(source: &CopySource, error: EngineError) -> WorkerError {
    match (source, error) {
        (_, EngineError::Remote(RemoteError::Cancelled)) => WorkerError::Cancelled,
        (CopySource::Http { url, .. } | CopySource::Git { url, .. }, error) => {
            WorkerError::Remote { url: url.clone(), source: Box::new(error) }
        }
        (_, error) => super::cache::failed(error),
    }
}

fn seconds(epoch: Option<Timestamp>) -> (i64, u32) {
    let time = epoch.unwrap_or_else(Timestamp::now);
    let (second, nanosecond) = (time.as_second(), time.subsec_nanosecond());
    match u32::try_from(nanosecond) {
        Ok(nanosecond) => (second, nanosecond),
        // Before 1970 jiff counts the fraction downwards.
        Err(_) => (second - 1, (1_000_000_000 + nanosecond) as u32),
    }
}

fn store_failed(error: strata_store::StoreError) -> WorkerError {
    super::cache::failed(EngineError::from(error))
}
