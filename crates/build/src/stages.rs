//! The stages that the target needs, their bases resolved (`spec/build.md` 1.9).
use crate::error::Site;
use crate::names::{Meaning, Names};
use crate::scope::Globals;
use crate::{Base, BuildError, BuildErrorKind, BuildOptions, Worker, mount};
use std::collections::BTreeMap;
use strata_dockerfile::{Command, Dockerfile, Instruction, Span, Stage, Word};
use strata_oci::{Platform, Reference};

/// An image as the build asks for it: platforms differ in everything but the name.
pub(crate) type ImageKey = (Reference, String);

/// The images of a build.
pub(crate) type Bases<L> = BTreeMap<ImageKey, Base<L>>;

/// A reachable stage.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) base: StageBase,
    /// The context whose files are the root file system, on a base of scratch.
    pub(crate) directory: Option<String>,
    /// ONBUILD of the base, in order, with what to blame.
    pub(crate) triggers: Vec<(Instruction, Site)>,
}

/// What a stage stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StageBase {
    Scratch,
    Stage(usize),
    Image(ImageKey),
}

/// The reachable part of a Dockerfile.
#[derive(Debug)]
pub(crate) struct StageGraph<L> {
    pub(crate) target: usize,
    /// By index in the file, which is an order in which every stage comes after those it needs.
    pub(crate) nodes: BTreeMap<usize, Node>,
    pub(crate) images: Bases<L>,
}

/// Finds what is reachable from the target, in waves: a base image's triggers may need further stages and images.
pub(crate) fn discover<W: Worker>(
    worker: &W,
    dockerfile: &Dockerfile,
    options: &BuildOptions,
    globals: &Globals,
) -> Result<StageGraph<W::Layer>, BuildError> {
    let names = Names::new(dockerfile, options);
    let unplaced = |kind| BuildError { kind, spans: Vec::new() };
    if dockerfile.stages.is_empty() {
        return Err(unplaced(BuildErrorKind::Instruction(
            "dockerfile contains no stages to build".to_owned(),
        )));
    }
    let target = names.target().map_err(unplaced)?;
    refuse_cycles(&names, dockerfile, globals)?;
    let mut search = Search { worker, dockerfile, options, globals, names, wanted: BTreeMap::new() };
    let mut graph = StageGraph { target, nodes: BTreeMap::new(), images: BTreeMap::new() };
    let mut pending = vec![target];
    while !pending.is_empty() || !search.wanted.is_empty() {
        let mut bases = Vec::new();
        for stage in pending.drain(..) {
            if !graph.nodes.contains_key(&stage) && bases.iter().all(|(known, _)| *known != stage) {
                bases.push((stage, search.base(stage)?));
            }
        }
        search.resolve(&mut graph.images)?;
        for (stage, (base, directory)) in bases {
            let node = search.node(stage, base, directory, &graph.images)?;
            pending.extend(search.needs(stage, &node)?);
            graph.nodes.insert(stage, node);
        }
    }
    Ok(graph)
}

struct Search<'a, W> {
    worker: &'a W,
    dockerfile: &'a Dockerfile,
    options: &'a BuildOptions,
    globals: &'a Globals,
    names: Names<'a>,
    /// Images that the next wave resolves, and who asked first.
    wanted: BTreeMap<ImageKey, (Platform, Site)>,
}

impl<W: Worker> Search<'_, W> {
    fn stage(&self, index: usize) -> &Stage {
        &self.dockerfile.stages[index]
    }

    /// What a stage stands on, and the context that is its root if it is one.
    fn base(&mut self, index: usize) -> Result<(StageBase, Option<String>), BuildError> {
        let stage = self.stage(index);
        let site = Site::from(stage.span);
        let escape = self.dockerfile.directives.escape;
        let name = self.globals.expand(&stage.base, escape, site)?;
        if name.is_empty() {
            return Err(site.word(stage.base.span, BuildErrorKind::BlankBase(stage.base.text.clone())));
        }
        let platform = self.platform(stage, escape, site)?;
        let meaning = self.names.base(&name, index).map_err(|kind| site.word(stage.base.span, kind))?;
        Ok(match meaning {
            Meaning::Scratch => (StageBase::Scratch, None),
            Meaning::Stage(base) => (StageBase::Stage(base), None),
            Meaning::Named(name) => (StageBase::Scratch, Some(name)),
            Meaning::Image(reference) => (StageBase::Image(self.want(reference, platform, site)), None),
        })
    }

    fn platform(&self, stage: &Stage, escape: char, site: Site) -> Result<Platform, BuildError> {
        let Some(word) = &stage.platform else { return Ok(self.options.platform.clone()) };
        let text = self.globals.expand(word, escape, site)?;
        if text.is_empty() {
            let sentence = format!("empty platform value from expression {}", word.text);
            return Err(site.word(word.span, BuildErrorKind::Instruction(sentence)));
        }
        text.parse().map_err(|error| {
            let sentence = format!("failed to parse platform {text}: {error}");
            site.word(word.span, BuildErrorKind::Instruction(sentence))
        })
    }

    fn want(&mut self, reference: Reference, platform: Platform, site: Site) -> ImageKey {
        let key = (reference, platform.to_string());
        self.wanted.entry(key.clone()).or_insert((platform, site));
        key
    }

    /// Resolves what is wanted and not known, all at once: registries answer slowly.
    fn resolve(&mut self, images: &mut Bases<W::Layer>) -> Result<(), BuildError> {
        let wanted: Vec<_> = std::mem::take(&mut self.wanted)
            .into_iter()
            .filter(|(key, _)| !images.contains_key(key))
            .collect();
        let worker = self.worker;
        let resolve = |key: &ImageKey, platform: &Platform| worker.resolve(&key.0, platform);
        let answers: Vec<_> = match &wanted[..] {
            [(key, (platform, _))] => vec![resolve(key, platform)],
            wanted => std::thread::scope(|scope| {
                let threads: Vec<_> = wanted
                    .iter()
                    .map(|(key, (platform, _))| scope.spawn(move || resolve(key, platform)))
                    .collect();
                threads.into_iter().map(|thread| thread.join().expect("a worker does not panic")).collect()
            }),
        };
        for ((key, (_, site)), answer) in wanted.into_iter().zip(answers) {
            let base = answer.map_err(|source| {
                site.error(BuildErrorKind::Resolve { reference: key.0.familiar(), source })
            })?;
            images.insert(key, base);
        }
        Ok(())
    }

    fn node(
        &self,
        index: usize,
        base: StageBase,
        directory: Option<String>,
        images: &Bases<W::Layer>,
    ) -> Result<Node, BuildError> {
        let from = self.stage(index).span;
        let triggers = match &base {
            StageBase::Scratch => Vec::new(),
            StageBase::Stage(base) => own_triggers(self.stage(*base)),
            StageBase::Image(key) => {
                let texts = &images[key].config.value().config.on_build;
                texts.iter().map(|text| parse_trigger(text, from)).collect::<Result<_, _>>()?
            }
        };
        Ok(Node { base, directory, triggers })
    }

    /// Stages that this one needs; images go to `wanted`.
    fn needs(&mut self, index: usize, node: &Node) -> Result<Vec<usize>, BuildError> {
        let mut stages = Vec::new();
        if let StageBase::Stage(base) = node.base {
            stages.push(base);
        }
        let own = self.dockerfile.stages[index].instructions.iter();
        let own = own.map(|instruction| (instruction, Site::from(instruction.span)));
        let triggers = node.triggers.iter().map(|(instruction, site)| (instruction, *site));
        for (instruction, site) in triggers.chain(own) {
            for (word, name, is_mount) in sources(&instruction.command) {
                let meaning = self.names.source(&name, index, !is_mount);
                match meaning.map_err(|kind| site.word(word, kind))? {
                    Meaning::Stage(stage) => stages.push(stage),
                    Meaning::Image(reference) => {
                        self.want(reference, self.options.platform.clone(), site);
                    }
                    Meaning::Scratch | Meaning::Named(_) => {}
                }
            }
        }
        Ok(stages)
    }
}

/// Triggers declared in the file; they are not inherited further.
fn own_triggers(base: &Stage) -> Vec<(Instruction, Site)> {
    let declared = base.instructions.iter().filter_map(|instruction| match &instruction.command {
        Command::Onbuild { trigger, .. } => Some(((**trigger).clone(), Site::from(instruction.span))),
        _ => None,
    });
    declared.collect()
}

fn parse_trigger(text: &str, from: Span) -> Result<(Instruction, Site), BuildError> {
    let site = Site::foreign(from);
    strata_dockerfile::parse_instruction(text).map(|instruction| (instruction, site)).map_err(|source| {
        site.error(BuildErrorKind::Trigger { trigger: text.to_owned(), source: Box::new(source) })
    })
}

/// Names of other stages or images in an instruction: where, which, and whether a mount's.
fn sources(command: &Command) -> Vec<(Span, String, bool)> {
    match command {
        Command::Copy(copy) => {
            copy.from.iter().map(|Word { text, span }| (*span, text.clone(), false)).collect()
        }
        Command::Run(run) => {
            let mounts = run.mounts.iter();
            mounts.filter_map(|word| Some((word.span, mount::from_of(&word.text)?, true))).collect()
        }
        _ => Vec::new(),
    }
}

/// Refuses stages that need each other, before anything is resolved. All stages count, reachable or not.
fn refuse_cycles(names: &Names<'_>, dockerfile: &Dockerfile, globals: &Globals) -> Result<(), BuildError> {
    let mut edges: Vec<Vec<(usize, Span)>> = Vec::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let mut needs = Vec::new();
        // A base that means nothing is an error only where its stage is needed; an index always is.
        let base = globals.expand(&stage.base, dockerfile.directives.escape, stage.span.into());
        if let Some(Ok(Meaning::Stage(base))) = base.ok().map(|name| names.base(&name, index)) {
            needs.push((base, stage.span));
        }
        for instruction in &stage.instructions {
            for (word, name, is_mount) in sources(&instruction.command) {
                let named = names.stage(&name, index, !is_mount);
                if let Some(stage) = named.map_err(|kind| kind.at(word))? {
                    needs.push((stage, instruction.span));
                }
            }
        }
        edges.push(needs);
    }
    let mut done = vec![false; edges.len()];
    for start in 0..edges.len() {
        let mut path = vec![start];
        let mut spans = Vec::new();
        if cycle(start, &edges, &mut done, &mut path, &mut spans) {
            return Err(BuildError {
                kind: BuildErrorKind::Circular { stage: names.stage_name(start) },
                spans,
            });
        }
    }
    Ok(())
}

/// Whether a cycle can be reached from `stage`; `spans` are then the instructions on the way.
fn cycle(
    stage: usize,
    edges: &[Vec<(usize, Span)>],
    done: &mut [bool],
    path: &mut Vec<usize>,
    spans: &mut Vec<Span>,
) -> bool {
    if std::mem::replace(&mut done[stage], true) {
        return false;
    }
    for (next, span) in &edges[stage] {
        spans.push(*span);
        if path.contains(next) {
            return true;
        }
        path.push(*next);
        if cycle(*next, edges, done, path, spans) {
            return true;
        }
        path.pop();
        spans.pop();
    }
    false
}
