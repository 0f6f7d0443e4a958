//! What stands at the inputs of a step, as BuildKit names it.
use super::vertex::Named;
use super::{Files, Solver};
use crate::buildkit::{self, Base, InlineFile, Node, Source, Vertex};
use crate::key::{self, StepKey};
use crate::lower::{InputRef, Op, Step};
use crate::stages::StageBase;
use crate::{CacheIndex, CopyOp, Detail, ExecOp, FileOp, Mount, Origin, Selection, Worker, WorkerError};
use strata_oci::ChainId;

/// Nothing stands there.
const NO_INPUT: i64 = -1;

/// What a mount takes files from.
#[derive(PartialEq, Eq)]
enum Ground {
    /// The build's context.
    Context,
    /// A stage or an image.
    Record(Node),
    /// Something that the mount brings along.
    Own(Vec<Source>),
}

/// An input of a RUN: all that is mounted of the same.
struct Mounted {
    ground: Ground,
    /// Number of an input of the step that is this.
    input: usize,
    /// In the order of the mounts' targets.
    paths: Vec<String>,
}

/// A step to be named.
struct Naming<'a, L> {
    step: &'a Step,
    key: &'a StepKey,
    /// Of the step's inputs, those that are at hand.
    files: &'a [Files<L>],
}

impl<W: Worker, C: CacheIndex> Solver<'_, W, C> {
    /// What BuildKit calls a step that stands on this; `None`: on nothing.
    pub(super) fn named_on(
        &self,
        stage: usize,
        position: usize,
        below: Option<Node>,
        key: &StepKey,
        files: &[Files<W::Layer>],
    ) -> Result<Named, WorkerError> {
        let step = &self.plan.stages[&stage].steps[position];
        let naming = Naming { step, key, files };
        let is_link = matches!(&step.op, Op::File(FileOp::Copy(op)) if op.link);
        let whole = |node: Node| vec![Source::Whole(node)];
        let base = if below.is_some() && !is_link { Base::Something } else { Base::Nothing };
        let vertex = match &step.op {
            Op::Exec(op) => self.named_run(&naming, op, below)?,
            Op::File(FileOp::Workdir { epoch: Some(_), .. }) => None,
            Op::File(FileOp::Workdir { path, owner, epoch: None }) => {
                let inputs = below.map(whole).into_iter().collect();
                Vertex::new(|release| buildkit::mkdir(path, owner, base, release), inputs)
            }
            Op::File(FileOp::Copy(op)) => self.named_copy(&naming, op, below.filter(|_| !is_link), base)?,
        };
        let Some(vertex) = vertex else { return Ok(Named::new()) };
        if !is_link {
            return Ok(vec![(key.chain, vertex)]);
        }
        let Some(below) = below else { return Ok(vec![(key.own, vertex.clone()), (key.chain, vertex)]) };
        let inputs = vec![whole(below), whole(Node::Step(key.own))];
        let merged = Vertex::new(buildkit::merge, inputs).map(|merged| (key.chain, merged));
        Ok(std::iter::once((key.own, vertex)).chain(merged).collect())
    }

    /// What a step stands on; the outer `None`: something without a name.
    pub(super) fn below(&self, stage: usize, position: usize) -> Option<Option<Node>> {
        if let Some(before) = position.checked_sub(1) {
            return Some(Some(Node::Step(self.traced(stage, before)?.chain)));
        }
        match &self.plan.stages[&stage].base {
            StageBase::Scratch => Some(None),
            StageBase::Image(image) => Some(Some(self.image_node(image)?)),
            StageBase::Stage(base) => self.below(*base, self.plan.stages[base].steps.len()),
        }
    }

    fn image_node(&self, image: &crate::stages::ImageKey) -> Option<Node> {
        let chain = ChainId::of(&self.images[image].config.value().rootfs.diff_ids)?;
        Some(Node::Leaf(buildkit::image(&chain)))
    }

    /// What an input is as a record, the context none; the outer `None`: nothing that has a name.
    fn input_node(&self, input: &InputRef) -> Option<Option<Node>> {
        match input {
            InputRef::Context => Some(None),
            InputRef::Stage(other) => self.below(*other, self.plan.stages[other].steps.len())?.map(Some),
            InputRef::Image(image) => self.image_node(image).map(Some),
            InputRef::Nothing | InputRef::Named(_) => None,
        }
    }

    fn named_copy(
        &self,
        naming: &Naming<'_, W::Layer>,
        op: &CopyOp,
        below: Option<Node>,
        base: Base,
    ) -> Result<Option<Vertex>, WorkerError> {
        let names = |release| buildkit::copy(op, base, release);
        if buildkit::names(names).is_empty() {
            return Ok(None);
        }
        let mut inputs: Vec<Vec<Source>> = below.map(|node| vec![Source::Whole(node)]).into_iter().collect();
        if let Some((_, selection)) = key::selections(&naming.step.op).into_iter().next() {
            let Some(node) = naming.step.inputs.first().and_then(|input| self.input_node(input)) else {
                return Ok(None);
            };
            let mut sources = self.contents(naming, 0, &selection)?;
            sources.extend(node.map(|node| Source::Selected(buildkit::selector(&selection.paths), node)));
            // BuildKit has one input where both are the same, and then does not look at the files.
            if sources.is_empty() || node.is_some() && node == below {
                return Ok(None);
            }
            inputs.push(sources);
        }
        for script in op.sources.iter().filter_map(InlineFile::of) {
            let input = vec![buildkit::inline_content(&script), buildkit::inline_file(&script, script.name)];
            if inputs.contains(&input) {
                return Ok(None);
            }
            inputs.push(input);
        }
        Ok(Vertex::new(names, inputs))
    }

    fn named_run(
        &self,
        naming: &Naming<'_, W::Layer>,
        op: &ExecOp,
        below: Option<Node>,
    ) -> Result<Option<Vertex>, WorkerError> {
        let mut mounts: Vec<&Mount> = op.mounts.iter().filter(|mount| buildkit::is_of_files(mount)).collect();
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        let mut grounds: Vec<Mounted> = Vec::new();
        let first = usize::from(below.is_some());
        let mut files = Vec::new();
        for mount in mounts {
            let (ground, input, path) = match buildkit::mount_paths(mount) {
                Some((input, path)) => match self.input_node(&naming.step.inputs[input]) {
                    None => return Ok(None),
                    // BuildKit has one input where both are the same.
                    Some(node) if node.is_some() && node == below => return Ok(None),
                    Some(node) => (node.map_or(Ground::Context, Ground::Record), input, Some(path)),
                },
                None => (Ground::Own(buildkit::first_content(mount)), 0, None),
            };
            if ground == Ground::Own(Vec::new()) {
                files.push((mount, NO_INPUT));
                continue;
            }
            let known = grounds.iter().position(|other| other.ground == ground);
            let at = known.unwrap_or(grounds.len());
            if known.is_none() {
                grounds.push(Mounted { ground, input, paths: Vec::new() });
            }
            grounds[at].paths.extend(path.map(str::to_owned));
            files.push((mount, i64::try_from(first + at).expect("fewer mounts than that")));
        }
        let mut inputs: Vec<Vec<Source>> =
            below.map(|node| buildkit::at_root(node, op)).into_iter().collect();
        for mounted in grounds {
            inputs.push(self.mounted(naming, mounted)?);
        }
        if inputs.iter().any(Vec::is_empty) {
            return Ok(None);
        }
        let root = if below.is_some() { 0 } else { NO_INPUT };
        let platform = &self.options.platform;
        Ok(Vertex::new(|release| buildkit::exec(op, platform, root, &files, release), inputs))
    }

    /// What stands where files are mounted.
    fn mounted(&self, naming: &Naming<'_, W::Layer>, mounted: Mounted) -> Result<Vec<Source>, WorkerError> {
        let Mounted { ground, input, paths } = mounted;
        let selector = buildkit::mount_selector(&paths);
        let node = match ground {
            Ground::Own(sources) => return Ok(sources),
            Ground::Context => None,
            Ground::Record(node) => Some(node),
        };
        let (remote, exclude) = (Vec::new(), Vec::new());
        let selection = Selection { paths, remote, wildcards: false, parents: false, exclude };
        let mut sources = self.contents(naming, input, &selection)?;
        sources.extend(node.map(|node| Source::Selected(selector, node)));
        Ok(sources)
    }

    /// Files of an input by their content, if they are at hand and are those that the key speaks of.
    fn contents(
        &self,
        naming: &Naming<'_, W::Layer>,
        input: usize,
        selection: &Selection,
    ) -> Result<Vec<Source>, WorkerError> {
        let worker = self.with.worker;
        let digests = match (&naming.step.inputs[input], naming.files.get(input)) {
            (InputRef::Context, _) => {
                let digests = worker.content_digests(Origin::Context, selection)?;
                if self.is_unchanged(naming) { digests } else { Vec::new() }
            }
            (InputRef::Stage(_), Some(files @ Files::Layers(_))) => {
                worker.content_digests(files.origin(), selection)?
            }
            _ => Vec::new(),
        };
        Ok(digests.into_iter().map(Source::Content).collect())
    }

    /// Whether the files of the context are still those of the step's key: BuildKit's name is made later.
    fn is_unchanged(&self, naming: &Naming<'_, W::Layer>) -> bool {
        let keyed = |digest: &str| {
            let mut inputs = naming.key.inputs.iter();
            inputs.any(|known| known.name.starts_with(key::FILES) && known.value == digest)
        };
        let selections = key::selections(&naming.step.op);
        let of_context =
            selections.iter().filter(|(index, _)| naming.step.inputs[*index] == InputRef::Context);
        of_context.into_iter().all(|(_, selection)| {
            let now = self.with.worker.select(Origin::Context, selection, Detail::Files);
            now.is_ok_and(|now| keyed(&now.digest.to_string()))
        })
    }
}
