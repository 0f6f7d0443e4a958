//! Lint rules in a build (`spec/build.md` section 7): warnings, or a failure where `error=true` asks for one.
use crate::error::Site;
use crate::stages::{StageBase, StageGraph};
use crate::{BuildError, BuildErrorKind, BuildOptions};
use strata_dockerfile::lint::{CheckOptions, LintInput, RULES, lint_with, violation};
use strata_dockerfile::{Dockerfile, Span, Stage, Warning};
use strata_oci::Platform;

/// Build argument that stands in for the `# check=` directive.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What BuildKit's rules find in a file whose base images are known.
///
/// # Errors
/// A `# check=` that cannot be read, and with its `error=true` any finding.
pub(crate) fn check<L>(
    dockerfile: &Dockerfile,
    options: &BuildOptions,
    graph: &StageGraph<L>,
) -> Result<Vec<Warning>, BuildError> {
    let choice = choice(dockerfile, options)?;
    let base_env = |stage: &Stage| {
        let index = dockerfile.stages.iter().position(|known| known.span == stage.span)?;
        match &graph.nodes.get(&index)?.base {
            StageBase::Image(key) => Some(graph.images[key].config.value().config.env.clone()),
            StageBase::Scratch | StageBase::Stage(_) => None,
        }
    };
    let base_platform = |stage: &Stage| {
        let index = dockerfile.stages.iter().position(|known| known.span == stage.span)?;
        let StageBase::Image(key) = &graph.nodes.get(&index)?.base else { return None };
        let actual = &graph.images[key].config.value().platform;
        let expected: Platform = key.1.parse().ok()?;
        let fits = actual.os.is_empty() || expected.suits(actual).is_some();
        (!fits).then(|| (actual.to_string(), expected.to_string()))
    };
    let input = LintInput {
        ignore: options.ignore.as_ref(),
        base_env: Some(&base_env),
        base_platform: Some(&base_platform),
        unfiltered: None,
        options: Some(&choice),
    };
    let mut warnings = lint_with(dockerfile, input);
    // Advice of strata's own is for those who ask for it (`--check`).
    warnings.retain(|warning| RULES.iter().any(|rule| rule.name == warning.rule && !rule.own));
    match violation(&warnings).filter(|_| choice.error) {
        Some(sentence) => Err(BuildError {
            kind: BuildErrorKind::Instruction(sentence),
            spans: warnings.iter().map(|warning| warning.span).collect(),
        }),
        None => Ok(warnings),
    }
}

/// The argument, or else what the file says.
fn choice(dockerfile: &Dockerfile, options: &BuildOptions) -> Result<CheckOptions, BuildError> {
    let (parsed, span) = match options.build_args.get(ARGUMENT) {
        Some(text) => (CheckOptions::parse(text), None),
        None => (CheckOptions::of(dockerfile), dockerfile.directives.check.as_ref().map(|word| word.span)),
    };
    parsed.map_err(|error| {
        let sentence = format!("failed to parse check options: {error}");
        let site = Site::from(span.unwrap_or_else(Span::default));
        BuildError { spans: span.into_iter().collect(), ..site.says(sentence) }
    })
}
