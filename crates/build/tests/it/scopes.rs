//! ARG, ENV and the predefined arguments (`spec/build.md` 1.8).
use crate::fake::World;
use strata_build::BuildOptions;

fn with(pairs: &[(&str, &str)]) -> BuildOptions {
    let build_args = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    BuildOptions { build_args, ..BuildOptions::default() }
}

/// The text of `/r` that a stage of these lines writes.
fn result(before: &str, lines: &str, options: &BuildOptions) -> String {
    let mut world = World::default();
    world.build_with(&format!("{before}FROM conform-base:1\n{lines}\n"), options).text("/r")
}

#[test]
fn global_arguments_need_a_declaration_in_the_stage() {
    let none = BuildOptions::default();
    assert_eq!(result("ARG g=global\n", "RUN put /r [$g]", &none), "[$g]");
    assert_eq!(result("ARG g=global\n", "ARG g\nRUN put /r [$g]", &none), "[global]");
    assert_eq!(result("ARG g=global\n", "ARG g=local\nRUN put /r [$g]", &none), "[local]");
    assert_eq!(result("ARG g=global\n", "ARG g=local\nRUN put /r [$g]", &with(&[("g", "given")])), "[given]");
    assert_eq!(result("ARG g=1\nARG h=$g-2\n", "ARG h\nRUN put /r [$h]", &none), "[1-2]");
}

#[test]
fn the_last_of_arg_and_env_wins_in_the_build_and_env_in_the_image() {
    let none = BuildOptions::default();
    assert_eq!(result("", "ARG v=arg\nENV v=env\nRUN put /r $v", &none), "env");
    assert_eq!(result("", "ENV v=env\nARG v=arg\nRUN put /r $v", &none), "arg");
    let mut world = World::default();
    let outcome = world.build("FROM conform-base:1\nENV v=env\nARG v=arg\nLABEL seen=$v\n");
    assert!(outcome.config().config.env.contains(&"v=env".to_owned()));
    assert_eq!(outcome.config().config.labels["seen"], "arg");
}

#[test]
fn an_instruction_sees_the_values_from_before_it_except_arg() {
    let none = BuildOptions::default();
    assert_eq!(result("", "ENV a=old\nENV a=new b=$a\nRUN put /r $b", &none), "old");
    assert_eq!(result("", "ARG a=1 b=${a}2\nRUN put /r $b", &none), "12");
}

#[test]
fn platform_arguments_are_global_and_can_be_overridden() {
    let none = BuildOptions::default();
    let platform = none.platform.to_string();
    assert_eq!(result("", "ARG TARGETPLATFORM\nRUN put /r $TARGETPLATFORM", &none), platform);
    assert_eq!(result("", "RUN put /r $TARGETOS", &none), "$TARGETOS");
    assert_eq!(result("", "ARG TARGETARCH\nRUN put /r $TARGETARCH", &with(&[("TARGETARCH", "z80")])), "z80");
    let mut world = World::default();
    world.image("base-linux:1", |_| {});
    let outcome = world.build("FROM base-$TARGETOS:1 AS last\nARG TARGETSTAGE\nRUN put /r $TARGETSTAGE\n");
    assert_eq!(outcome.text("/r"), "last");
}

#[test]
fn proxies_reach_nothing_but_the_process() {
    let mut world = World::default();
    let outcome = world.build_with(
        "FROM conform-base:1\nRUN put /r $http_proxy\nENV after=[$http_proxy]\n",
        &with(&[("HTTP_Proxy", "http://p")]),
    );
    let config = &outcome.config().config;
    assert_eq!(config.env.last().map(String::as_str), Some("after=[]"));
    assert_eq!(outcome.config().history[1].created_by, "RUN /bin/sh -c put /r $http_proxy # buildkit");
    assert!(!outcome.events.iter().any(|event| event.starts_with("warning")), "{:?}", outcome.events);
}

#[test]
fn arguments_that_nothing_declares_are_told_of() {
    let mut world = World::default();
    let outcome = world.build_with(
        "ARG known\nFROM conform-base:1\n",
        &with(&[("lost", "1"), ("known", "1"), ("other", "2"), ("BUILDKIT_INLINE_CACHE", "1")]),
    );
    assert_eq!(outcome.events[0], "warning [Warning] One or more build-args [lost other] were not consumed");
}

#[test]
fn an_argument_is_listed_once_with_its_last_value() {
    let mut world = World::default();
    let outcome = world.build("FROM conform-base:1\nARG b=1\nARG a\nARG b=2\nENV a=env\nRUN put /r 1\n");
    let last = &outcome.config().history.last().unwrap().created_by;
    assert_eq!(last, "RUN |2 b=2 a=env /bin/sh -c put /r 1 # buildkit");
}

#[test]
fn a_dockerfile_of_thousands_of_lines_is_planned_quickly() {
    let mut world = World::default();
    world.agreeable = true;
    let lines: String = (0..2500)
        .map(|n| format!("ENV name_{}=value-{n}\nLABEL \"label {n}\"=$name_{}\n", n % 200, n % 200))
        .collect();
    let start = std::time::Instant::now();
    let outcome = world.build(&format!("FROM conform-base:1\n{lines}"));
    assert_eq!(outcome.config().history.len(), 5001);
    assert_eq!(outcome.config().config.labels["label 2499"], "value-2499");
    // Some 20 ms on an idle machine; were it quadratic, a minute.
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn an_epoch_may_name_files_which_have_no_time() {
    for (before, given) in [("", Some("context")), ("ARG SOURCE_DATE_EPOCH=context\n", None), ("", None)] {
        let pairs: Vec<_> = given.map(|value| ("SOURCE_DATE_EPOCH", value)).into_iter().collect();
        assert_eq!(
            result(
                before,
                "ARG SOURCE_DATE_EPOCH\nENV e=${SOURCE_DATE_EPOCH-unset}\nRUN put /r $e",
                &with(&pairs)
            ),
            "unset",
            "{before}"
        );
    }
    let mut timed = with(&[("SOURCE_DATE_EPOCH", "context")]);
    timed.context_times.insert("context".to_owned(), jiff::Timestamp::from_second(1_500_000_000).unwrap());
    assert_eq!(result("", "ARG SOURCE_DATE_EPOCH\nRUN put /r $SOURCE_DATE_EPOCH", &timed), "1500000000");
    let error = World::default()
        .build_with("FROM conform-base:1 AS other\n", &with(&[("SOURCE_DATE_EPOCH", "soon")]))
        .error();
    assert_eq!(error, "invalid SOURCE_DATE_EPOCH: soon");
}
