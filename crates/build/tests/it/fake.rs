//! A world of names and texts: a worker, a cache and a recorder of what happened.
//!
//! RUN understands `;`-separated commands: `put PATH WORDS`, `cat PATH TO`, `random PATH` (a new text every time),
//! `say WORDS`, `meet NAME` (waits until another RUN meets there), `fail CODE`. `$NAME` is expanded from the
//! environment.
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};
use strata_build::*;
use strata_oci::{DiffId, Digest, History, ImageConfig, ImageId, Platform, Raw, Reference, RootFs};

pub(crate) type Tree = BTreeMap<String, File>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) text: String,
    pub(crate) mode: u32,
    /// Never part of a digest, as in real life.
    pub(crate) mtime: u64,
}

pub(crate) fn file(text: &str) -> File {
    File { text: text.to_owned(), mode: 0o644, mtime: 0 }
}

#[derive(Clone, Debug)]
pub(crate) struct FakeLayer {
    pub(crate) tree: Arc<Tree>,
    world: Arc<Shared>,
    /// Packing ends then.
    packed: Instant,
}

impl Layer for FakeLayer {
    fn committed(&self) -> Result<CommittedLayer, WorkerError> {
        std::thread::sleep(self.packed.saturating_duration_since(Instant::now()));
        if self.world.full.load(Ordering::SeqCst) {
            return Err(WorkerError::Failed("no space left on device".into()));
        }
        let diff_id = diff_id(&self.tree);
        self.world.store.lock().unwrap().insert(diff_id, Arc::clone(&self.tree));
        let size = self.tree.values().map(|file| file.text.len() as u64).sum();
        Ok(CommittedLayer { diff_id, size })
    }

    fn name(&self) -> Option<DiffId> {
        (self.packed <= Instant::now()).then(|| diff_id(&self.tree))
    }
}

fn diff_id(tree: &Tree) -> DiffId {
    if tree.is_empty() {
        // As in real life: a tar without members.
        return DiffId::new(Digest::of(&[0; 1024]));
    }
    DiffId::new(Digest::of(format!("{tree:?}").as_bytes()))
}

#[derive(Debug, Default)]
struct Shared {
    store: Mutex<HashMap<DiffId, Arc<Tree>>>,
    full: AtomicBool,
}

/// The world outside the builder. Changed by tests between builds.
pub(crate) struct World {
    pub(crate) context: Tree,
    pub(crate) named: BTreeMap<String, Tree>,
    pub(crate) images: BTreeMap<String, (ImageConfig, Vec<Tree>)>,
    /// `--cache-from`
    pub(crate) cache_from: Vec<&'static str>,
    /// Accepts any source and any command: for looking at configs only.
    pub(crate) agreeable: bool,
    pub(crate) packing: Duration,
    /// The context as it is found once something has been copied from it.
    pub(crate) then: Option<Tree>,
    copied: AtomicBool,
    /// Layers that the cache offers and nobody has: found out when they are needed.
    pub(crate) elsewhere: Mutex<BTreeSet<DiffId>>,
    lost: Mutex<BTreeSet<DiffId>>,
    pub(crate) now: i64,
    log: Mutex<Vec<String>>,
    execs: Mutex<Vec<ExecOp>>,
    shared: Arc<Shared>,
    records: Mutex<Vec<(CacheKey, String)>>,
    random: AtomicUsize,
    meetings: Mutex<HashMap<String, Arc<Barrier>>>,
}

/// What a build said and did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Built<FakeLayer>, BuildError>,
    /// Calls of the worker, sorted by time: `exec ...`, `copy ...`, `resolve ...`, `select ...`.
    pub(crate) log: Vec<String>,
    /// `cached [2/3] ...`, `missed ...: why`, `done ...`, `warning ...`.
    pub(crate) events: Vec<String>,
    pub(crate) output: String,
    pub(crate) plan: Vec<StepInfo>,
}

impl Outcome {
    pub(crate) fn built(&self) -> &Built<FakeLayer> {
        self.result.as_ref().unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn config(&self) -> &ImageConfig {
        self.built().config.value()
    }

    pub(crate) fn id(&self) -> &Digest {
        self.built().config.digest()
    }

    /// Everything the image holds.
    pub(crate) fn tree(&self) -> Tree {
        self.built().handles.iter().flat_map(|layer| layer.tree.as_ref().clone()).collect()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        self.tree().get(path).unwrap_or_else(|| panic!("no {path} in {:?}", self.tree().keys())).text.clone()
    }

    /// What really ran.
    pub(crate) fn ran(&self) -> Vec<&str> {
        let runs = self.log.iter().filter(|call| call.starts_with("exec ") || call.starts_with("copy "));
        runs.map(String::as_str).collect()
    }

    pub(crate) fn missed(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| event.strip_prefix("missed ")).collect()
    }

    pub(crate) fn error(&self) -> String {
        self.result.as_ref().expect_err("a failed build").to_string()
    }
}

impl Default for World {
    fn default() -> Self {
        let mut world = Self {
            context: Tree::new(),
            named: BTreeMap::new(),
            images: BTreeMap::new(),
            cache_from: Vec::new(),
            agreeable: false,
            packing: Duration::ZERO,
            then: None,
            copied: AtomicBool::new(false),
            elsewhere: Mutex::default(),
            lost: Mutex::default(),
            now: 1_700_000_000,
            log: Mutex::default(),
            execs: Mutex::default(),
            shared: Arc::default(),
            records: Mutex::default(),
            random: AtomicUsize::new(0),
            meetings: Mutex::default(),
        };
        world.image("other:latest", |_| {});
        world.image("conform-base:1", |config| config.config.cmd = Some(vec!["sh".to_owned()]));
        world
    }
}

impl World {
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let context = files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect();
        Self { context, ..Self::default() }
    }

    /// Adds or replaces an image of one layer.
    pub(crate) fn image(&mut self, name: &str, change: impl FnOnce(&mut ImageConfig)) {
        let tree: Tree = [("/etc/os-release".to_owned(), file(name))].into();
        let created = Some(Timestamp::from_second(1_600_000_000).unwrap());
        let row = History { created, created_by: "conform-base".to_owned(), ..History::default() };
        let mut config = ImageConfig {
            platform: Platform::host(),
            created,
            history: vec![row],
            rootfs: RootFs { diff_ids: vec![diff_id(&tree)], ..RootFs::default() },
            ..ImageConfig::default()
        };
        config.config.env =
            vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
        change(&mut config);
        self.images.insert(name.to_owned(), (config, vec![tree]));
    }

    /// An image with this history, standing on an image of its first row. The layers are anything.
    pub(crate) fn history(&mut self, name: &str, history: Vec<History>) {
        let layers = history.iter().filter(|row| !row.empty_layer).count();
        let tree = |number: usize| Tree::from([(format!("/{number}"), file(name))]);
        let trees: Vec<Tree> = (0..layers).map(tree).collect();
        let image = |history: &[History], trees: &[Tree]| {
            let diff_ids = trees.iter().map(diff_id).collect();
            let rootfs = RootFs { diff_ids, ..RootFs::default() };
            let platform = Platform::host();
            let history = history.to_vec();
            (ImageConfig { platform, history, rootfs, ..ImageConfig::default() }, trees.to_vec())
        };
        self.images.insert("base:1".to_owned(), image(&history[..1], &trees[..1]));
        self.images.insert(name.to_owned(), image(&history, &trees));
    }

    /// Tags what was built.
    pub(crate) fn tag(&mut self, name: &str, outcome: &Outcome) {
        let trees = outcome.built().handles.iter().map(|layer| layer.tree.as_ref().clone()).collect();
        self.images.insert(name.to_owned(), (outcome.config().clone(), trees));
    }

    pub(crate) fn write(&mut self, path: &str, text: &str) {
        self.context.insert(path.to_owned(), file(text));
    }

    pub(crate) fn build(&mut self, dockerfile: &str) -> Outcome {
        self.build_with(dockerfile, &BuildOptions::default())
    }

    pub(crate) fn build_with(&mut self, dockerfile: &str, options: &BuildOptions) -> Outcome {
        self.now += 1000;
        let parsed = strata_dockerfile::parse(dockerfile).expect("a Dockerfile that can be read");
        let cancel = AtomicBool::new(false);
        self.build_until(&parsed, options, &cancel)
    }

    pub(crate) fn build_until(
        &self,
        dockerfile: &strata_dockerfile::Dockerfile,
        options: &BuildOptions,
        cancel: &AtomicBool,
    ) -> Outcome {
        self.log.lock().unwrap().clear();
        let plan = Mutex::new(Vec::new());
        let events = Mutex::new(Vec::new());
        let output = Mutex::new(String::new());
        let sink = |event: Event<'_>| {
            let name =
                |id: StepId| plan.lock().unwrap().get(id.0).map(|info: &StepInfo| info.name.clone()).unwrap();
            let told = match event {
                Event::Planned(infos) => {
                    *plan.lock().unwrap() = infos.to_vec();
                    return;
                }
                Event::Output(_, _, bytes) => {
                    output.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
                    return;
                }
                Event::Started(id) => format!("started {}", name(id)),
                Event::Cached(id) => format!("cached {}", name(id)),
                Event::Missed(id, reason) => format!("missed {}: {reason}", name(id)),
                Event::Done(id, _) => format!("done {}", name(id)),
                Event::Failed(id, _) => format!("failed {}", name(id)),
                Event::Stopped(id, _) => format!("stopped {}", name(id)),
                Event::Lint(finding) => format!("lint {}", finding.rule),
                Event::Warning { message, .. } => format!("warning {message}"),
                Event::Aside(aside) => format!("aside {}", aside.name),
                Event::Fetching(_) | Event::Fetched(..) => return,
            };
            events.lock().unwrap().push(told);
        };
        let now = Timestamp::from_second(self.now).unwrap();
        let clock = || now;
        let cache_images = self.cache_images();
        let builder = Builder {
            worker: self,
            cache: self,
            cache_images: &cache_images,
            events: &sink,
            clock: &clock,
            cancel,
        };
        let result = builder.build(dockerfile, options);
        Outcome {
            result,
            log: self.log.lock().unwrap().clone(),
            events: events.into_inner().unwrap(),
            output: output.into_inner().unwrap(),
            plan: plan.into_inner().unwrap(),
        }
    }

    /// What a build would do, by the names of its steps.
    pub(crate) fn dry_run(&self, dockerfile: &str, options: &BuildOptions) -> Vec<String> {
        let parsed = strata_dockerfile::parse(dockerfile).expect("a Dockerfile that can be read");
        let plan = Mutex::new(Vec::new());
        let sink = |event: Event<'_>| {
            if let Event::Planned(infos) = event {
                *plan.lock().unwrap() = infos.to_vec();
            }
        };
        let clock = || panic!("a dry run makes nothing that needs a date");
        let cancel = AtomicBool::new(false);
        let (worker, cancel) = (self, &cancel);
        let builder =
            Builder { worker, cache: self, cache_images: &[], events: &sink, clock: &clock, cancel };
        let forecasts = builder.dry_run(&parsed, options).expect("a plan");
        let plan: Vec<StepInfo> = plan.into_inner().unwrap();
        let told = forecasts.iter().map(|(id, forecast)| {
            let what = match forecast {
                Forecast::Cached => "cached".to_owned(),
                Forecast::Runs(None) => "runs".to_owned(),
                Forecast::Runs(Some(reason)) => format!("runs: {reason}"),
                Forecast::Undecided => "undecided".to_owned(),
            };
            format!("{} {what}", plan[id.0].instruction)
        });
        told.collect()
    }

    fn cache_images(&self) -> Vec<CacheImage<FakeLayer>> {
        let image = |name: &&str| {
            let (config, trees) = &self.images[*name];
            let config = Raw::new(config.clone());
            let layers = trees.iter().map(|tree| self.layer(tree.clone())).collect();
            let image = Base { image_id: ImageId::new(*config.digest()), config, layers };
            CacheImage { name: (*name).to_owned(), image }
        };
        self.cache_from.iter().map(image).collect()
    }

    /// Throws away everything that is remembered: another machine.
    pub(crate) fn forget(&self) {
        self.records.lock().unwrap().clear();
    }

    /// From now on no layer can be written.
    pub(crate) fn fill_disk(&self) {
        self.shared.full.store(true, Ordering::SeqCst);
    }

    /// Throws away layers, but not the records of them, as a prune behind the back would.
    pub(crate) fn lose_layers(&self) {
        self.shared.store.lock().unwrap().clear();
    }

    /// Throws away the records that hold layers and keep those of selections.
    pub(crate) fn lose_records(&self) {
        self.records.lock().unwrap().retain(|(_, json)| json.contains("\"selection\""));
    }

    /// Every process that was run, in order.
    pub(crate) fn execs(&self) -> Vec<ExecOp> {
        self.execs.lock().unwrap().clone()
    }

    pub(crate) fn records(&self) -> Vec<CacheRecord> {
        self.records.lock().unwrap().iter().map(|(_, json)| serde_json::from_str(json).unwrap()).collect()
    }

    fn call(&self, call: String) {
        self.log.lock().unwrap().push(call);
    }

    fn layer(&self, tree: Tree) -> FakeLayer {
        FakeLayer {
            tree: Arc::new(tree),
            world: Arc::clone(&self.shared),
            packed: Instant::now() + self.packing,
        }
    }

    fn files(&self, origin: Origin<'_, FakeLayer>) -> Tree {
        match origin {
            Origin::Context => match &self.then {
                Some(changed) if self.copied.load(Ordering::SeqCst) => changed.clone(),
                _ => self.context.clone(),
            },
            Origin::Named(name) => self.named[name].clone(),
            Origin::Layers(layers) => merged(layers),
        }
    }

    /// Files that paths or patterns choose, below their source's root.
    fn choose(&self, origin: Origin<'_, FakeLayer>, paths: &[String]) -> Result<Tree, WorkerError> {
        let files = self.files(origin);
        let mut chosen = Tree::new();
        for path in paths {
            let wanted = path.trim_matches('/').trim_start_matches("./");
            let found: Vec<_> = files
                .iter()
                .filter_map(|(name, file)| {
                    let name = name.trim_start_matches('/');
                    matched(wanted, name).map(|below| (below.to_owned(), file.clone()))
                })
                .collect();
            if found.is_empty() && !path.contains('*') && !self.agreeable {
                return Err(WorkerError::NotFound { path: format!("/{wanted}") });
            }
            chosen.extend(found);
        }
        Ok(chosen)
    }
}

fn merged(layers: &[FakeLayer]) -> Tree {
    layers.iter().flat_map(|layer| layer.tree.as_ref().clone()).collect()
}

/// The name below the source's root, if the pattern takes it: `d` takes `d/a` as `a`, `a*` takes `ab` as `ab`.
fn matched<'n>(pattern: &str, name: &'n str) -> Option<&'n str> {
    if pattern.is_empty() || pattern == "." {
        return Some(name);
    }
    if let Some((before, after)) = pattern.split_once('*') {
        return (name.starts_with(before) && name.ends_with(after) && !name[before.len()..].contains('/'))
            .then_some(name);
    }
    if name == pattern {
        return Some(name.rsplit('/').next().unwrap_or(name));
    }
    name.strip_prefix(pattern)?.strip_prefix('/')
}

impl World {
    /// As a worker does that fetches layers when they are needed.
    fn bring(&self, layers: &[FakeLayer]) -> Result<(), WorkerError> {
        let elsewhere = self.elsewhere.lock().unwrap();
        let mut names = layers.iter().map(|layer| diff_id(&layer.tree));
        let Some(missing) = names.find(|name| elsewhere.contains(name)) else { return Ok(()) };
        self.lost.lock().unwrap().insert(missing);
        Err(WorkerError::Lost(format!("{missing} is gone").into()))
    }
}

impl Worker for World {
    type Layer = FakeLayer;

    fn resolve(&self, reference: &Reference, _: &Platform) -> Result<Base<FakeLayer>, WorkerError> {
        self.call(format!("resolve {}", reference.familiar()));
        let (config, trees) = self
            .images
            .get(&reference.familiar())
            .ok_or_else(|| WorkerError::Failed(format!("no image {}", reference.familiar()).into()))?;
        let config = Raw::new(config.clone());
        Ok(Base {
            image_id: ImageId::new(*config.digest()),
            config,
            layers: trees.iter().map(|tree| self.layer(tree.clone())).collect(),
        })
    }

    fn open(&self, layers: &[CachedLayer]) -> Result<Option<Vec<FakeLayer>>, WorkerError> {
        if layers.iter().any(|layer| self.lost.lock().unwrap().contains(&layer.diff_id)) {
            return Ok(None);
        }
        let store = self.shared.store.lock().unwrap();
        let tree =
            |layer: &CachedLayer| store.get(&layer.diff_id).map(|tree| self.layer(tree.as_ref().clone()));
        Ok(layers.iter().map(tree).collect())
    }

    fn select(
        &self,
        origin: Origin<'_, FakeLayer>,
        selection: &Selection,
        detail: Detail,
    ) -> Result<Selected, WorkerError> {
        self.call(format!("select {:?}", selection.paths));
        let mut chosen = self.choose(origin, &selection.paths)?;
        chosen.retain(|path, _| !selection.exclude.contains(path));
        let entry = |(path, file): (&String, &File)| FileEntry {
            path: path.clone(),
            kind: FileKind::File,
            mode: file.mode,
            uid: 0,
            gid: 0,
            size: file.text.len() as u64,
            content: Digest::of(file.text.as_bytes()).short(),
        };
        let files: Vec<FileEntry> = chosen.iter().map(entry).collect();
        let digest = Digest::of(format!("{files:?}").as_bytes());
        Ok(Selected { digest, files: if detail == Detail::Files { files } else { Vec::new() } })
    }

    fn copy(
        &self,
        _parents: &[FakeLayer],
        origin: Origin<'_, FakeLayer>,
        op: &FileOp,
    ) -> Result<FakeLayer, WorkerError> {
        let mut tree = Tree::new();
        match op {
            FileOp::Workdir { path, .. } => {
                self.call(format!("copy workdir {path}"));
                tree.insert(format!("{path}/"), File::default());
            }
            FileOp::Copy(op) => {
                self.call(format!("copy {:?} {}", op.sources, op.destination));
                for source in &op.sources {
                    let files = match source {
                        CopySource::Path(path) => self.choose(origin, std::slice::from_ref(path))?,
                        CopySource::Inline { name, content } => {
                            [(name.clone(), file(&String::from_utf8_lossy(content)))].into()
                        }
                        _ => Tree::new(),
                    };
                    for (name, file) in files {
                        let directory = op.destination.ends_with('/');
                        let path = if directory {
                            format!("{}{name}", op.destination)
                        } else {
                            op.destination.clone()
                        };
                        tree.insert(path, file);
                    }
                }
            }
        }
        self.copied.store(true, Ordering::SeqCst);
        Ok(self.layer(tree))
    }

    fn same_files(
        &self,
        _parents: &[FakeLayer],
        ours: &FakeLayer,
        theirs: &FakeLayer,
    ) -> Result<bool, WorkerError> {
        let timeless = |layer: &FakeLayer| -> Tree {
            let files = layer.tree.iter();
            files.map(|(path, file)| (path.clone(), File { mtime: 0, ..file.clone() })).collect()
        };
        Ok(self.agreeable || timeless(ours) == timeless(theirs))
    }

    fn exec(
        &self,
        parents: &[FakeLayer],
        inputs: &[Origin<'_, FakeLayer>],
        op: &ExecOp,
        output: &(dyn Fn(Stream, &[u8]) + Sync),
    ) -> Result<FakeLayer, ExecError> {
        let line = op.argv.last().cloned().unwrap_or_default();
        self.bring(parents)?;
        self.call(format!("exec {line}"));
        let mut tree = Tree::new();
        self.execs.lock().unwrap().push(op.clone());
        if self.agreeable {
            return Ok(self.layer(tree));
        }
        let mut below = merged(parents);
        for mount in &op.mounts {
            if let MountKind::Bind { input, source } = &mount.kind {
                let files =
                    self.choose(inputs[*input], std::slice::from_ref(source)).map_err(ExecError::Worker)?;
                below
                    .extend(files.into_iter().map(|(name, file)| (format!("{}/{name}", mount.target), file)));
            }
        }
        for command in line.split(';') {
            let words: Vec<String> =
                command.split_whitespace().map(|word| substitute(word, &op.env)).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words[..] {
                ["put", path, ref rest @ ..] => drop(tree.insert(path.to_owned(), file(&rest.join(" ")))),
                ["cat", from, to] => {
                    let text = below.get(from).ok_or(ExecError::Exit(1))?.clone();
                    tree.insert(to.to_owned(), text);
                }
                ["random", path] => {
                    let number = self.random.fetch_add(1, Ordering::SeqCst);
                    tree.insert(path.to_owned(), file(&number.to_string()));
                }
                ["say", ref rest @ ..] => output(Stream::Stdout, rest.join(" ").as_bytes()),
                ["meet", place] => {
                    let barrier = Arc::clone(
                        self.meetings
                            .lock()
                            .unwrap()
                            .entry(place.to_owned())
                            .or_insert_with(|| Arc::new(Barrier::new(2))),
                    );
                    barrier.wait();
                }
                ["fail", code] => return Err(ExecError::Exit(code.parse().unwrap())),
                ref other => panic!("unknown command {other:?}"),
            }
        }
        Ok(self.layer(tree))
    }

    fn finish(&self, layers: &[FakeLayer]) -> Result<(), WorkerError> {
        self.bring(layers)
    }
}

fn substitute(word: &str, env: &[(String, String)]) -> String {
    let mut word = word.to_owned();
    for (name, value) in env {
        word = word.replace(&format!("${name}"), value);
    }
    word
}

impl CacheIndex for World {
    fn lookup(&self, key: &CacheKey) -> Result<Option<CacheRecord>, WorkerError> {
        let records = self.records.lock().unwrap();
        let found = records.iter().rev().find(|(known, _)| known == key);
        Ok(found.map(|(_, json)| serde_json::from_str(json).unwrap()))
    }

    fn record(&self, key: &CacheKey, record: &CacheRecord) -> Result<(), WorkerError> {
        self.records.lock().unwrap().push((*key, serde_json::to_string(record).unwrap()));
        Ok(())
    }

    fn earlier(&self, scope: &str, stage: &str) -> Result<Vec<CacheRecord>, WorkerError> {
        let mut newest: BTreeMap<Place, CacheRecord> = BTreeMap::new();
        for record in self.records() {
            if let Some(place) =
                record.place.clone().filter(|place| place.scope == scope && place.stage == stage)
            {
                newest.insert(place, record);
            }
        }
        Ok(newest.into_values().collect())
    }
}
