//! ONBUILD of base images and of stages in the file (`spec/build.md` 1.9).
use crate::fake::World;

const BASE: &str = "onbuild:1";

fn world(triggers: &[&str]) -> World {
    let mut world = World::with(&[("app", "1")]);
    world.image(BASE, |config| {
        config.config.on_build = triggers.iter().map(|text| (*text).to_owned()).collect()
    });
    world
}

#[test]
fn triggers_of_the_base_run_first_and_are_gone_afterwards() {
    let mut world = world(&["COPY app /app", "ENV seen=yes", "RUN put /t $seen"]);
    let outcome = world.build("FROM onbuild:1\nRUN put /own 1\n");
    assert_eq!(outcome.ran(), ["copy [Path(\"app\")] /app", "exec put /t $seen", "exec put /own 1"]);
    assert_eq!(outcome.text("/t"), "yes");
    assert!(outcome.config().config.on_build.is_empty());
    let names: Vec<&str> =
        outcome.plan.iter().filter(|step| step.layered).map(|step| step.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "[1/4] FROM docker.io/library/onbuild:1",
            "[2/4] ONBUILD COPY app /app",
            "[3/4] ONBUILD RUN put /t $seen",
            "[4/4] RUN put /own 1"
        ]
    );
}

#[test]
fn triggers_declared_here_are_stored_and_leave_no_row() {
    let mut world = world(&[]);
    let outcome = world.build("FROM conform-base:1\nONBUILD RUN put /x 1\nONBUILD ENV a=b\n");
    assert_eq!(outcome.config().config.on_build, ["RUN put /x 1", "ENV a=b"]);
    assert_eq!(outcome.config().history.len(), 1);
    assert_eq!(outcome.ran(), Vec::<&str>::new());
}

#[test]
fn triggers_of_a_stage_run_in_its_child_but_not_in_its_grandchild() {
    let mut world = world(&[]);
    let outcome =
        world.build("FROM conform-base:1 AS a\nONBUILD RUN random /t\nFROM a AS b\nFROM b\nRUN put /x 1\n");
    assert_eq!(outcome.ran(), ["exec random /t", "exec put /x 1"]);
    assert!(outcome.config().config.on_build.is_empty());
}

#[test]
fn a_trigger_may_need_a_stage_of_the_childs_file() {
    let mut world = world(&["COPY --from=assets /a /a"]);
    let outcome = world.build("FROM conform-base:1 AS assets\nRUN put /a asset\nFROM onbuild:1\n");
    assert_eq!(outcome.text("/a"), "asset");
}

#[test]
fn a_broken_trigger_blames_the_from() {
    let mut world = world(&["FRUM x"]);
    let dockerfile = "FROM conform-base:1 AS one\nFROM onbuild:1\n";
    let error = world.build(dockerfile).result.expect_err("a broken trigger");
    assert!(error.to_string().contains("FRUM"), "{error}");
    assert_eq!(&dockerfile[error.spans[0].start..error.spans[0].end].trim_end(), &"FROM onbuild:1");
}
