//! Lint rules in a build (`spec/build.md` section 7, `# check=` in 1.2).
use crate::fake::{Outcome, World};
use std::collections::BTreeMap;
use strata_build::BuildOptions;
use strata_dockerfile::Ignore;

const MAINTAINER: &str = "FROM conform-base:1\nMAINTAINER me\n";

fn lints(outcome: &Outcome) -> Vec<&str> {
    outcome.events.iter().filter_map(|event| event.strip_prefix("lint ")).collect()
}

#[test]
fn a_finding_is_a_warning() {
    let outcome = World::default().build(MAINTAINER);
    assert_eq!(lints(&outcome), ["MaintainerDeprecated"]);
    outcome.built();
}

#[test]
fn advice_of_our_own_is_not_given_unasked() {
    let mut world = World::default();
    world.image("unpinned:latest", |_| {});
    let outcome = world.build("FROM unpinned\nRUN put /a 1\n");
    outcome.built();
    assert_eq!(lints(&outcome), [""; 0]);
}

#[test]
fn the_directive_makes_findings_fail_and_leaves_rules_out() {
    let outcome = World::default().build(&format!("# check=error=true\n{MAINTAINER}"));
    assert_eq!(outcome.error(), "lint violation found for rules: MaintainerDeprecated");
    let outcome = World::default().build(&format!("# check=skip=all;error=true\n{MAINTAINER}"));
    outcome.built();
    let outcome = World::default().build(&format!("# check=colour=red\n{MAINTAINER}"));
    assert!(outcome.error().contains("invalid check option"), "{}", outcome.error());
}

#[test]
fn the_argument_replaces_the_directive() {
    let build_args = BTreeMap::from([("BUILDKIT_DOCKERFILE_CHECK".to_owned(), "skip=all".to_owned())]);
    let options = BuildOptions { build_args, ..BuildOptions::default() };
    let outcome = World::default().build_with(&format!("# check=error=true\n{MAINTAINER}"), &options);
    assert_eq!(lints(&outcome), [""; 0]);
    outcome.built();
}

#[test]
fn what_the_base_image_sets_is_defined() {
    let mut world = World::default();
    world.image("with-env:1", |config| config.config.env.push("GIVEN=1".to_owned()));
    let outcome = world.build("FROM with-env:1\nENV a=$GIVEN\nENV b=$GIVEM\n");
    assert_eq!(lints(&outcome), ["UndefinedVar"]);
}

#[test]
fn a_file_that_dockerignore_hides_is_pointed_out() {
    let ignore = Some(Ignore::parse(b"a\n").expect("a good file"));
    let options = BuildOptions { ignore, ..BuildOptions::default() };
    let outcome = World::with(&[("a", "1")]).build_with("FROM conform-base:1\nCOPY a /\n", &options);
    assert_eq!(lints(&outcome), ["CopyIgnoredFile"]);
}

#[test]
fn a_bad_stage_index_is_an_error_in_any_stage() {
    let dockerfile = "FROM conform-base:1 AS unused\nCOPY --from=7 /a /\nFROM conform-base:1\n";
    assert_eq!(World::default().build(dockerfile).error(), "invalid stage index 7");
}
