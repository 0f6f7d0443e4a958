//! What a build would do, and why, without doing it.
use super::probe::{Chain, Prober};
use super::run::reason;
use super::{Bases, Files};
use crate::lower::{InputRef, Plan};
use crate::stages::StageBase;
use crate::{
    BuildError, BuildErrorKind, BuildOptions, Builder, CacheIndex, Forecast, StepId, Worker, explain,
};
use std::collections::{BTreeMap, BTreeSet};

/// Looks every step up; runs and records nothing.
pub(crate) fn forecast<W: Worker, C: CacheIndex>(
    with: &Builder<'_, W, C>,
    options: &BuildOptions,
    plan: &Plan,
    images: &Bases<W::Layer>,
) -> Result<BTreeMap<StepId, Forecast>, BuildError> {
    let prober = Prober::new(with, options, plan, images);
    let mut chains = BTreeMap::new();
    prober.chain(plan.target, &mut chains)?;
    let mut running = BTreeSet::new();
    stages_that_run(plan, &chains, plan.target, &mut running);
    let mut forecasts = BTreeMap::new();
    for (index, stage) in &plan.stages {
        let Some(chain) = chains.get(index) else { continue };
        let earlier = with.cache.earlier(&options.scope, &stage.name);
        let earlier =
            earlier.map_err(|error| BuildError { kind: BuildErrorKind::Worker(error), spans: Vec::new() })?;
        let mut fresh = false;
        for (position, step) in stage.steps.iter().enumerate() {
            fresh |= step.ignore_cache;
            let forecast = match chain.keys.get(position) {
                _ if position < chain.cached() || !running.contains(index) => Forecast::Cached,
                None if !fresh => Forecast::Undecided,
                // A forced step before it: there is no key to compare.
                None if !step.ignore_cache => Forecast::Runs(Some(explain::follows())),
                key => {
                    let files: Vec<_> = step.inputs.iter().map(|input| Files::of(input, images)).collect();
                    let inputs = key.map_or(&[][..], |key| &key.inputs);
                    let place = crate::key::place(&options.scope, stage, position);
                    Forecast::Runs(reason(with, (step, &stage.args), &place, inputs, &files, &earlier))
                }
            };
            forecasts.insert(step.id, forecast);
        }
    }
    Ok(forecasts)
}

/// The stages of which some step is not in the cache and is needed.
fn stages_that_run<L>(
    plan: &Plan,
    chains: &BTreeMap<usize, Chain<L>>,
    stage: usize,
    out: &mut BTreeSet<usize>,
) {
    let (lowered, cached) = (&plan.stages[&stage], chains[&stage].cached());
    if cached == lowered.steps.len() && cached > 0 || !out.insert(stage) {
        return;
    }
    if let (StageBase::Stage(base), 0) = (&lowered.base, cached) {
        stages_that_run(plan, chains, *base, out);
    }
    for input in lowered.steps[cached..].iter().flat_map(|step| &step.inputs) {
        if let InputRef::Stage(other) = input {
            stages_that_run(plan, chains, *other, out);
        }
    }
}
