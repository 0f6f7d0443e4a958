//! Lint rules (`spec/build.md` section 7): BuildKit's by name, and rules of strata's own.

mod check;
mod context;
mod forms;
mod habits;
mod naming;
mod remedy;
mod shell_words;
#[cfg(test)]
mod tests;
mod variables;

use crate::{Dockerfile, Ignore, Instruction, Span, Stage, Warning};
pub use check::{CheckError, CheckOptions, Choice};
use context::Finder;
pub use remedy::correction;

/// A rule: its name, what it is for, and the function that looks.
pub struct Rule {
    /// BuildKit's name, or one of strata's own.
    pub name: &'static str,
    /// Why.
    pub description: &'static str,
    /// Only looked for if `# check=experimental=` names it.
    pub experimental: bool,
    /// Not one of BuildKit's: it never fails a build, not with `error=true` either.
    pub own: bool,
    find: fn(&Finder<'_>, &mut Found<'_>),
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule")
            .field("name", &self.name)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

const fn rule(name: &'static str, description: &'static str, find: fn(&Finder<'_>, &mut Found<'_>)) -> Rule {
    Rule { name, description, experimental: false, own: false, find }
}

const fn own(name: &'static str, description: &'static str, find: fn(&Finder<'_>, &mut Found<'_>)) -> Rule {
    Rule { name, description, experimental: false, own: true, find }
}

/// All rules that need nothing but the file (and its `.dockerignore`).
pub static RULES: &[Rule] = &[
    rule("StageNameCasing", "Stage names should be lowercase", naming::stage_name_casing),
    rule(
        "FromAsCasing",
        "The 'as' keyword should match the case of the 'from' keyword",
        naming::from_as_casing,
    ),
    rule(
        "NoEmptyContinuation",
        "Empty continuation lines will become errors in a future release",
        forms::no_empty_continuation,
    ),
    rule(
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
        naming::consistent_instruction_casing,
    ),
    rule("DuplicateStageName", "Stage names should be unique", naming::duplicate_stage_name),
    rule(
        "ReservedStageName",
        "Reserved words should not be used as stage names",
        naming::reserved_stage_name,
    ),
    rule(
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        forms::json_args_recommended,
    ),
    rule(
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        forms::maintainer_deprecated,
    ),
    rule("UndefinedArgInFrom", "FROM command must use declared ARGs", variables::undefined_arg_in_from),
    rule(
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
        forms::workdir_relative_path,
    ),
    rule("UndefinedVar", "Variables should be defined before their use", variables::undefined_var),
    rule(
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
        forms::multiple_instructions_disallowed,
    ),
    rule(
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
        forms::legacy_key_value_format,
    ),
    rule(
        "InvalidBaseImagePlatform",
        "Base image platform does not match expected target platform",
        naming::invalid_base_image_platform,
    ),
    rule(
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        variables::redundant_target_platform,
    ),
    rule(
        "SecretsUsedInArgOrEnv",
        "Sensitive data should not be used in the ARG or ENV commands",
        variables::secrets_used_in_arg_or_env,
    ),
    rule(
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
        variables::invalid_default_arg_in_from,
    ),
    rule(
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use a constant value",
        variables::from_platform_flag_const_disallowed,
    ),
    rule(
        "CopyIgnoredFile",
        "Attempting to Copy file that is excluded by .dockerignore",
        variables::copy_ignored_file,
    ),
    rule(
        "ExposeProtoCasing",
        "Protocol in EXPOSE instruction should be lowercase",
        forms::expose_proto_casing,
    ),
    rule(
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
        forms::expose_invalid_format,
    ),
    Rule {
        name: "InvalidDefinitionDescription",
        description: "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
        experimental: true,
        own: false,
        find: forms::invalid_definition_description,
    },
    own(
        "UnpinnedBaseImage",
        "A base image without a tag, or with the tag latest, is another image tomorrow",
        habits::unpinned_base_image,
    ),
    own(
        "SplitPackageUpdate",
        "The package index fetched in a RUN of its own is cached and goes stale; update and install in one RUN",
        habits::split_package_update,
    ),
    own(
        "CleanupInLaterLayer",
        "What a later RUN deletes stays in the layer of the earlier one; delete in the RUN that made it",
        habits::cleanup_in_later_layer,
    ),
    own(
        "CopyAllBeforeInstall",
        "After COPY . . any change of the source installs all dependencies anew; copy their list first",
        habits::copy_all_before_install,
    ),
    own(
        "MissingDockerignore",
        "What .dockerignore does not name is read for every build, enters the image and changes its cache key",
        habits::missing_dockerignore,
    ),
    own(
        "PackageUpgrade",
        "Upgrading all packages makes a large layer that is not the same twice; take a newer base image",
        habits::package_upgrade,
    ),
];

/// The variables of the image that a stage begins with, as `NAME=value`; `None` if they are not known.
pub type BaseEnv<'a> = dyn Fn(&Stage) -> Option<Vec<String>> + 'a;

/// The platform of the image that a stage begins with, and the one that was expected; `None` if they agree or are not
/// known.
pub type BasePlatform<'a> = dyn Fn(&Stage) -> Option<(String, String)> + 'a;

/// What the rules may know besides the file.
#[derive(Clone, Copy, Default)]
pub struct LintInput<'a> {
    /// The context's `.dockerignore`, for `CopyIgnoredFile`.
    pub ignore: Option<&'a Ignore>,
    /// `NAME=value` of the image a stage begins with, as its config has them. Without them `UndefinedVar` keeps to
    /// stages from `scratch` and to names that look misspelt.
    pub base_env: Option<&'a BaseEnv<'a>>,
    /// What a base image is made for, where that is not what the build is for.
    pub base_platform: Option<&'a BasePlatform<'a>>,
    /// Set when the context is a directory without `.dockerignore`: what of it usually has no place in an image
    /// (`.git`, `node_modules`), for `MissingDockerignore`.
    pub unfiltered: Option<&'a [String]>,
    /// In place of the `# check=` directive (`BUILDKIT_DOCKERFILE_CHECK`).
    pub options: Option<&'a CheckOptions>,
}

/// Warnings of one rule as they are found.
pub(crate) struct Found<'a> {
    rule: &'static Rule,
    options: &'a CheckOptions,
    warnings: &'a mut Vec<Warning>,
}

impl Found<'_> {
    /// Adds a warning, unless the comment above its instruction says otherwise.
    pub(crate) fn add(&mut self, doc: Option<&str>, span: Span, message: String) {
        let here = doc.and_then(check::options_in);
        if self.options.wants(self.rule, here.as_ref()) {
            self.warnings.push(Warning { rule: self.rule.name, message, span });
        }
    }

    pub(crate) fn stage(&mut self, stage: &Stage, message: String) {
        self.add(stage.doc.as_deref(), stage.span, message);
    }

    pub(crate) fn instruction(&mut self, instruction: &Instruction, message: String) {
        self.add(instruction.doc.as_deref(), instruction.span, message);
    }
}

/// All warnings about a file, in the order of the file. A `# check=` directive that cannot be read is ignored here;
/// [`CheckOptions::parse`] tells what is wrong with it.
pub fn lint(file: &Dockerfile) -> Vec<Warning> {
    lint_with(file, LintInput::default())
}

/// Like [`lint`], with all that is known.
pub fn lint_with(file: &Dockerfile, input: LintInput<'_>) -> Vec<Warning> {
    let of_file = || CheckOptions::of(file).unwrap_or_default();
    let options = input.options.cloned().unwrap_or_else(of_file);
    let finder = Finder { file, input };
    let mut warnings = Vec::new();
    for rule in RULES {
        (rule.find)(&finder, &mut Found { rule, options: &options, warnings: &mut warnings });
    }
    warnings.sort_by_key(|warning| warning.span.start);
    warnings
}

/// With `error=true`: BuildKit's sentence, if any of its rules is violated.
pub fn violation(warnings: &[Warning]) -> Option<String> {
    let counts = |name: &&str| RULES.iter().any(|rule| rule.name == *name && !rule.own);
    let mut names: Vec<&str> = warnings.iter().map(|warning| warning.rule).filter(counts).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| format!("lint violation found for rules: {}", names.join(", ")))
}
