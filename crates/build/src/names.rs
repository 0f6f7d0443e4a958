//! What a name in FROM, `--from` or a mount's `from` means (`spec/build.md` 1.9).
use crate::{BuildErrorKind, BuildOptions, NamedContext};
use std::str::FromStr;
use strata_dockerfile::{Dockerfile, Stage, nearest};
use strata_oci::Reference;

/// What is called `scratch` is nothing.
const SCRATCH: &str = "scratch";

/// The meaning of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// No files.
    Scratch,
    /// A stage of this file.
    Stage(usize),
    /// Files of a `--build-context`.
    Named(String),
    /// An image.
    Image(Reference),
}

/// The names of one Dockerfile and one command line.
pub(crate) struct Names<'a> {
    stages: &'a [Stage],
    options: &'a BuildOptions,
}

impl<'a> Names<'a> {
    pub(crate) fn new(dockerfile: &'a Dockerfile, options: &'a BuildOptions) -> Self {
        Self { stages: &dockerfile.stages, options }
    }

    /// The stage to build.
    pub(crate) fn target(&self) -> Result<usize, BuildErrorKind> {
        let Some(target) = &self.options.target else {
            return Ok(self.stages.len().saturating_sub(1));
        };
        self.stages.iter().rposition(|stage| is_called(stage, target)).ok_or_else(|| {
            let known = self.stages.iter().filter_map(|stage| stage.name.as_ref());
            let suggestion = nearest(target, known.map(|name| name.text.as_str()), false);
            BuildErrorKind::TargetNotFound { target: target.clone(), suggestion }
        })
    }

    /// `build` or `stage-2`: how messages and records call a stage.
    pub(crate) fn stage_name(&self, index: usize) -> String {
        let name = self.stages[index].name.as_ref();
        name.map_or_else(|| format!("stage-{index}"), |name| name.text.clone())
    }

    /// How progress calls a stage: one that is alone and has no name needs none.
    pub(crate) fn progress_name(&self, index: usize) -> Option<String> {
        (self.stages.len() > 1 || self.stages[index].name.is_some()).then(|| self.stage_name(index))
    }

    /// The base of stage `current`, its variables expanded.
    pub(crate) fn base(&self, name: &str, current: usize) -> Result<Meaning, BuildErrorKind> {
        if name == SCRATCH {
            return Ok(Meaning::Scratch);
        }
        if let Some(meaning) = self.context(name) {
            return Ok(meaning);
        }
        match self.stages[..current].iter().rposition(|stage| is_called(stage, name)) {
            Some(index) => Ok(Meaning::Stage(index)),
            None => image(name),
        }
    }

    /// `--from` of stage `current`; a mount's may not be a number.
    pub(crate) fn source(&self, name: &str, current: usize, index: bool) -> Result<Meaning, BuildErrorKind> {
        if index && name.contains('$') {
            let sentence = "variable expansion is not supported for --from, define a new stage with FROM using ARG \
                            from global scope as a workaround";
            return Err(BuildErrorKind::Instruction(sentence.to_owned()));
        }
        if name.eq_ignore_ascii_case(SCRATCH) {
            return Ok(Meaning::Scratch);
        }
        if let Some(meaning) = self.context(name) {
            return Ok(meaning);
        }
        match self.stage(name, current, index)? {
            Some(stage) => match self.replaced(stage) {
                Some(meaning) => Ok(meaning),
                None if stage < current => Ok(Meaning::Stage(stage)),
                None => Err(BuildErrorKind::StageOrder {
                    from: name.to_owned(),
                    current: self.stage_name(current),
                }),
            },
            None => image(name),
        }
    }

    /// The stage that `--from` names, wherever it stands: the nearest earlier one, else the first later one.
    pub(crate) fn stage(
        &self,
        name: &str,
        current: usize,
        index: bool,
    ) -> Result<Option<usize>, BuildErrorKind> {
        let number = name.strip_prefix(['+', '-']).unwrap_or(name);
        if index && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
            let stage = name.parse().ok().filter(|stage| *stage < self.stages.len());
            return stage.map(Some).ok_or_else(|| BuildErrorKind::StageIndex(name.to_owned()));
        }
        let earlier = self.stages[..current].iter().rposition(|stage| is_called(stage, name));
        Ok(earlier.or_else(|| self.stages.iter().position(|stage| is_called(stage, name))))
    }

    /// The context that replaces a stage of its name.
    fn replaced(&self, stage: usize) -> Option<Meaning> {
        self.stages[stage].name.as_ref().and_then(|name| self.context(&name.text))
    }

    /// The context of this name, with or without `:latest`, in any case.
    fn context(&self, name: &str) -> Option<Meaning> {
        let normal = |name: &str| name.to_lowercase().trim_end_matches(":latest").to_owned();
        let wanted = normal(name);
        let (name, context) = self.options.contexts.iter().find(|(known, _)| normal(known) == wanted)?;
        Some(match context {
            NamedContext::Files => Meaning::Named(name.clone()),
            NamedContext::Image(reference) => Meaning::Image(reference.clone()),
        })
    }
}

fn is_called(stage: &Stage, name: &str) -> bool {
    stage.name.as_ref().is_some_and(|known| known.text.eq_ignore_ascii_case(name))
}

fn image(name: &str) -> Result<Meaning, BuildErrorKind> {
    Reference::from_str(name)
        .map(Meaning::Image)
        .map_err(|source| BuildErrorKind::BaseName { name: name.to_owned(), source })
}
