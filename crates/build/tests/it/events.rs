//! What a build tells: names, numbers, order, output, reasons.
use crate::fake::World;
use strata_build::BuildOptions;

fn names(dockerfile: &str) -> Vec<String> {
    let mut world = World::with(&[("a", "1")]);
    world.build(dockerfile).plan.into_iter().filter(|step| step.layered).map(|step| step.name).collect()
}

#[test]
fn steps_are_numbered_as_buildkit_numbers_them() {
    assert_eq!(
        names("FROM conform-base:1\nENV a=b\nRUN put /a 1\nWORKDIR /w\nCMD x\n"),
        ["[1/3] FROM docker.io/library/conform-base:1", "[2/3] RUN put /a 1", "[3/3] WORKDIR /w"]
    );
    assert_eq!(
        names(
            "FROM conform-base:1 AS build\nRUN put /a 1\nFROM build\nRUN put /b 1\nFROM scratch\nCOPY --link --from=1 /b /b\n"
        ),
        [
            "[build 1/2] FROM docker.io/library/conform-base:1",
            "[build 2/2] RUN put /a 1",
            "[stage-1 3/3] RUN put /b 1",
            "[stage-2 1/1] LINK COPY --link --from=1 /b /b"
        ]
    );
    let many: String = (0..9).map(|n| format!("RUN put /{n} 1\n")).collect();
    assert_eq!(names(&format!("FROM conform-base:1\n{many}"))[1], "[ 2/10] RUN put /0 1");
}

#[test]
fn every_step_is_told_of_once_with_its_output() {
    let mut world = World::with(&[("a", "1")]);
    let dockerfile = "FROM conform-base:1\nCOPY a /a\nRUN say hello world\n";
    let first = world.build(dockerfile);
    assert_eq!(first.output, "hello world");
    assert_eq!(
        first.events,
        [
            "cached [1/3] FROM docker.io/library/conform-base:1",
            "started [2/3] COPY a /a",
            "done [2/3] COPY a /a",
            "started [3/3] RUN say hello world",
            "done [3/3] RUN say hello world"
        ]
    );
    let second = world.build(dockerfile);
    assert_eq!(
        second.events,
        [
            "cached [1/3] FROM docker.io/library/conform-base:1",
            "cached [2/3] COPY a /a",
            "cached [3/3] RUN say hello world"
        ]
    );
}

#[test]
fn a_miss_names_its_reason_when_an_earlier_build_is_known() {
    let mut world = World::with(&[("app/main", "old"), ("app/big", "large content"), ("app/same", "1")]);
    let dockerfile = "FROM conform-base:1\nRUN put /p 1\nCOPY app /app\nRUN put /after 1\n";
    assert_eq!(
        world.build(dockerfile).missed(),
        Vec::<&str>::new(),
        "a first build has nothing to compare with"
    );
    world.write("app/main", "newer");
    let outcome = world.build(dockerfile);
    assert_eq!(
        outcome.missed(),
        [
            "[3/4] COPY app /app: file main: content, 3 → 5 bytes",
            "[4/4] RUN put /after 1: the step before it changed"
        ]
    );
    world.write("app/big", "larger content than before");
    world.context.remove("app/same");
    let outcome = world.build(dockerfile);
    assert_eq!(
        outcome.missed()[0],
        "[3/4] COPY app /app: 2 files changed, first big: content, 13 → 26 bytes, and 1 more"
    );
}

#[test]
fn an_inserted_instruction_does_not_spoil_the_comparison_of_those_behind_it() {
    let mut world = World::default();
    world.build("FROM conform-base:1\nRUN put /a 1\nRUN put /b 1\n").built();
    let outcome = world.build("FROM conform-base:1\nRUN put /new 1\nRUN put /a 1\nRUN put /b 1\n");
    assert_eq!(
        outcome.missed(),
        [
            "[2/4] RUN put /new 1: the command changed: /a → /new",
            "[3/4] RUN put /a 1: what it stands on changed",
            "[4/4] RUN put /b 1: the step before it changed"
        ]
    );
}

#[test]
fn other_scopes_are_other_histories() {
    let mut world = World::default();
    let options = |scope: &str| BuildOptions { scope: scope.to_owned(), ..BuildOptions::default() };
    world.build_with("FROM conform-base:1\nRUN put /a 1\n", &options("one")).built();
    let outcome = world.build_with("FROM conform-base:1\nRUN put /a 2\n", &options("two"));
    assert_eq!(outcome.missed(), Vec::<&str>::new());
    let outcome = world.build_with("FROM conform-base:1\nRUN put /a 3\n", &options("one"));
    assert_eq!(outcome.missed(), ["[2/2] RUN put /a 3: the command changed: 1 → 3"]);
}

#[test]
fn several_sources_without_a_slash_are_warned_about() {
    let mut world = World::with(&[("a", "1"), ("b", "2")]);
    let outcome = world.build("FROM conform-base:1\nCOPY a b /dst\n");
    assert!(outcome.events[0].starts_with("warning COPY of several sources to /dst"), "{:?}", outcome.events);
}

#[test]
fn a_dry_run_says_what_would_run_and_why_and_does_nothing() {
    let mut world = World::with(&[("a", "1"), ("b", "1")]);
    let dockerfile = "FROM conform-base:1 AS s\nRUN put /s 1\nCOPY a /a\nFROM conform-base:1\nCOPY b /b\n\
                      COPY --from=s /a /c\nRUN put /d 1\n";
    let options = BuildOptions::default();
    let forecast = world.dry_run(dockerfile, &options);
    assert_eq!(
        forecast,
        [
            "RUN put /s 1 runs",
            "COPY a /a runs",
            "COPY b /b runs",
            "COPY --from=s /a /c undecided",
            "RUN put /d 1 undecided"
        ]
    );
    assert!(world.records().is_empty());
    world.build(dockerfile).built();
    assert!(world.dry_run(dockerfile, &options).iter().all(|line| line.ends_with(" cached")));
    let records = world.records().len();
    world.write("a", "22");
    assert_eq!(
        world.dry_run(dockerfile, &options),
        [
            "RUN put /s 1 cached",
            "COPY a /a runs: file a: content, 1 → 2 bytes",
            "COPY b /b cached",
            "COPY --from=s /a /c undecided",
            "RUN put /d 1 undecided"
        ]
    );
    let no_cache = BuildOptions { no_cache: strata_build::NoCache::All, ..BuildOptions::default() };
    let forecast = world.dry_run(dockerfile, &no_cache);
    assert_eq!(forecast[0], "RUN put /s 1 runs: the cache is turned off for it");
    // WORKDIR is never forced; it follows.
    let followed = world.dry_run("FROM conform-base:1\nRUN put /s 1\nWORKDIR /w\n", &no_cache);
    assert_eq!(followed[1], "WORKDIR /w runs: the step before it runs again");
    assert_eq!(world.records().len(), records);
    assert!(world.execs().len() == 2, "only those of the real build");
}
