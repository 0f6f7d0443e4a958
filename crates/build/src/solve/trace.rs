//! Which steps a build consists of, by their keys: what an export of its cache speaks of.
use super::vertex::Named;
use super::{Solver, ground};
use crate::key::{self, Parent, StepKey};
use crate::lower::{InputRef, Op};
use crate::stages::StageBase;
use crate::{CacheIndex, CacheKey, KnownStep, Mount, MountKind, Worker};
use std::collections::BTreeMap;
use std::sync::PoisonError;

impl<W: Worker, C: CacheIndex> Solver<'_, W, C> {
    /// Remembers the key that a step turned out to have.
    pub(super) fn trace(&self, stage: usize, position: usize, key: StepKey) {
        let mut traced = self.traced.lock().unwrap_or_else(PoisonError::into_inner);
        traced.insert((stage, position), key);
    }

    /// The key that a step turned out to have, or, if nobody came that far, the one it was looked up by. What was run
    /// and has no key here was made of files that were changing: its first key speaks of others.
    pub(super) fn traced(&self, stage: usize, position: usize) -> Option<StepKey> {
        let traced = self.traced.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = self.chains.get(&stage)?;
        let looked_up = || {
            let untouched = self.stages[&stage].is_idle() || position < chain.cached();
            chain.keys.get(position).filter(|_| untouched)
        };
        traced.get(&(stage, position)).or_else(looked_up).cloned()
    }

    /// The key of a whole stage.
    fn end(&self, stage: usize) -> Option<Parent> {
        let lowered = &self.plan.stages[&stage];
        match (lowered.steps.len(), &lowered.base) {
            (0, StageBase::Stage(base)) => self.end(*base),
            (0, base) => ground(base, self.images),
            (steps, _) => Some(Parent::Step(self.traced(stage, steps - 1)?.chain)),
        }
    }

    /// Every step whose key is known, of the stages that the target needs.
    pub(super) fn steps(&self) -> Vec<KnownStep<W::Layer>> {
        let first = self.of_image();
        let mut order = Vec::new();
        self.visit(self.plan.target, &mut order);
        let mut steps = Vec::new();
        for stage in order {
            let lowered = &self.plan.stages[&stage];
            let mut below = match lowered.base {
                StageBase::Stage(base) => self.end(base).and_then(step_key),
                _ => None,
            };
            for position in 0..lowered.steps.len() {
                let Some(StepKey { own, chain, inputs }) = self.traced(stage, position) else { break };
                steps.push(KnownStep {
                    key: chain,
                    own: (own != chain).then_some(own),
                    below: below.replace(chain),
                    place: key::place(&self.options.scope, lowered, position),
                    inputs,
                    selections: self.selections(stage, position),
                    root: self.root(stage).to_vec(),
                    cache_mounts: cache_mounts(&lowered.steps[position].op),
                    in_image: first.get(&stage).map(|first| first + position),
                    vertices: self.vertices(stage, position),
                });
            }
        }
        steps
    }

    /// What BuildKit calls a step, for an export. One that cannot be told is only not exported.
    fn vertices(&self, stage: usize, position: usize) -> Named {
        let wanted = self.options.vertices && self.options.run_inputs.is_empty() && self.plan.epoch.is_none();
        let key = self.traced(stage, position).filter(|_| wanted);
        key.and_then(|key| self.name(stage, position, &key, &[]).ok()).unwrap_or_default()
    }

    /// The stages whose layers are the image's, with the number of their first layer among its own.
    fn of_image(&self) -> BTreeMap<usize, usize> {
        let mut stages = vec![self.plan.target];
        while let Some(StageBase::Stage(base)) = stages.last().map(|stage| &self.plan.stages[stage].base) {
            stages.push(*base);
        }
        let mut next = 0;
        let first = |stage: usize| {
            let first = next;
            next += self.plan.stages[&stage].steps.len();
            (stage, first)
        };
        stages.into_iter().rev().map(first).collect()
    }

    /// The stages that one needs, each after those that it needs itself.
    fn visit(&self, stage: usize, order: &mut Vec<usize>) {
        if order.contains(&stage) {
            return;
        }
        let lowered = &self.plan.stages[&stage];
        if let StageBase::Stage(base) = lowered.base {
            self.visit(base, order);
        }
        for input in lowered.steps.iter().flat_map(|step| &step.inputs) {
            if let InputRef::Stage(other) = input {
                self.visit(*other, order);
            }
        }
        order.push(stage);
    }

    fn selections(&self, stage: usize, position: usize) -> Vec<CacheKey> {
        let step = &self.plan.stages[&stage].steps[position];
        let of_stage = |(index, selection): (usize, crate::Selection)| match step.inputs[index] {
            InputRef::Stage(other) => Some(key::selection(&self.end(other)?, &selection)),
            _ => None,
        };
        key::selections(&step.op).into_iter().filter_map(of_stage).collect()
    }
}

fn cache_mounts(op: &Op) -> Vec<String> {
    let Op::Exec(exec) = op else { return Vec::new() };
    let id = |mount: &Mount| match &mount.kind {
        MountKind::Cache { id, .. } => Some(id.clone()),
        _ => None,
    };
    exec.mounts.iter().filter_map(id).collect()
}

fn step_key(end: Parent) -> Option<CacheKey> {
    match end {
        Parent::Step(key) => Some(key),
        Parent::Base(_) => None,
    }
}
