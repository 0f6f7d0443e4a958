//! From a stage's instructions to steps and a config (`spec/build.md` 1.8, 5).
mod change;
mod copy;
mod effect;
mod history;
mod run;

use crate::error::Site;
use crate::names::{Meaning, Names};
use crate::scope::{Env, Globals, proxies};
use crate::stages::{ImageKey, Node, StageBase, StageGraph};
use crate::{
    BuildError, BuildErrorKind, BuildOptions, ExecOp, FileOp, NoCache, StepId, StepInfo, WorkerError, path,
};
pub use change::{ChangeError, apply_changes};
pub use copy::file_name;
pub(crate) use copy::remote_source;
use effect::Effect;
pub(crate) use history::{Dialect, Expected};
use jiff::Timestamp;
pub(crate) use run::{CACHE_MODE, SECRET_MODE, SSH_MODE};
use std::collections::{BTreeMap, BTreeSet};
use strata_dockerfile::{ArgDeclaration, Command, Dockerfile, Instruction, Span};
use strata_oci::{History, RuntimeConfig};

/// What every image gets that names none.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const COMMENT: &str = "buildkit.dockerfile.v0";
/// Arguments that are for the builder alone: declared or not, RUN and expansion never see them.
const SBOM_ARGUMENTS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];
/// Comment of rows that stand for layers without an instruction (`spec/build.md` 5.2).
pub(crate) const EXPORTER: &str = "buildkit.exporter.image.v0";

/// All reachable stages, lowered.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: usize,
    pub(crate) stages: BTreeMap<usize, LoweredStage>,
    pub(crate) infos: Vec<StepInfo>,
    /// Names of ARGs declared anywhere in the plan.
    pub(crate) declared: BTreeSet<String>,
    /// Sentences that are no errors.
    pub(crate) warnings: Vec<(String, Span)>,
    /// The fixed time of everything new.
    pub(crate) epoch: Option<Timestamp>,
}

/// A stage as the solver sees it.
#[derive(Clone, Debug)]
pub(crate) struct LoweredStage {
    /// As records call it.
    pub(crate) name: String,
    pub(crate) from: StepId,
    pub(crate) base: StageBase,
    pub(crate) steps: Vec<Step>,
    pub(crate) image: Draft,
    /// Names of its ARGs that no ENV took over.
    pub(crate) args: BTreeSet<String>,
}

/// A step that makes a layer.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) id: StepId,
    pub(crate) site: Site,
    /// `RUN`, `COPY`, `ADD`, `WORKDIR`.
    pub(crate) instruction: &'static str,
    pub(crate) op: Op,
    /// What the operation takes files from: one for COPY, one per bind mount for RUN.
    pub(crate) inputs: Vec<InputRef>,
    /// Sources as they were expanded, and the words that say them: what to point at when one does not exist.
    pub(crate) sources: Vec<(String, Span)>,
    /// `--no-cache` applies.
    pub(crate) ignore_cache: bool,
}

impl Step {
    /// Files that cannot be read, pointing at the word that names them if it is known.
    pub(crate) fn unreadable(&self, error: WorkerError) -> BuildError {
        let word = self.sources.iter().find(|(source, _)| match &error {
            WorkerError::NotFound { path } => path::join("/", source) == *path,
            WorkerError::Remote { url, .. } => source == url,
            _ => false,
        });
        let kind = match error {
            WorkerError::Remote { .. } => BuildErrorKind::Worker(error),
            WorkerError::Cancelled => BuildErrorKind::Cancelled,
            error => BuildErrorKind::CacheKey(error),
        };
        match word {
            Some((_, span)) => self.site.word(*span, kind),
            None => self.site.error(kind),
        }
    }
}

/// The closed set of operations; sources are [`StageBase`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    File(FileOp),
    Exec(ExecOp),
}

/// Where files come from, before it exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum InputRef {
    Nothing,
    Context,
    Named(String),
    Stage(usize),
    Image(ImageKey),
}

/// The image so far: what a child stage starts from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    /// The image at the bottom; `None` for scratch.
    pub(crate) root: Option<ImageKey>,
    pub(crate) author: Option<String>,
    pub(crate) config: RuntimeConfig,
    /// Rows of the history above the base image's, without dates.
    pub(crate) rows: Vec<History>,
    /// The same rows as other builders write them, and those that only others write.
    pub(crate) expected: Vec<Expected>,
    /// ENV and ARG, as RUN and expansion see them.
    env: Env,
    /// Declared ARGs in the order of the file, with their values.
    args: Vec<(String, Option<String>)>,
    /// Numbered steps so far, for progress.
    counted: usize,
}

/// Lowers every stage of the graph, in the order of the file.
pub(crate) fn lower<L>(
    dockerfile: &Dockerfile,
    options: &BuildOptions,
    globals: &Globals,
    graph: &StageGraph<L>,
) -> Result<Plan, BuildError> {
    let mut plan = Plan {
        target: graph.target,
        stages: BTreeMap::new(),
        infos: Vec::new(),
        declared: globals.declared().clone(),
        warnings: Vec::new(),
        epoch: globals.epoch()?,
    };
    let shared = Shared {
        names: Names::new(dockerfile, options),
        dockerfile,
        options,
        globals,
        proxy: proxies(options),
        epoch: plan.epoch,
    };
    for (index, node) in &graph.nodes {
        let draft = match &node.base {
            StageBase::Scratch => Draft::scratch(),
            StageBase::Image(key) => Draft::on_image(key, graph.images[key].config.value()),
            StageBase::Stage(base) => plan.stages[base].image.clone().without_triggers(),
        };
        let mut lowering = Lowering::new(&shared, *index, draft, &mut plan);
        lowering.from(node);
        let stage = lowering.run(node)?;
        plan.stages.insert(*index, stage);
    }
    Ok(plan)
}

impl Draft {
    fn scratch() -> Self {
        let config = RuntimeConfig { working_dir: "/".to_owned(), ..RuntimeConfig::default() };
        Self { config, ..Self::default() }.with_path()
    }

    fn on_image(key: &ImageKey, image: &strata_oci::ImageConfig) -> Self {
        let mut config = image.config.clone();
        // Facts about how the base was built, which are not true of this image.
        config.extra.clear();
        config.on_build.clear();
        let author = image.author.clone();
        Self { root: Some(key.clone()), author, config, ..Self::default() }.with_path()
    }

    /// Triggers run in the stage that stands on their declaration, and in none that stands on that.
    fn without_triggers(mut self) -> Self {
        self.config.on_build.clear();
        self
    }

    fn with_path(mut self) -> Self {
        self.env = Env::parse(&self.config.env);
        if self.env.get("PATH").is_none() {
            self.env.set("PATH", DEFAULT_PATH);
            self.config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        self
    }

    fn shell(&self) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        self.config.shell.clone().filter(|shell| !shell.is_empty()).unwrap_or_else(default)
    }
}

/// What all stages of one build share.
struct Shared<'a> {
    names: Names<'a>,
    dockerfile: &'a Dockerfile,
    options: &'a BuildOptions,
    globals: &'a Globals,
    proxy: Vec<(String, String)>,
    epoch: Option<Timestamp>,
}

/// One stage being lowered.
struct Lowering<'a, 'p> {
    shared: &'a Shared<'a>,
    index: usize,
    draft: Draft,
    steps: Vec<Step>,
    plan: &'p mut Plan,
    /// CMD was given in this stage: ENTRYPOINT then keeps it.
    cmd_given: bool,
    ignore_cache: bool,
    total: usize,
    from: StepId,
}

impl<'a, 'p> Lowering<'a, 'p> {
    fn new(shared: &'a Shared<'a>, index: usize, draft: Draft, plan: &'p mut Plan) -> Self {
        let name = shared.names.stage_name(index);
        let ignore_cache = match &shared.options.no_cache {
            NoCache::Off => false,
            NoCache::All => true,
            NoCache::Stages(stages) => stages.iter().any(|stage| stage.eq_ignore_ascii_case(&name)),
        };
        let from = StepId(plan.infos.len());
        Self { shared, index, draft, steps: Vec::new(), plan, cmd_given: false, ignore_cache, total: 0, from }
    }

    fn escape(&self) -> char {
        self.shared.dockerfile.directives.escape
    }

    fn stage(&self) -> &'a strata_dockerfile::Stage {
        &self.shared.dockerfile.stages[self.index]
    }

    /// Plans FROM itself and counts what will be numbered (`spec/build.md` section 7, step names).
    fn from(&mut self, node: &Node) {
        let own = self.stage().instructions.iter().chain(node.triggers.iter().map(|(trigger, _)| trigger));
        let steps = own.filter(|instruction| makes_step(&instruction.command)).count();
        let pulls = matches!(node.base, StageBase::Image(_));
        let files = usize::from(node.directory.is_some());
        self.total = self.draft.counted + usize::from(pulls) + files + steps;
        let stage = self.stage();
        let shown = match &node.base {
            StageBase::Image((reference, _)) => format!("FROM {reference}"),
            StageBase::Scratch | StageBase::Stage(_) => stage.original.clone(),
        };
        self.inform(&stage.original, &shown, pulls, stage.span.into());
    }

    fn run(mut self, node: &Node) -> Result<LoweredStage, BuildError> {
        if let Some(name) = &node.directory {
            self.root_directory(name);
        }
        for (trigger, site) in &node.triggers {
            self.instruction(trigger, *site, "ONBUILD ")?;
        }
        for instruction in &self.stage().instructions {
            self.instruction(instruction, instruction.span.into(), "")?;
        }
        let is_env = |name: &String| {
            let set = |line: &String| line.split_once('=').is_some_and(|(known, _)| known == name);
            self.draft.config.env.iter().any(set)
        };
        let args = self.draft.args.iter().map(|(name, _)| name).filter(|name| !is_env(name));
        Ok(LoweredStage {
            args: args.cloned().collect(),
            name: self.shared.names.stage_name(self.index),
            from: self.from,
            base: node.base.clone(),
            steps: self.steps,
            image: self.draft,
        })
    }

    fn instruction(&mut self, instruction: &Instruction, site: Site, prefix: &str) -> Result<(), BuildError> {
        let link = matches!(&instruction.command, Command::Copy(c) if c.link)
            || matches!(&instruction.command, Command::Add(a) if a.link);
        let shown = format!("{prefix}{}{}", if link { "LINK " } else { "" }, instruction.original);
        let id = self.inform(&instruction.original, &shown, makes_step(&instruction.command), site);
        match &instruction.command {
            Command::Run(run) => self.run_step(run, id, site),
            Command::Copy(copy) => self.copy_step(copy, id, site),
            Command::Add(add) => self.add_step(add, id, site),
            Command::Workdir(word) => {
                let path = self.expand(word, site)?;
                self.workdir(&path, id, site);
                Ok(())
            }
            Command::Arg(declarations) => self.declare(declarations, site),
            metadata => {
                let effect = Effect::of(metadata, &self.draft, self.cmd_given, self.escape(), site)?;
                self.cmd_given |= matches!(metadata, Command::Cmd(_));
                self.apply(&effect, metadata);
                Ok(())
            }
        }
    }

    fn apply(&mut self, effect: &Effect, command: &Command) {
        effect.apply(&mut self.draft.config);
        match effect {
            Effect::Env(pairs) => pairs.iter().for_each(|(name, value)| self.draft.env.set(name, value)),
            Effect::Maintainer(author) => self.draft.author = Some(author.clone()),
            _ => {}
        }
        self.draft.metadata_row(effect.history(), command);
    }

    fn expand(&self, word: &strata_dockerfile::Word, site: Site) -> Result<String, BuildError> {
        self.draft.env.expand(word, self.escape(), site)
    }

    /// ARG: unlike everything else, each declaration sees those before it in the line.
    fn declare(&mut self, declarations: &[ArgDeclaration], site: Site) -> Result<(), BuildError> {
        let mut row = "ARG".to_owned();
        for declaration in declarations {
            let name = &declaration.name.text;
            let given = self.shared.globals.given(name).map(str::to_owned);
            let value = match (given, &declaration.default) {
                (Some(given), _) => Some(given),
                (None, Some(default)) => Some(self.expand(default, site)?),
                (None, None) => self.shared.globals.get(name).map(str::to_owned),
            };
            row.push(' ');
            row.push_str(name);
            if let Some(value) = &value {
                if !SBOM_ARGUMENTS.contains(&name.as_str()) {
                    self.draft.env.set(name, value);
                }
                row.push('=');
                row.push_str(value);
            }
            self.plan.declared.insert(name.clone());
            self.draft.args.push((name.clone(), value));
        }
        self.draft.arg_row(row, declarations, self.escape());
        Ok(())
    }

    fn workdir(&mut self, written: &str, id: StepId, site: Site) {
        let config = &mut self.draft.config;
        config.working_dir = path::working_directory(&config.working_dir, written);
        let (shown, owner) = (config.working_dir.clone(), config.user.clone());
        let is_root = shown == "/";
        self.draft.workdir_row(&shown, is_root);
        if is_root {
            return;
        }
        let path = path::join("/", &shown);
        let op = Op::File(FileOp::Workdir { path, owner, epoch: self.shared.epoch });
        // Unlike the others, WORKDIR is taken from the cache even with --no-cache (spec/build.md section 9).
        self.steps.push(Step {
            id,
            site,
            instruction: "WORKDIR",
            op,
            inputs: Vec::new(),
            sources: Vec::new(),
            ignore_cache: false,
        });
    }

    /// Adds a step that `--no-cache` applies to.
    fn step(&mut self, step: Step) {
        self.steps.push(Step { ignore_cache: self.ignore_cache, ..step });
    }

    /// The files that `--from` or a mount's `from` names; the build's own context when there is none.
    fn input(&self, from: Option<&str>, index: bool, site: Site) -> Result<InputRef, BuildError> {
        let Some(from) = from else { return Ok(InputRef::Context) };
        let meaning = self.shared.names.source(from, self.index, index).map_err(|kind| site.error(kind))?;
        Ok(match meaning {
            Meaning::Scratch => InputRef::Nothing,
            Meaning::Stage(stage) => InputRef::Stage(stage),
            Meaning::Named(name) => InputRef::Named(name),
            Meaning::Image(reference) => {
                InputRef::Image((reference, self.shared.options.platform.to_string()))
            }
        })
    }

    /// Adds an instruction to the plan; numbered ones as `[build 2/4] RUN make`.
    fn inform(&mut self, instruction: &str, shown: &str, numbered: bool, site: Site) -> StepId {
        let id = StepId(self.plan.infos.len());
        let mut name = shown.to_owned();
        if numbered {
            self.draft.counted += 1;
            let width = self.total.to_string().len();
            let stage = self.shared.names.progress_name(self.index);
            let stage = stage.map_or_else(String::new, |stage| stage + " ");
            name = format!("[{stage}{:>width$}/{}] {name}", self.draft.counted, self.total);
        }
        self.plan.infos.push(StepInfo {
            id,
            stage: self.shared.names.stage_name(self.index),
            name,
            instruction: instruction.to_owned(),
            layered: numbered,
            span: site.span(),
        });
        id
    }
}

/// The instructions that progress numbers.
fn makes_step(command: &Command) -> bool {
    matches!(command, Command::Run(_) | Command::Copy(_) | Command::Add(_) | Command::Workdir(_))
}

/// A sentence of BuildKit's about an instruction.
fn says(sentence: impl Into<String>) -> BuildErrorKind {
    BuildErrorKind::Instruction(sentence.into())
}
