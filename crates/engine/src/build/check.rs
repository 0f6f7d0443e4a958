//! `--check`: what is wrong with a Dockerfile, or could be better, without building it.
use super::context::ignore_file;
use super::{BuildRequest, ContextSource};
use crate::{Engine, EngineError};
use std::path::Path;
use strata_dockerfile::lint::{self, CheckError, CheckOptions, LintInput};
use strata_dockerfile::{Dockerfile, Span, Stage};
use strata_oci::{ImageConfig, Reference};

/// Build argument that takes the place of the `# check=` directive.
const OPTIONS: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Names in the root of a context that seldom belong in an image.
const UNWANTED: [&str; 10] =
    [".git", ".hg", ".svn", ".env", "node_modules", "venv", ".venv", "__pycache__", "target", ".idea"];

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the rule.
    pub rule: &'static str,
    /// What is wrong here.
    pub message: String,
    /// Why the rule exists.
    pub why: &'static str,
    /// One of strata's own rules, which never fail a build.
    pub own: bool,
    /// Where.
    pub span: Span,
    /// The corrected lines, where they can be told.
    pub correction: Option<String>,
}

/// Everything found in a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// In the order of the file.
    pub findings: Vec<Finding>,
    /// With `error=true`: the sentence with which a build fails.
    pub violation: Option<String>,
}

impl Engine {
    /// Looks for everything the rules know of. The image of a FROM is looked at if it is in the store.
    ///
    /// # Errors
    /// A `.dockerignore`, a `# check=` or a `BUILDKIT_DOCKERFILE_CHECK` that cannot be read.
    pub fn check(&self, request: &BuildRequest, dockerfile: &Dockerfile) -> Result<CheckReport, EngineError> {
        let unreadable = |error: CheckError| EngineError::Invalid(error.to_string());
        let options = match request.options.build_args.get(OPTIONS) {
            Some(text) => CheckOptions::parse(text).map_err(unreadable)?,
            None => CheckOptions::of(dockerfile).map_err(unreadable)?,
        };
        let (ignore, unfiltered) = match &request.context {
            ContextSource::Directory(root) => {
                let ignore = ignore_file(root, request.dockerfile_path.as_deref())?;
                let unfiltered = ignore.is_none().then(|| unwanted(root));
                (ignore, unfiltered)
            }
            _ => (None, None),
        };
        let base_env = |stage: &Stage| Some(self.base(stage)?.config.env);
        let expected = &request.options.platform;
        // Which one another FROM --platform means, only a build finds out.
        let base_platform = |stage: &Stage| {
            let actual = self.base(stage).filter(|_| stage.platform.is_none())?.platform;
            let fits = actual.os.is_empty() || expected.suits(&actual).is_some();
            (!fits).then(|| (actual.to_string(), expected.to_string()))
        };
        let input = LintInput {
            ignore: ignore.as_ref(),
            base_env: Some(&base_env),
            base_platform: Some(&base_platform),
            unfiltered: unfiltered.as_deref(),
            options: Some(&options),
        };
        let warnings = lint::lint_with(dockerfile, input);
        let violation = options.error.then(|| lint::violation(&warnings)).flatten();
        let findings = warnings
            .into_iter()
            .filter_map(|warning| {
                let rule = lint::RULES.iter().find(|rule| rule.name == warning.rule)?;
                let correction = lint::correction(dockerfile, &warning);
                let (why, own) = (rule.description, rule.own);
                Some(Finding {
                    rule: rule.name,
                    message: warning.message,
                    why,
                    own,
                    span: warning.span,
                    correction,
                })
            })
            .collect();
        Ok(CheckReport { findings, violation })
    }

    /// The config of the image that a stage names, if it is in the store.
    fn base(&self, stage: &Stage) -> Option<ImageConfig> {
        let reference: Reference = stage.base.text.parse().ok()?;
        let images = self.store().images();
        let id = images.lookup(&reference).ok()??;
        Some(images.config(&id).ok()?.value().clone())
    }
}

fn unwanted(root: &Path) -> Vec<String> {
    let here = UNWANTED.iter().filter(|name| root.join(name).symlink_metadata().is_ok());
    here.map(|&name| name.to_owned()).collect()
}
