//! Steps as BuildKit names them: for looking into its caches, and for exports that it reads.
use super::stage::{At, Progress, Ready};
use super::{Files, Made, Solver, Stop};
use crate::buildkit::{self, Base, Node, Source, Vertex};
use crate::key::{self, StepKey};
use crate::lower::{InputRef, Op, Step};
use crate::stages::StageBase;
use crate::{BuildErrorKind, CacheIndex, CopyOp, CopySource, Detail, FileOp, Origin, Worker, WorkerError};
use std::sync::PoisonError;
use strata_oci::{ChainId, Digest};

impl<W: Worker, C: CacheIndex> Solver<'_, W, C> {
    /// Takes a step from a cache of BuildKit's, if one has it.
    pub(super) fn take_vertex(
        &self,
        at: At<'_>,
        ready: &Ready<W::Layer>,
        progress: &mut Progress<W::Layer>,
    ) -> Result<bool, Stop> {
        let At { stage, position, step } = at;
        // BuildKit 0.8 knows no fixed times: what it made is of another.
        let asks = self.with.cache.has_vertices() && self.plan.epoch.is_none();
        if !asks || progress.fresh || progress.tainted || !self.options.run_inputs.is_empty() {
            return Ok(false);
        }
        let failed = |error| match error {
            WorkerError::Cancelled => self.fail(step.site.error(BuildErrorKind::Cancelled)),
            error => self.fail(step.site.error(BuildErrorKind::Worker(error))),
        };
        let files = ready.files.first();
        let Some(vertex) = self.name(stage, position, &ready.key, files).map_err(failed)? else {
            return Ok(false);
        };
        self.sight(stage, position).map_err(failed)?;
        for source in vertex.inputs.iter().flatten() {
            if let (Some(_), Some(InputRef::Stage(other))) = (source.selector, step.inputs.first()) {
                self.sight(*other, usize::MAX).map_err(failed)?;
            }
        }
        let root = self.root_config(stage).map_or(&[][..], |config| &config.rootfs.diff_ids);
        let found = self.with.cache.find_vertex(&ready.key.chain, &vertex, root);
        let Some(layers) = found.filter(|layers| !layers.is_empty()) else { return Ok(false) };
        let Some(handles) = self.with.worker.open(&layers).map_err(failed)? else { return Ok(false) };
        let made = handles.into_iter().zip(&layers);
        progress.layers = made.map(|(handle, layer)| Made { handle, created: layer.created }).collect();
        progress.stands_on(ready.key.chain);
        self.cached(step.id);
        self.lenders.used();
        self.keep(at, ready.key.clone(), Vec::new(), &progress.layers);
        Ok(true)
    }

    /// What BuildKit calls a step, told once and remembered. Files of other stages are named by their content only if
    /// those are at hand.
    pub(super) fn name(
        &self,
        stage: usize,
        position: usize,
        key: &StepKey,
        files: Option<&Files<W::Layer>>,
    ) -> Result<Option<Vertex>, WorkerError> {
        let known = || self.vertices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vertex) = known().get(&(stage, position)) {
            return Ok(vertex.clone());
        }
        let vertex = match self.below(stage, position) {
            Some(below) => self.named_on(stage, position, below, key, files)?,
            None => None,
        };
        known().insert((stage, position), vertex.clone());
        Ok(vertex)
    }

    /// Tells the caches of all steps of a stage before a position, so that they know what stands on what.
    fn sight(&self, stage: usize, before: usize) -> Result<(), WorkerError> {
        let lowered = &self.plan.stages[&stage];
        if let StageBase::Stage(base) = lowered.base {
            self.sight(base, usize::MAX)?;
        }
        for position in 0..before.min(lowered.steps.len()) {
            let Some(key) = self.traced(stage, position) else { return Ok(()) };
            if !self.sighted.lock().unwrap_or_else(PoisonError::into_inner).insert(key.chain) {
                continue;
            }
            let files = Files::of_context(lowered.steps[position].inputs.first());
            if let Some(vertex) = self.name(stage, position, &key, files.as_ref())? {
                let root = self.root_config(stage).map_or(&[][..], |config| &config.rootfs.diff_ids);
                self.with.cache.find_vertex(&key.chain, &vertex, root);
            }
        }
        Ok(())
    }

    /// What a step stands on; the outer `None`: something without a name.
    fn below(&self, stage: usize, position: usize) -> Option<Option<Node>> {
        if let Some(before) = position.checked_sub(1) {
            return Some(Some(Node::Step(self.traced(stage, before)?.chain)));
        }
        match &self.plan.stages[&stage].base {
            StageBase::Scratch => Some(None),
            StageBase::Image(key) => {
                let chain = ChainId::of(&self.images[key].config.value().rootfs.diff_ids)?;
                Some(Some(Node::Leaf(buildkit::image(&chain))))
            }
            StageBase::Stage(base) => self.below(*base, self.plan.stages[base].steps.len()),
        }
    }

    fn named_on(
        &self,
        stage: usize,
        position: usize,
        below: Option<Node>,
        key: &StepKey,
        files: Option<&Files<W::Layer>>,
    ) -> Result<Option<Vertex>, WorkerError> {
        let step = &self.plan.stages[&stage].steps[position];
        let base = if below.is_some() { Base::Something } else { Base::Nothing };
        let mut inputs: Vec<Vec<Source>> = below.map(|node| vec![Source::whole(node)]).into_iter().collect();
        let digest = match &step.op {
            Op::Exec(op) => buildkit::exec(op, &self.options.platform),
            Op::File(FileOp::Workdir { epoch: Some(_), .. }) => None,
            Op::File(FileOp::Workdir { path, owner, epoch: None }) => buildkit::mkdir(path, owner, base),
            Op::File(FileOp::Copy(op)) => {
                let digest = buildkit::copy(op, base);
                let sources = match digest {
                    Some(_) => self.sources(step, op, key, files)?,
                    None => Vec::new(),
                };
                // BuildKit has one input where both are the same, and then does not look at the files.
                let is_same = sources.iter().any(|source| Some(source.node) == below);
                if sources.is_empty() || is_same {
                    return Ok(None);
                }
                inputs.push(sources);
                digest
            }
        };
        Ok(digest.map(|digest| Vertex { digest, inputs }))
    }

    /// The files of a COPY: by content, and by what they are taken of.
    fn sources(
        &self,
        step: &Step,
        op: &CopyOp,
        key: &StepKey,
        files: Option<&Files<W::Layer>>,
    ) -> Result<Vec<Source>, WorkerError> {
        let path = |source: &CopySource| match source {
            CopySource::Path(path) => Some(path.clone()),
            _ => None,
        };
        let Some(paths) = op.sources.iter().map(path).collect::<Option<Vec<_>>>() else {
            return Ok(Vec::new());
        };
        let selected = |node| Source { selector: Some(buildkit::selector(&paths)), node };
        let of_content = |digest: &Digest| Source::whole(buildkit::files(digest));
        Ok(match step.inputs.first() {
            Some(InputRef::Context) => {
                let content = self.with.worker.content_digest(Origin::Context, &paths)?;
                let content = content.filter(|_| self.is_unchanged(step, key));
                content.iter().map(of_content).collect()
            }
            Some(InputRef::Stage(other)) => {
                let content = match files {
                    Some(files @ Files::Layers(_)) => {
                        self.with.worker.content_digest(files.origin(), &paths)?
                    }
                    _ => None,
                };
                let end = self.below(*other, self.plan.stages[other].steps.len()).flatten();
                content.iter().map(of_content).chain(end.map(selected)).collect()
            }
            Some(InputRef::Image(image)) => {
                let chain = ChainId::of(&self.images[image].config.value().rootfs.diff_ids);
                chain.map(|chain| selected(Node::Leaf(buildkit::image(&chain)))).into_iter().collect()
            }
            Some(InputRef::Nothing | InputRef::Named(_)) | None => Vec::new(),
        })
    }

    /// Whether the files of the context are still those of the step's key: BuildKit's name is made later.
    fn is_unchanged(&self, step: &Step, key: &StepKey) -> bool {
        let Some((_, selection)) = key::selections(&step.op).into_iter().next() else { return false };
        let keyed = key.inputs.iter().find(|input| input.name == key::FILES);
        let now = self.with.worker.select(Origin::Context, &selection, Detail::Files);
        now.is_ok_and(|now| keyed.is_some_and(|keyed| keyed.value == now.digest.to_string()))
    }
}
