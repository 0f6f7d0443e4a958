//! A step that is not in the cache: why, and then run.
use super::stage::{At, Progress, Ready};
use super::{Files, Made, Outcome, Solver, Stop, record};
use crate::key::{self, StepKey};
use crate::lower::{Op, Step};
use crate::{
    BuildError, BuildErrorKind, Builder, CacheIndex, CacheRecord, Detail, Event, ExecError, FileOp, Input,
    MOST_LISTED, Origin, Place, Reason, Worker, WorkerError, explain,
};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl<W: Worker, C: CacheIndex> Solver<'_, W, C> {
    /// Runs a step and hands it to the recorder. A failed one is not recorded, nor is one whose files changed.
    pub(super) fn execute(
        &self,
        at: At<'_>,
        ready: Ready<W::Layer>,
        progress: &mut Progress<W::Layer>,
    ) -> Result<Outcome<W::Layer>, Stop> {
        let At { stage, step, .. } = at;
        let _permit = self.permits.acquire();
        if self.with.cancel.load(Ordering::SeqCst) {
            return Err(self.fail(step.site.error(BuildErrorKind::Cancelled)));
        }
        self.event(Event::Started(step.id));
        self.explain(at, &ready, progress)?;
        let start = Instant::now();
        let parents = self.stack(stage, &progress.layers);
        let made = self.perform(step, &parents, &ready.files);
        let made = made.and_then(|handle| Ok((handle, self.verify(step, &ready)?)));
        let (handle, listing) = made.map_err(|error| {
            let time = start.elapsed();
            self.event(match error.kind {
                BuildErrorKind::Cancelled => Event::Stopped(step.id, time),
                // It begins once more when what it stands on has been made.
                _ if error.is_lost() => Event::Stopped(step.id, time),
                _ => Event::Failed(step.id, time),
            });
            self.fail(error)
        })?;
        self.event(Event::Done(step.id, start.elapsed()));
        let mut layers = progress.layers.clone();
        layers.push(Made { handle, created: self.plan.epoch.unwrap_or_else(|| (self.with.clock)()) });
        let tainted = progress.tainted || listing.is_none();
        if let Some(files) = listing.filter(|_| !tainted) {
            self.keep(at, ready.key, files, &layers);
        }
        Ok((layers, tainted))
    }

    /// Hands a step's result to the recorder.
    pub(super) fn keep(
        &self,
        at: At<'_>,
        StepKey { own, chain, inputs }: StepKey,
        files: Vec<record::Listing>,
        layers: &[Made<W::Layer>],
    ) {
        self.recorder.send(record::Ran {
            keys: record::Keys { chain, own: (own != chain).then_some(own) },
            place: key::place(&self.options.scope, &self.plan.stages[&at.stage], at.position),
            inputs,
            files,
            layers: layers.to_vec(),
            site: at.step.site,
        });
    }

    fn perform(
        &self,
        step: &Step,
        parents: &[W::Layer],
        files: &[Files<W::Layer>],
    ) -> Result<W::Layer, BuildError> {
        match &step.op {
            Op::File(op) => {
                let linked = matches!(op, FileOp::Copy(copy) if copy.link);
                let origin = files.first().map_or(Origin::Layers(&[]), Files::origin);
                let made = self.with.worker.copy(if linked { &[] } else { parents }, origin, op);
                made.map_err(|error| match error {
                    WorkerError::Remote { .. } => step.unreadable(error),
                    error => step.site.error(worker(error)),
                })
            }
            Op::Exec(op) => {
                let inputs: Vec<_> = files.iter().map(Files::origin).collect();
                let output = |stream, bytes: &[u8]| self.event(Event::Output(step.id, stream, bytes));
                self.with.worker.exec(parents, &inputs, op, &output).map_err(|error| {
                    step.site.error(match error {
                        ExecError::Required(sentence) => BuildErrorKind::Instruction(sentence),
                        ExecError::Worker(error) => worker(error),
                        source => BuildErrorKind::Process { command: op.argv.join(" "), source },
                    })
                })
            }
        }
    }

    /// Looks once more at the files that a step has read: `None` if they are not those that its key speaks of. The
    /// listings of a COPY's or ADD's files are kept for explaining the next miss.
    fn verify(
        &self,
        step: &Step,
        ready: &Ready<W::Layer>,
    ) -> Result<Option<Vec<record::Listing>>, BuildError> {
        let mut listings = Vec::new();
        let is_copy = matches!(step.op, Op::File(_));
        for ((index, selection), digest) in key::selections(&step.op).into_iter().zip(&ready.digests) {
            let files = &ready.files[index];
            if !is_copy && matches!(files, Files::Layers(_)) {
                continue;
            }
            let detail = if is_copy { Detail::Files } else { Detail::Digest };
            match self.with.worker.select(files.origin(), &selection, detail) {
                Ok(selected) if selected.digest == *digest => listings.push((*digest, selected.files)),
                Err(WorkerError::Cancelled) => return Err(step.site.error(BuildErrorKind::Cancelled)),
                // Changed or gone meanwhile.
                Ok(_) | Err(_) => {
                    let message = "files of the context changed while they were read: the step is not cached";
                    self.event(Event::Warning { message, span: Some(step.site.span()) });
                    return Ok(None);
                }
            }
        }
        listings.retain(|(_, files)| !files.is_empty() && files.len() <= MOST_LISTED);
        Ok(Some(listings))
    }

    /// Says why a step that an earlier build had must run.
    fn explain(
        &self,
        at: At<'_>,
        ready: &Ready<W::Layer>,
        progress: &mut Progress<W::Layer>,
    ) -> Result<(), Stop> {
        let At { stage, position, step } = at;
        let lowered = &self.plan.stages[&stage];
        if progress.earlier.is_none() {
            let earlier = self.with.cache.earlier(&self.options.scope, &lowered.name);
            progress.earlier = Some(earlier.map_err(|error| self.fail(step.site.error(worker(error))))?);
        }
        let place = key::place(&self.options.scope, lowered, position);
        let earlier = progress.earlier.as_deref().unwrap_or_default();
        let files: Vec<_> = ready.files.iter().cloned().map(Some).collect();
        let step = (step, &lowered.args);
        if let Some(reason) = reason(self.with, step, &place, &ready.key.inputs, &files, earlier) {
            let (step, _) = step;
            self.event(Event::Missed(step.id, &reason));
        }
        Ok(())
    }
}

/// Why a step is not in the cache. Without listings, and for files that are not there yet, without details.
pub(super) fn reason<W: Worker, C: CacheIndex>(
    with: &Builder<'_, W, C>,
    (step, args): (&Step, &BTreeSet<String>),
    place: &Place,
    inputs: &[Input],
    files: &[Option<Files<W::Layer>>],
    earlier: &[CacheRecord],
) -> Option<Reason> {
    let listed = |digest: &str| {
        let files = digest.parse().ok().and_then(|digest| with.cache.listing(&digest).ok());
        files.unwrap_or_default()
    };
    let now = || {
        let (index, selection) = key::selections(&step.op).into_iter().next()?;
        let origin = files.get(index)?.as_ref()?.origin();
        Some(with.worker.select(origin, &selection, Detail::Files).ok()?.files)
    };
    let files = || now().unwrap_or_default();
    explain::reason(
        &explain::Now { place, inputs, files: &files, listed: &listed, forced: step.ignore_cache, args },
        earlier,
    )
}

fn worker(error: WorkerError) -> BuildErrorKind {
    match error {
        WorkerError::Cancelled => BuildErrorKind::Cancelled,
        error => BuildErrorKind::Worker(error),
    }
}
