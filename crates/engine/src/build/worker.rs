//! The worker: what the solver asks for, done on the store and the runtime.
use super::BuildRequest;
use super::cache::{StoreCache, failed};
use super::context::Contexts;
use super::failed::Broken;
use super::files::select_options;
use super::layer::LayerHandle;
use super::remote::Fetcher;
use crate::cdi::Catalog;
use crate::network::NameFiles;
use crate::{Engine, EngineError};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use strata_build::{
    Base, CacheKey, CachedLayer, CommittedLayer, Detail, Event, EventSink, ExecError, ExecOp, FileEntry,
    FileKind, FileOp, Layer as _, MOST_LISTED, Origin, Selected, Selection, Stream, Worker, WorkerError,
};
use strata_layer::FileType;
use strata_layer::copy::{self, CopyError, SelectedFile};
use strata_layer::tree::SourceTree;
use strata_oci::{DiffId, Digest, Platform, Reference};
use strata_store::{Ingest, Lease};

/// Selections by context and what was asked for.
type Selections = HashMap<(Option<String>, Selection), Arc<copy::Selection>>;

pub(super) struct EngineWorker<'a> {
    engine: &'a Engine,
    request: &'a BuildRequest,
    contexts: &'a Contexts,
    devices: Catalog,
    lease: Lease,
    cache: &'a StoreCache<'a>,
    events: &'a dyn EventSink,
    cancel: &'a AtomicBool,
    remote: Fetcher<'a>,
    /// Under which keys the digests of images' files are remembered.
    selections: Mutex<BTreeSet<CacheKey>>,
    seen: Seen,
    name_files: NameFileSets,
    /// Threads that pack what RUNs wrote.
    packing: Mutex<Vec<JoinHandle<()>>>,
    /// The first RUN whose process failed.
    broken: Mutex<Option<Broken>>,
}

/// A build that failed in one place may still be packing in another: nothing of it is left when it has returned.
impl Drop for EngineWorker<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// What RUN steps see in `/etc`, and where it is written: most builds need one set.
pub(super) type NameFileSets = Mutex<Vec<(NameFiles, Ingest)>>;

/// The files of contexts that keys were made from: a copy takes these very files, without walking once more.
type Seen = Mutex<Selections>;

impl<'a> EngineWorker<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        request: &'a BuildRequest,
        contexts: &'a Contexts,
        lease: Lease,
        cache: &'a StoreCache<'a>,
        events: &'a dyn EventSink,
        cancel: &'a AtomicBool,
    ) -> Self {
        let devices = Catalog::read(&request.device_directories);
        let (seen, name_files, selections) = (Seen::default(), NameFileSets::default(), Mutex::default());
        let (packing, broken) = (Mutex::default(), Mutex::default());
        let remote = Fetcher::of(engine, request, lease.clone(), cancel);
        Self {
            engine,
            request,
            contexts,
            devices,
            lease,
            cache,
            events,
            cancel,
            remote,
            selections,
            seen,
            name_files,
            packing,
            broken,
        }
    }

    pub(super) fn cache(&self) -> &'a StoreCache<'a> {
        self.cache
    }

    pub(super) fn selections(&self) -> MutexGuard<'_, BTreeSet<CacheKey>> {
        self.selections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn engine(&self) -> &'a Engine {
        self.engine
    }

    pub(super) fn request(&self) -> &'a BuildRequest {
        self.request
    }

    pub(super) fn devices(&self) -> &Catalog {
        &self.devices
    }

    pub(super) fn remote(&self) -> &Fetcher<'a> {
        &self.remote
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Says something that is no error.
    pub(super) fn events(&self) -> &'a dyn EventSink {
        self.events
    }

    pub(super) fn warn(&self, message: &str) {
        self.events.event(Event::Warning { message, span: None });
    }

    pub(super) fn cancel(&self) -> &'a AtomicBool {
        self.cancel
    }

    pub(super) fn name_file_sets(&self) -> &NameFileSets {
        &self.name_files
    }

    pub(super) fn broken(&self) -> &Mutex<Option<Broken>> {
        &self.broken
    }

    /// Waits until nothing is being packed any more.
    pub(super) fn settle(&self) {
        let threads = std::mem::take(&mut *self.packing.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // Whoever needed the layer has its error.
            let _ = thread.join();
        }
    }

    pub(super) fn packs(&self, thread: JoinHandle<()>) {
        self.packing.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    pub(super) fn check_cancelled(&self) -> Result<(), WorkerError> {
        if self.cancel.load(Ordering::Relaxed) { Err(WorkerError::Cancelled) } else { Ok(()) }
    }

    /// The files of a context as its key has them, if they were asked for.
    pub(super) fn seen(
        &self,
        origin: Origin<'_, LayerHandle>,
        selection: &Selection,
    ) -> Option<Arc<copy::Selection>> {
        self.lock_seen().get(&(context_name(origin)?, selection.clone())).cloned()
    }

    /// They have changed since: whoever asks next gets them as they are now.
    pub(super) fn forget_seen(&self, origin: Origin<'_, LayerHandle>, selection: &Selection) {
        if let Some(name) = context_name(origin) {
            self.lock_seen().remove(&(name, selection.clone()));
        }
    }

    fn lock_seen(&self) -> MutexGuard<'_, Selections> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files of an origin.
    pub(super) fn tree(&self, origin: Origin<'_, LayerHandle>) -> Result<Arc<dyn SourceTree>, WorkerError> {
        match origin {
            Origin::Context => Ok(self.contexts.main()),
            Origin::Named(name) => self.contexts.named(name).ok_or_else(|| {
                failed(EngineError::Invalid(format!("build context {name:?} was not given as a directory")))
            }),
            Origin::Layers(handles) => {
                self.bring(handles)?;
                let layers = diff_ids(handles)?;
                let stack =
                    self.engine.store().layers().stack(&layers).map_err(|e| failed(EngineError::from(e)))?;
                Ok(Arc::new(stack))
            }
        }
    }
}

/// Which context it is: the main one has no name. `None` for layers.
#[expect(clippy::option_option, reason = "no context, the main one, a named one")]
fn context_name(origin: Origin<'_, LayerHandle>) -> Option<Option<String>> {
    match origin {
        Origin::Context => Some(None),
        Origin::Named(name) => Some(Some(name.to_owned())),
        Origin::Layers(_) => None,
    }
}

/// Waits for every layer and gives its DiffId.
pub(super) fn diff_ids(handles: &[LayerHandle]) -> Result<Vec<DiffId>, WorkerError> {
    handles.iter().map(|handle| Ok(handle.committed()?.diff_id)).collect()
}

/// A copy's error in the solver's words.
pub(super) fn copy_failed(error: CopyError) -> WorkerError {
    match error {
        CopyError::NotFound(path) => WorkerError::NotFound { path: path.display().to_string() },
        other => failed(other),
    }
}

impl Worker for EngineWorker<'_> {
    type Layer = LayerHandle;

    fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Base<LayerHandle>, WorkerError> {
        match self.local(reference, platform).map_err(failed)? {
            Some(base) => Ok(base),
            None => self.elsewhere(reference, platform, self.request.pull).map_err(failed),
        }
    }

    fn open(&self, layers: &[CachedLayer]) -> Result<Option<Vec<LayerHandle>>, WorkerError> {
        let ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
        let missing = self.lease.hold(&ids).map_err(|error| failed(EngineError::from(error)))?;
        let offered = self.cache.shared().available(&missing);
        let handle = |layer: &CachedLayer| {
            let committed = CommittedLayer { diff_id: layer.diff_id, size: layer.size };
            match offered.get(&layer.diff_id) {
                Some(offered) => LayerHandle::shared(committed, offered.clone()),
                None => LayerHandle::committed_as(committed),
            }
        };
        let all = missing.iter().all(|layer| offered.contains_key(layer));
        Ok(all.then(|| layers.iter().map(handle).collect()))
    }

    fn select(
        &self,
        origin: Origin<'_, LayerHandle>,
        selection: &Selection,
        detail: Detail,
    ) -> Result<Selected, WorkerError> {
        self.check_cancelled()?;
        if !selection.remote.is_empty() {
            return self.select_remote(origin, selection, detail);
        }
        let remembered = (detail == Detail::Digest).then(|| self.remembered(origin, selection)).flatten();
        if let Some((_, Some(digest))) = remembered {
            return Ok(Selected { digest, files: Vec::new() });
        }
        // Listings belong to a key, and so to the files that it was made from.
        let seen = (detail == Detail::Files).then(|| self.seen(origin, selection)).flatten();
        let look = || -> Result<(Arc<copy::Selection>, Digest), WorkerError> {
            let options = select_options(selection, false).map_err(failed)?;
            let found =
                copy::Selection::new(self.tree(origin)?, &selection.paths, options).map_err(copy_failed)?;
            let digest = Digest::from_bytes(found.digest().map_err(copy_failed)?.0);
            Ok((Arc::new(found), digest))
        };
        let (found, digest) = match seen {
            Some(seen) => {
                let digest = Digest::from_bytes(seen.digest().map_err(copy_failed)?.0);
                (seen, digest)
            }
            // A context may have been walked ahead, for its size, long before this step's turn: then files that were
            // edited since do not look as they did, and a second look finds them as they are now.
            None => look().or_else(|error| match context_name(origin) {
                Some(_) => look(),
                None => Err(error),
            })?,
        };
        let files = match detail {
            Detail::Digest => Vec::new(),
            // Nobody keeps a listing so long.
            Detail::Files if found.len() > MOST_LISTED => Vec::new(),
            Detail::Files => listed(&found)?,
        };
        // Without wildcards it is a mount's, which is always looked at anew.
        if let (Detail::Digest, true, Some(name)) = (detail, selection.wildcards, context_name(origin)) {
            self.lock_seen().insert((name, selection.clone()), found);
        }
        if let Some((key, None)) = remembered {
            self.remember(&key, digest)?;
        }
        Ok(Selected { digest, files })
    }

    fn content_digests(
        &self,
        origin: Origin<'_, LayerHandle>,
        selection: &Selection,
    ) -> Result<Vec<Digest>, WorkerError> {
        self.check_cancelled()?;
        self.buildkit_digests(origin, selection)
    }

    fn copy(
        &self,
        parents: &[LayerHandle],
        origin: Origin<'_, LayerHandle>,
        op: &FileOp,
    ) -> Result<LayerHandle, WorkerError> {
        self.check_cancelled()?;
        self.bring(parents)?;
        self.make_files(parents, origin, op)
    }

    fn same_files(
        &self,
        parents: &[LayerHandle],
        ours: &LayerHandle,
        theirs: &LayerHandle,
    ) -> Result<bool, WorkerError> {
        self.check_cancelled()?;
        self.compare(parents, ours, theirs)
    }

    fn exec(
        &self,
        parents: &[LayerHandle],
        inputs: &[Origin<'_, LayerHandle>],
        op: &ExecOp,
        output: &(dyn Fn(Stream, &[u8]) + Sync),
    ) -> Result<LayerHandle, ExecError> {
        self.check_cancelled()?;
        self.bring(parents)?;
        self.run_process(parents, inputs, op, output)
            .inspect_err(|error| self.note_failure(parents, inputs, op, error))
    }

    fn lends(&self, layer: &LayerHandle) -> bool {
        layer.image().is_none_or(|image| !image.is_lost())
    }

    fn finish(&self, layers: &[LayerHandle]) -> Result<(), WorkerError> {
        if self.request.keep_image || self.request.needs_layers {
            self.bring(layers)
        } else {
            self.confirm(layers)
        }
    }
}

/// The files of a selection, sorted by path.
pub(super) fn listed(selection: &copy::Selection) -> Result<Vec<FileEntry>, WorkerError> {
    let files = selection.files().map_err(copy_failed)?;
    let mut listed: Vec<FileEntry> = files.map(|file| file_entry(&file)).collect();
    listed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listed)
}

fn file_entry(file: &SelectedFile) -> FileEntry {
    let metadata = &file.metadata;
    FileEntry {
        path: String::from_utf8_lossy(&file.path).into_owned(),
        kind: match metadata.file_type {
            FileType::Regular => FileKind::File,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            _ => FileKind::Special,
        },
        mode: u32::from(metadata.mode),
        uid: metadata.uid,
        gid: metadata.gid,
        size: metadata.size,
        content: match file.digest {
            // Eight bytes tell two versions of a file apart; the whole digests are in the key.
            Some(digest) => hex::encode(&digest.0[..8]),
            None => String::from_utf8_lossy(&file.link).into_owned(),
        },
    }
}
