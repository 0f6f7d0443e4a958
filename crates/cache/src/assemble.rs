//! From the steps of a build to a config.
use crate::{
    Annotations, Config, KeptMount, Layer, Link, Made, Outcome, Packed, Record, Selected, Step, Steps,
};
use std::collections::BTreeMap;
use strata_build::buildkit::{Node, Source, Vertex};
use strata_build::{CacheKey, CachedLayer, Input};
use strata_oci::{Descriptor, DiffId, Digest};

/// A step as it is exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Its key.
    pub key: CacheKey,
    /// Key of the step that it stands on, which is exported before it or not at all.
    pub below: Option<CacheKey>,
    /// Name of its stage.
    pub stage: String,
    /// Which layer of the stage.
    pub position: u32,
    /// `RUN`, `COPY`, ...
    pub instruction: String,
    /// What went into the key.
    pub inputs: Vec<Input>,
    /// The layers of the image below, bottom first.
    pub root: Vec<DiffId>,
    /// The layers above that, the step's own last.
    pub layers: Vec<CachedLayer>,
}

/// A config being put together; the same steps in the same order give the same bytes.
#[derive(Debug, Default)]
pub struct Assembly {
    config: Config,
    steps: Steps,
    /// Blobs by what they unpack to.
    blobs: BTreeMap<DiffId, Descriptor>,
    layers: BTreeMap<(Digest, i64), usize>,
    made: BTreeMap<Made, usize>,
    records: BTreeMap<CacheKey, usize>,
    /// Records by BuildKit's names, of which each may have several.
    vertices: BTreeMap<Node, Vec<usize>>,
}

impl Assembly {
    /// `blobs` are the compressed forms of the layers, as the place has them.
    pub fn new(platform: String, blobs: BTreeMap<DiffId, Descriptor>) -> Self {
        let steps = Steps { version: Steps::VERSION, platform, ..Steps::default() };
        Self { steps, blobs, ..Self::default() }
    }

    /// Adds a step, unless it is in already, or a layer of it is not in the place: false.
    pub fn step(&mut self, step: Exported) -> bool {
        let diff_ids = || step.root.iter().chain(step.layers.iter().map(|layer| &layer.diff_id));
        if self.records.contains_key(&step.key)
            || step.layers.is_empty()
            || !diff_ids().all(|layer| self.blobs.contains_key(layer))
        {
            return false;
        }
        let mut parent = -1;
        for layer in &step.root {
            parent = self.layer(*layer, parent, None);
        }
        let mut below = None;
        for layer in &step.layers {
            parent = self.layer(layer.diff_id, parent, Some(layer));
            let at = usize::try_from(parent).expect("the index of a layer");
            let made = Made { layer: at, below, size: layer.size, created: layer.created };
            let next = self.steps.made.len();
            let index = *self.made.entry(made).or_insert(next);
            if index == next {
                self.steps.made.push(made);
            }
            below = Some(index);
        }
        let (Some(made), Some(top)) = (below, step.layers.last()) else { return false };
        let outcome = Outcome { layer: self.steps.made[made].layer, created_at: Some(top.created) };
        for vertex in self.vertices.get(&Node::Step(step.key)).into_iter().flatten() {
            self.config.records[*vertex].results.push(outcome);
        }
        let inputs = step.below.and_then(|below| self.records.get(&below).copied());
        let record = self.config.records.len();
        self.records.insert(step.key, record);
        self.config.records.push(Record {
            digest: Digest::from_bytes(*step.key.as_bytes()),
            inputs: inputs.map(|link| vec![Link { selector: String::new(), link }]).into_iter().collect(),
            results: vec![outcome],
            chains: Vec::new(),
        });
        self.steps.steps.push(Step {
            record,
            stage: step.stage,
            position: step.position,
            instruction: step.instruction,
            inputs: step.inputs,
            made,
        });
        true
    }

    /// Adds what BuildKit calls a step, before the step itself if that is exported at all. Those that it stands on are in
    /// already; on one that is not, BuildKit cannot find it either, and it is left out.
    pub fn vertex(&mut self, key: CacheKey, vertex: &Vertex) {
        if self.vertices.contains_key(&Node::Step(key)) {
            return;
        }
        let inputs: Vec<Vec<Link>> = vertex.inputs.iter().map(|sources| self.links(sources)).collect();
        if inputs.iter().any(Vec::is_empty) {
            return;
        }
        let record = |digest: &Digest| self.name(*digest, inputs.clone());
        let records = vertex.digests.iter().map(record).collect();
        self.vertices.insert(Node::Step(key), records);
    }

    /// Adds a record of BuildKit's, without results so far.
    fn name(&mut self, digest: Digest, inputs: Vec<Vec<Link>>) -> usize {
        self.config.records.push(Record { digest, inputs, results: Vec::new(), chains: Vec::new() });
        self.config.records.len() - 1
    }

    fn links(&mut self, sources: &[Source]) -> Vec<Link> {
        let mut links = Vec::new();
        for source in sources {
            let node = source.node();
            if let Node::Leaf(digest) = node
                && !self.vertices.contains_key(&node)
            {
                let record = self.name(digest, Vec::new());
                self.vertices.insert(node, vec![record]);
            }
            let selector = source.selector().map_or_else(String::new, |selector| selector.to_string());
            let records = self.vertices.get(&node).into_iter().flatten();
            links.extend(records.map(|link| Link { selector: selector.clone(), link: *link }));
        }
        links
    }

    /// Adds what selected files are.
    pub fn selection(&mut self, key: CacheKey, files: Digest) {
        let selected = Selected { key: Digest::from_bytes(*key.as_bytes()), files };
        if !self.steps.selections.contains(&selected) {
            self.steps.selections.push(selected);
        }
    }

    /// Adds what was in a cache mount; its layer must be among the blobs.
    pub fn mount(&mut self, id: String, name: Digest, layer: DiffId) {
        if !self.blobs.contains_key(&layer) {
            return;
        }
        let index = self.layer(layer, -1, None);
        let layer = usize::try_from(index).expect("the index of a layer");
        self.steps.mounts.push(KeptMount { id, name, layer });
    }

    /// Adds what files steps copied, which is in the place.
    pub fn listings(&mut self, packed: &Packed) {
        self.blobs.insert(packed.diff_id(), packed.descriptor());
        let index = self.layer(packed.diff_id(), -1, None);
        self.steps.listings = usize::try_from(index).ok();
    }

    fn layer(&mut self, diff_id: DiffId, parent: i64, made: Option<&CachedLayer>) -> i64 {
        let blob = &self.blobs[&diff_id];
        let next = self.config.layers.len();
        let index = *self.layers.entry((blob.digest, parent)).or_insert(next);
        if index == next {
            let annotations = Annotations {
                media_type: blob.media_type.clone(),
                diff_id: Some(diff_id),
                size: blob.size,
                created_at: made.map(|made| made.created),
            };
            self.config.layers.push(Layer { blob: blob.digest, parent, annotations: Some(annotations) });
        }
        i64::try_from(index).expect("fewer layers than that")
    }

    /// The config, and its blobs in the order in which a manifest lists them, each once.
    pub fn finish(self) -> (Config, Vec<Descriptor>) {
        let config = Config { steps: Some(self.steps), ..self.config };
        let mut seen = std::collections::BTreeSet::new();
        let layers = config.layers.iter().filter(|layer| seen.insert(layer.blob));
        let blobs = layers.filter_map(Layer::descriptor).collect();
        (config, blobs)
    }
}
