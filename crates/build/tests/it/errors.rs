//! What goes wrong, in BuildKit's sentences, pointing at the words to blame.
use crate::fake::World;
use std::sync::atomic::{AtomicBool, Ordering};
use strata_build::{BuildErrorKind, BuildOptions};

/// Builds what must fail; gives the sentence and the text it points at.
fn failure(dockerfile: &str) -> (String, Vec<String>) {
    failure_with(dockerfile, &BuildOptions::default())
}

fn failure_with(dockerfile: &str, options: &BuildOptions) -> (String, Vec<String>) {
    let mut world = World::with(&[("a", "1")]);
    let error = world.build_with(dockerfile, options).result.expect_err(dockerfile);
    let blamed = error.spans.iter().map(|span| dockerfile[span.start..span.end].trim_end().to_owned());
    (error.to_string(), blamed.collect())
}

#[track_caller]
fn check(dockerfile: &str, sentence: &str, blamed: &[&str]) {
    let (got, spans) = failure(dockerfile);
    assert_eq!(got, sentence, "{dockerfile}");
    assert_eq!(spans, blamed, "{dockerfile}");
}

#[test]
fn stages() {
    check(
        "FROM conform-base:1 AS a\nCOPY --from=b /x /x\nFROM conform-base:1 AS b\nCOPY --from=a /x /x\n",
        "circular dependency detected on stage: a",
        &["COPY --from=b /x /x", "COPY --from=a /x /x"],
    );
    check(
        "FROM conform-base:1 AS me\nCOPY --from=me /etc /x\n",
        "circular dependency detected on stage: me",
        &["COPY --from=me /etc /x"],
    );
    check(
        "FROM conform-base:1 AS a\nCOPY --from=c /x /x\nFROM a AS b\nFROM b AS c\n",
        "circular dependency detected on stage: a",
        &["COPY --from=c /x /x", "FROM b AS c", "FROM a AS b"],
    );
    let later = "FROM conform-base:1 AS one\nCOPY --from=two /x /x\nFROM conform-base:1 AS two\nFROM one\n";
    check(
        later,
        "cannot copy from stage \"two\", it needs to be defined before current stage \"one\"",
        &["two"],
    );
    check("FROM conform-base:1\nCOPY --from=7 /x /x\n", "invalid stage index 7", &["7"]);
}

#[test]
fn targets() {
    for (target, sentence) in [
        ("1", "target stage \"1\" could not be found"),
        ("bulid", "target stage \"bulid\" could not be found (did you mean build?)"),
    ] {
        let options = BuildOptions { target: Some(target.to_owned()), ..BuildOptions::default() };
        let (got, blamed) = failure_with("FROM conform-base:1 AS build\nFROM conform-base:1\n", &options);
        assert_eq!((got.as_str(), blamed.len()), (sentence, 0));
    }
}

#[test]
fn bases() {
    check("ARG NOPE\nFROM $NOPE\n", "base name ($NOPE) should not be blank", &["$NOPE"]);
    check(
        "FROM conform-base:1:2\n",
        "failed to parse stage name \"conform-base:1:2\": invalid reference format",
        &["conform-base:1:2"],
    );
    check(
        "FROM Busybox\n",
        "failed to parse stage name \"Busybox\": invalid reference format: repository name (library/Busybox) must be lowercase",
        &["Busybox"],
    );
    check(
        "FROM localhost:1/no/such:image\n",
        "localhost:1/no/such:image: failed to resolve source metadata for localhost:1/no/such:image: no image localhost:1/no/such:image",
        &["FROM localhost:1/no/such:image"],
    );
}

#[test]
fn sources() {
    check(
        "FROM conform-base:1\nCOPY nothere /x\n",
        "failed to compute cache key: \"/nothere\": not found",
        &["nothere"],
    );
    check(
        "FROM conform-base:1\nRUN --mount=source=absent,target=/x say hi\n",
        "failed to compute cache key: \"/absent\": not found",
        &["source=absent,target=/x"],
    );
    check(
        "FROM conform-base:1 AS s\nFROM conform-base:1\nCOPY --from=s /none /x\n",
        "failed to compute cache key: \"/none\": not found",
        &["/none"],
    );
    check(
        "ARG s=b\nFROM conform-base:1 AS b\nFROM conform-base:1\nARG s\nCOPY --from=$s /a /x\n",
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a \
         workaround",
        &["$s"],
    );
    let mut world = World::with(&[("a", "1")]);
    assert_eq!(
        world.build("FROM conform-base:1\nCOPY none* /x/\n").built().layers.len(),
        2,
        "a wildcard may match nothing"
    );
}

#[test]
fn instructions() {
    check("FROM conform-base:1\nEXPOSE eighty\n", "invalid containerPort: eighty", &["eighty"]);
    check("FROM conform-base:1\nSTOPSIGNAL SIGNONE\n", "invalid signal: SIGNONE", &["SIGNONE"]);
    check(
        "FROM conform-base:1\nRUN --mount=type=cache,target=/x,colour=red true\n",
        "unexpected key 'colour' in 'colour=red'",
        &["type=cache,target=/x,colour=red"],
    );
    check(
        "FROM conform-base:1\nRUN --security=insecure true\n",
        "security.insecure is not allowed: give the build `--allow security.insecure` if you trust this Dockerfile",
        &["insecure"],
    );
    check(
        "FROM conform-base:1\nRUN --network=host true\n",
        "network.host is not allowed: give the build `--allow network.host` if you trust this Dockerfile",
        &["host"],
    );
    check(
        "FROM conform-base:1\nCOPY --from=$x /a /b\n",
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
        &["$x"],
    );
    check("FROM conform-base:1\nRUN --mount=target=/ true\n", "invalid mount target \"/\"", &["target=/"]);
    check(
        "FROM conform-base:1\nENV b=1\nENV a=${b:=x}\n",
        "failed to process \"${b:=x}\": unsupported modifier (:=) in substitution",
        &["${b:=x}"],
    );
    check(
        "FROM conform-base:1\nCOPY --chmod=64a a /a\n",
        "invalid chmod parameter: '64a'. it should be octal string and between 0 and 07777",
        &["64a"],
    );
    let options = BuildOptions {
        build_args: [("SOURCE_DATE_EPOCH".to_owned(), "soon".to_owned())].into(),
        ..BuildOptions::default()
    };
    assert_eq!(failure_with("FROM conform-base:1\n", &options).0, "invalid SOURCE_DATE_EPOCH: soon");
}

#[test]
fn mistakes_in_stages_that_are_not_needed_stay_hidden() {
    let mut world = World::default();
    world.build("FROM conform-base:1\nEXPOSE eighty\nRUN --mount=target=/ x\nFROM conform-base:1\n").built();
}

#[test]
fn a_failed_process_stops_the_stages_beside_it() {
    let dockerfile = "FROM conform-base:1 AS bad\nRUN meet x; fail 7\nFROM conform-base:1 AS good\nRUN meet x ; put /a 1\n\
                      RUN put /never 1\nRUN put /never 2\nRUN put /never 3\nRUN put /never 4\nRUN put /never 5\n\
                      FROM conform-base:1\nCOPY --from=bad /a /a\nCOPY --from=good /a /b\n";
    let mut world = World::default();
    let outcome = world.build(dockerfile);
    assert_eq!(
        outcome.error(),
        "process \"/bin/sh -c meet x; fail 7\" did not complete successfully: exit code: 7"
    );
    assert!(outcome.events.iter().any(|event| event.starts_with("failed [bad 2/2]")), "{:?}", outcome.events);
    assert!(!outcome.log.iter().any(|call| call.starts_with("copy")), "{:?}", outcome.log);
}

#[test]
fn a_cancelled_build_runs_nothing_more() {
    let world = World::default();
    let dockerfile = strata_dockerfile::parse("FROM conform-base:1\nRUN put /a 1\n").unwrap();
    let cancel = AtomicBool::new(true);
    let outcome = world.build_until(&dockerfile, &BuildOptions::default(), &cancel);
    assert!(matches!(outcome.result.as_ref().map_err(|error| &error.kind), Err(BuildErrorKind::Cancelled)));
    assert_eq!(outcome.ran(), Vec::<&str>::new());
    assert!(cancel.load(Ordering::SeqCst));
}
