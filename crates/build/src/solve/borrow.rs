//! Steps that an image named by `--cache-from` has the layer of.
use super::lend::{Difference, Lent, Sought};
use super::stage::{At, Progress, Ready};
use super::{Made, Solver, Stop};
use crate::lower::Op;
use crate::{
    BuildErrorKind, CacheImage, CacheIndex, CopyOp, Event, ExecOp, FileOp, Layer, Origin, Security, Worker,
    WorkerError,
};
use std::sync::{Mutex, PoisonError};
use strata_oci::DiffId;

/// What became of the images so far.
#[derive(Default)]
pub(super) struct Lenders(Mutex<Vec<Account>>);

#[derive(Default)]
struct Account {
    /// Steps that it had.
    lent: usize,
    /// Where it and the build part, as far up as they got together.
    parts: Option<Difference>,
}

impl Lenders {
    pub(super) fn new(images: usize) -> Self {
        Self(Mutex::new(std::iter::repeat_with(Account::default).take(images).collect()))
    }

    /// Something of them was used, if not their layers' history.
    pub(super) fn used(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter_mut()
            .for_each(|account| account.lent += 1);
    }

    fn note(&self, image: usize, found: Result<(), Difference>) {
        let account = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner)[image];
        match found {
            Ok(()) => account.lent += 1,
            // A stage that has nothing to do with the image does not say what is missing of another.
            Err(difference) if account.parts.as_ref().is_none_or(|known| known.ours().is_none()) => {
                account.parts = Some(difference);
            }
            Err(_) => {}
        }
    }
}

/// A layer of an image in the place of a step.
struct Loan<L> {
    handle: L,
    created: Option<jiff::Timestamp>,
}

impl<W: Worker, C: CacheIndex> Solver<'_, W, C> {
    /// Takes a step's layer from an image, if one has it.
    pub(super) fn borrow(
        &self,
        at: At<'_>,
        ready: &Ready<W::Layer>,
        progress: &mut Progress<W::Layer>,
    ) -> Result<bool, Stop> {
        if self.with.cache_images.is_empty() || progress.fresh || progress.tainted {
            return Ok(false);
        }
        for (number, image) in self.with.cache_images.iter().enumerate() {
            let loan = self.loan(at, ready, progress, image);
            let loan = match loan {
                Ok(loan) => loan,
                Err(WorkerError::Cancelled) => {
                    return Err(self.fail(at.step.site.error(BuildErrorKind::Cancelled)));
                }
                Err(error @ WorkerError::Lost(_)) => {
                    return Err(self.fail(at.step.site.error(BuildErrorKind::Worker(error))));
                }
                Err(error) => {
                    let message = format!("--cache-from {}: not used: {error}", image.name);
                    self.event(Event::Warning { message: &message, span: None });
                    continue;
                }
            };
            self.lenders.note(number, loan.as_ref().map(drop).map_err(Clone::clone));
            let Ok(Loan { handle, created }) = loan else { continue };
            let created = self.plan.epoch.or(created).unwrap_or_else(|| (self.with.clock)());
            progress.layers.push(Made { handle, created });
            progress.stands_on(ready.key.chain);
            self.cached(at.step.id);
            self.keep(at, ready.key.clone(), Vec::new(), &progress.layers);
            return Ok(true);
        }
        Ok(false)
    }

    /// Says which images brought nothing, and why.
    pub(super) fn tell_lenders(&self) {
        let accounts = self.lenders.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, image) in accounts.iter().zip(self.with.cache_images) {
            if let (0, Some(parts)) = (account.lent, &account.parts) {
                let message = format!("--cache-from {}: not used: {parts}", image.name);
                self.event(Event::Warning { message: &message, span: None });
            }
        }
    }

    fn loan(
        &self,
        At { stage, step, .. }: At<'_>,
        ready: &Ready<W::Layer>,
        progress: &Progress<W::Layer>,
        image: &CacheImage<W::Layer>,
    ) -> Result<Result<Loan<W::Layer>, Difference>, WorkerError> {
        let draft = &self.plan.stages[&stage].image;
        let layers: Vec<Option<DiffId>> = progress.layers.iter().map(|made| made.handle.name()).collect();
        let root = self.root_config(stage);
        let found = Sought { root, rows: &draft.expected, layers: &layers }.find(image.image.config.value());
        let lent = match found {
            Ok(lent) => lent,
            Err(difference) => return Ok(Err(difference)),
        };
        let ours = || step_text(draft, progress.layers.len());
        let row = match &lent {
            Lent::Layer(_, row) | Lent::Nothing(row) => row,
        };
        if self.plan.epoch.is_some() && self.plan.epoch != row.created {
            return Ok(Err(Difference::Time { ours: ours() }));
        }
        let created = row.created;
        let parents = || self.stack(stage, &progress.layers);
        let handle = match (&step.op, &lent) {
            (Op::Exec(op), _) if !self.is_told(op) => return Ok(Err(Difference::Untold { ours: ours() })),
            (_, Lent::Layer(layer, _)) if !self.with.worker.lends(&image.image.layers[*layer]) => {
                return Ok(Err(Difference::Lost { ours: ours() }));
            }
            (Op::Exec(_) | Op::File(FileOp::Workdir { .. }), Lent::Layer(layer, _)) => {
                image.image.layers[*layer].clone()
            }
            (Op::Exec(_) | Op::File(FileOp::Workdir { .. }), Lent::Nothing(_)) => {
                self.with.worker.copy(&[], Origin::Layers(&[]), &FileOp::Copy(nothing()))?
            }
            // To do it is as cheap as to look at what somebody else made of it.
            (Op::File(FileOp::Copy(_)), Lent::Nothing(_)) => return Ok(Err(Difference::Rows)),
            (Op::File(op @ FileOp::Copy(copy)), Lent::Layer(layer, _)) => {
                let parents = if copy.link { Vec::new() } else { parents() };
                let origin = ready.files.first().map_or(Origin::Layers(&[]), super::Files::origin);
                let made = self.with.worker.copy(&parents, origin, op)?;
                let theirs = &image.image.layers[*layer];
                if !self.with.worker.same_files(&parents, &made, theirs)? {
                    return Ok(Err(Difference::Files { ours: ours() }));
                }
                theirs.clone()
            }
        };
        Ok(Ok(Loan { handle, created }))
    }

    /// Whether the text of a RUN in a history tells everything that decides its result.
    fn is_told(&self, op: &ExecOp) -> bool {
        op.mounts.is_empty()
            && op.secret_env.is_empty()
            && op.hostname.is_empty()
            && op.network == self.options.network
            && op.security == Security::Sandbox
    }
}

/// The instruction of the step on so many layers.
fn step_text(draft: &crate::lower::Draft, layers: usize) -> String {
    let row = draft.expected.iter().filter(|row| row.layered).nth(layers);
    row.map_or_else(String::new, |row| row.shown().to_owned())
}

/// A copy of nothing: its layer is empty.
fn nothing() -> CopyOp {
    CopyOp {
        sources: Vec::new(),
        destination: "/".to_owned(),
        chown: None,
        chmod: None,
        link: true,
        parents: false,
        exclude: Vec::new(),
        unpack: false,
        epoch: None,
    }
}
