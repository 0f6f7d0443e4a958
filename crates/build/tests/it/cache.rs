//! What hits and what misses, rule by rule (`spec/build.md` 4.1), each both ways.
use crate::fake::{Tree, World, file};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use strata_build::{BuildOptions, CacheResult, Entitlement, Input, NamedContext, NoCache};

fn args(pairs: &[(&str, &str)]) -> BuildOptions {
    let build_args = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    BuildOptions { build_args, ..BuildOptions::default() }
}

/// Builds one file, then another; gives what the second build ran.
fn then(world: &mut World, first: &str, second: &str) -> Vec<String> {
    world.build(first).built();
    let outcome = world.build(second);
    outcome.built();
    outcome.ran().into_iter().map(str::to_owned).collect()
}

#[test]
fn a_full_hit_runs_nothing_and_gives_the_same_image() {
    let mut world = World::with(&[("app/a", "1"), ("b", "2")]);
    let dockerfile = "FROM conform-base:1 AS build\nWORKDIR /src\nCOPY app .\nRUN random /out\n\
                      FROM conform-base:1\nLABEL a=b\nCOPY --from=build /out /out\nCOPY b /b\nENV x=y\n";
    let first = world.build(dockerfile);
    let second = world.build(dockerfile);
    assert_eq!(second.ran(), Vec::<&str>::new());
    assert_eq!(first.id(), second.id(), "dates come from the records");
    let calls: Vec<&str> = second.log.iter().map(|call| call.split(' ').next().unwrap()).collect();
    assert!(calls.iter().all(|call| matches!(*call, "resolve" | "select")), "{calls:?}");
    assert_eq!(
        second.events.iter().filter(|event| event.starts_with("cached")).count(),
        7,
        "{:?}",
        second.events
    );
}

#[test]
fn content_decides_and_time_does_not() {
    let mut world = World::with(&[("a", "1")]);
    let dockerfile = "FROM conform-base:1\nCOPY a /a\nRUN put /b 1\n";
    world.build(dockerfile).built();
    world.context.get_mut("a").unwrap().mtime = 99;
    assert_eq!(world.build(dockerfile).ran(), Vec::<&str>::new());
    world.context.get_mut("a").unwrap().mode = 0o755;
    assert_eq!(world.build(dockerfile).ran().len(), 2, "a mode is content");
    world.write("a", "2");
    assert_eq!(world.build(dockerfile).ran().len(), 2);
    world.write("unused", "3");
    assert_eq!(world.build(dockerfile).ran(), Vec::<&str>::new(), "files that nothing copies do not count");
}

#[test]
fn a_renamed_match_of_a_wildcard_misses() {
    let mut world = World::with(&[("file1", "x"), ("other", "y")]);
    let dockerfile = "FROM conform-base:1\nCOPY file* /d/\n";
    world.build(dockerfile).built();
    let old = world.context.remove("file1").unwrap();
    world.context.insert("file2".to_owned(), old);
    assert_eq!(world.build(dockerfile).ran().len(), 1);
    world.write("other", "changed");
    assert_eq!(world.build(dockerfile).ran(), Vec::<&str>::new());
}

#[test]
fn comments_names_and_metadata_do_not_enter_keys() {
    let mut world = World::default();
    let again = then(
        &mut world,
        "FROM conform-base:1\nRUN put /a 1\nLABEL a=1\nRUN put /b 1\n",
        "# a comment\nFROM conform-base:1 AS named\nCMD other\n\n# another\nRUN put /a 1\nLABEL a=2\nVOLUME /v\nRUN put /b 1\n",
    );
    assert_eq!(again, Vec::<String>::new());
}

#[test]
fn env_and_user_and_workdir_enter_the_key_of_run() {
    for (line, runs) in [("ENV e=2", 1), ("USER 7", 1), ("SHELL [\"/bin/bash\",\"-c\"]", 1), ("ENV e=1", 0)] {
        let mut world = World::default();
        let second = format!("FROM conform-base:1\nENV e=1\n{line}\nRUN put /a 1\n");
        let again = then(&mut world, "FROM conform-base:1\nENV e=1\nRUN put /a 1\n", &second);
        assert_eq!(again.len(), runs, "{line}");
    }
    let mut world = World::default();
    let again =
        then(&mut world, "FROM conform-base:1\nWORKDIR /a\n", "FROM conform-base:1\nUSER 7\nWORKDIR /a\n");
    assert_eq!(again.len(), 1, "USER owns what WORKDIR makes");
}

#[test]
fn env_reaches_copy_only_through_its_words() {
    let mut world = World::with(&[("a", "1")]);
    let again =
        then(&mut world, "FROM conform-base:1\nCOPY a /a\n", "FROM conform-base:1\nENV x=1\nCOPY a /a\n");
    assert_eq!(again, Vec::<String>::new());
    let again = then(
        &mut world,
        "FROM conform-base:1\nENV d=/1\nCOPY a $d\n",
        "FROM conform-base:1\nENV d=/2\nCOPY a $d\n",
    );
    assert_eq!(again.len(), 1);
}

#[test]
fn copy_flags_enter_its_key() {
    for flags in ["--chown=1", "--chmod=755", "--exclude=zz", "--parents", "--link"] {
        let mut world = World::with(&[("a", "1")]);
        let second = format!("FROM conform-base:1\nCOPY {flags} a /a\n");
        assert_eq!(then(&mut world, "FROM conform-base:1\nCOPY a /a\n", &second).len(), 1, "{flags}");
    }
}

#[test]
fn a_build_argument_misses_at_the_first_run_after_it() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1\nRUN put /a 1\nARG v=1\nWORKDIR /w\nRUN put /b 1\n";
    world.build(dockerfile).built();
    let outcome = world.build_with(dockerfile, &args(&[("v", "2")]));
    assert_eq!(outcome.ran(), ["exec put /b 1"]);
    assert_eq!(outcome.missed(), ["[4/4] RUN put /b 1: ARG v changed from \"1\" to \"2\""]);
    let outcome = world.build_with(dockerfile, &args(&[("unused", "2"), ("v", "2")]));
    assert_eq!(outcome.ran(), Vec::<&str>::new(), "undeclared arguments never matter");
}

#[test]
fn an_env_of_the_same_name_hides_the_argument() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1\nARG v=1\nENV v=fixed\nRUN put /b 1\n";
    world.build(dockerfile).built();
    assert_eq!(world.build_with(dockerfile, &args(&[("v", "2")])).ran(), Vec::<&str>::new());
}

#[test]
fn proxies_never_enter_the_key_unless_declared() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1\nRUN put /b 1\n";
    world.build(dockerfile).built();
    let proxy = args(&[("http_proxy", "http://p")]);
    let outcome = world.build_with(dockerfile, &proxy);
    assert_eq!(outcome.ran(), Vec::<&str>::new());
    let declared = "FROM conform-base:1\nARG http_proxy\nRUN put /b 1\n";
    assert_eq!(world.build_with(declared, &proxy).ran().len(), 1);
}

#[test]
fn a_new_base_misses_everything() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1\nRUN put /b 1\n";
    world.build(dockerfile).built();
    world.image("conform-base:1", |config| config.config.stop_signal = Some("INT".to_owned()));
    let outcome = world.build(dockerfile);
    assert_eq!(outcome.ran().len(), 1);
    assert!(outcome.missed()[0].contains("the base image changed from "), "{:?}", outcome.missed());
}

#[test]
fn equal_content_of_another_stage_rejoins_the_cache() {
    let mut world = World::with(&[("src", "1")]);
    let dockerfile = "FROM conform-base:1 AS build\nCOPY src /src\nRUN put /out same\n\
                      FROM conform-base:1\nCOPY --from=build /out /out\nRUN put /after 1\n";
    world.build(dockerfile).built();
    world.write("src", "2");
    let outcome = world.build(dockerfile);
    assert_eq!(
        outcome.ran(),
        ["copy [Path(\"src\")] /src", "exec put /out same"],
        "the last stage is not run"
    );
    let again = world.build(dockerfile);
    assert_eq!(again.ran(), Vec::<&str>::new());
    assert_eq!(again.id(), outcome.id());
}

#[test]
fn other_content_of_another_stage_misses() {
    let mut world = World::with(&[("src", "1")]);
    let dockerfile = "FROM conform-base:1 AS build\nCOPY src /src\nRUN cat /src /out\n\
                      FROM conform-base:1\nCOPY --from=build /out /out\nRUN put /after 1\n";
    world.build(dockerfile).built();
    world.write("src", "2");
    let outcome = world.build(dockerfile);
    assert_eq!(outcome.ran().len(), 4);
    assert_eq!(outcome.text("/out"), "2");
}

#[test]
fn a_bind_mount_counts_by_its_content() {
    let mut world = World::with(&[("src", "1"), ("ctx", "1")]);
    let dockerfile = "FROM conform-base:1 AS build\nCOPY src /src\nRUN put /out same\n\
                      FROM conform-base:1\nRUN --mount=from=build,source=/out,target=/m cat /m/out /got\n\
                      RUN --mount=source=ctx,target=/c cat /c/ctx /ctx\n";
    let first = world.build(dockerfile);
    assert_eq!((first.text("/got"), first.text("/ctx")), ("same".to_owned(), "1".to_owned()));
    world.write("src", "2");
    assert_eq!(world.build(dockerfile).ran().len(), 2, "only the build stage");
    world.write("ctx", "2");
    let outcome = world.build(dockerfile);
    assert_eq!(outcome.ran(), ["exec cat /c/ctx /ctx"]);
    assert_eq!(outcome.text("/ctx"), "2");
}

#[test]
fn a_linked_copy_survives_a_change_below_it() {
    let mut world = World::with(&[("a", "1"), ("b", "1")]);
    let dockerfile = "FROM conform-base:1\nCOPY a /a\nCOPY --link b /b\nRUN put /c 1\n";
    world.build(dockerfile).built();
    world.write("a", "2");
    let outcome = world.build(dockerfile);
    assert_eq!(outcome.ran(), ["copy [Path(\"a\")] /a", "exec put /c 1"]);
    assert_eq!((outcome.text("/a"), outcome.text("/b")), ("2".to_owned(), "1".to_owned()));
    world.write("b", "2");
    let outcome = world.build(dockerfile);
    assert_eq!(outcome.text("/b"), "2");
    assert_eq!(outcome.built().layers.len(), 4);
}

#[test]
fn no_cache_runs_everything_but_workdir_and_records_it_anew() {
    let mut world = World::with(&[("a", "1")]);
    let dockerfile = "FROM conform-base:1\nWORKDIR /w\nRUN random /r\nCOPY a /a\nWORKDIR /x\n";
    let first = world.build(dockerfile);
    let no_cache = BuildOptions { no_cache: NoCache::All, ..BuildOptions::default() };
    let second = world.build_with(dockerfile, &no_cache);
    assert_eq!(second.ran(), ["exec random /r", "copy [Path(\"a\")] /a", "copy workdir /x"]);
    assert_ne!(first.text("/r"), second.text("/r"));
    let third = world.build(dockerfile);
    assert_eq!(third.ran(), Vec::<&str>::new());
    assert_eq!(third.id(), second.id(), "what --no-cache made is what the cache now holds");
}

#[test]
fn no_cache_of_one_stage_spares_the_others_but_not_what_stands_on_it() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1 AS Other\nRUN random /o\nFROM conform-base:1 AS mine\nRUN random /m\n\
                      FROM mine\nRUN put /last 1\nCOPY --from=other /o /o\n";
    world.build(dockerfile).built();
    let no_cache =
        BuildOptions { no_cache: NoCache::Stages(vec!["MINE".to_owned()]), ..BuildOptions::default() };
    let outcome = world.build_with(dockerfile, &no_cache);
    let ran: Vec<&str> = outcome.ran();
    assert_eq!(ran, ["exec random /m", "exec put /last 1", "copy [Path(\"/o\")] /o"]);
}

#[test]
fn a_failed_step_is_not_recorded_but_those_before_it_are() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1\nRUN random /a\nRUN fail 3\n";
    assert_eq!(
        world.build(dockerfile).error(),
        "process \"/bin/sh -c fail 3\" did not complete successfully: exit code: 3"
    );
    let again = world.build(dockerfile);
    assert_eq!(again.ran(), ["exec fail 3"]);
}

#[test]
fn a_layer_that_cannot_be_packed_fails_the_build_and_is_not_recorded() {
    let mut world = World::default();
    world.fill_disk();
    assert_eq!(world.build("FROM conform-base:1\nRUN put /a 1\n").error(), "no space left on device");
    assert!(world.records().iter().all(|record| matches!(record.result, CacheResult::Selection(_))));
}

#[test]
fn records_whose_layers_are_gone_are_misses() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1\nRUN put /a 1\nRUN put /b 1\n";
    let first = world.build(dockerfile);
    world.lose_layers();
    let second = world.build(dockerfile);
    assert_eq!(second.ran().len(), 2);
    assert!(second.missed()[0].ends_with("its result is no longer in the store"), "{:?}", second.missed());
    assert_eq!(second.config().rootfs, first.config().rootfs);
}

#[test]
fn a_remembered_selection_of_a_stage_that_must_run_anyway_is_not_trusted() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1 AS s\nRUN random /r\nFROM conform-base:1\nCOPY --from=s /r /r\n";
    let first = world.build(dockerfile);
    world.lose_records();
    let second = world.build(dockerfile);
    assert_ne!(first.text("/r"), second.text("/r"));
    let third = world.build(dockerfile);
    assert_eq!(third.ran(), Vec::<&str>::new());
    assert_eq!(third.text("/r"), second.text("/r"));
}

#[test]
fn the_next_step_does_not_wait_for_packing() {
    let mut world = World::default();
    world.packing = Duration::from_millis(400);
    let lines: String = (0..8).map(|n| format!("RUN put /{n} 1\n")).collect();
    let start = Instant::now();
    let outcome = world.build(&format!("FROM conform-base:1\n{lines}"));
    assert_eq!(outcome.built().layers.len(), 9);
    // Waiting for each would take 3.2 s; the last one's packing alone takes 0.4 s.
    assert!(start.elapsed() < Duration::from_millis(2800), "{:?}", start.elapsed());
    assert_eq!(world.records().len(), 8, "all are recorded before the build returns");
}

#[test]
fn two_stages_with_the_same_step_run_it_once() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1 AS a\nRUN random /r\nRUN put /a 1\n\
                      FROM conform-base:1 AS b\nRUN random /r\nRUN put /b 1\n\
                      FROM conform-base:1\nCOPY --from=a /r /ra\nCOPY --from=b /r /rb\n";
    let outcome = world.build(dockerfile);
    assert_eq!(outcome.log.iter().filter(|call| *call == "exec random /r").count(), 1);
    assert_eq!(outcome.text("/ra"), outcome.text("/rb"));
}

#[test]
fn a_named_context_counts_by_its_content_not_its_name() {
    let mut world = World::default();
    let tree = |text: &str| -> Tree { [("f".to_owned(), file(text))].into() };
    world.named.insert("one".to_owned(), tree("x"));
    world.named.insert("two".to_owned(), tree("x"));
    world.named.insert("three".to_owned(), tree("y"));
    let contexts: BTreeMap<_, _> =
        ["one", "two", "three"].iter().map(|name| ((*name).to_owned(), NamedContext::Files)).collect();
    let options = BuildOptions { contexts, ..BuildOptions::default() };
    let dockerfile = |name: &str| format!("FROM conform-base:1\nCOPY --from={name} f /f\n");
    world.build_with(&dockerfile("one"), &options).built();
    assert_eq!(world.build_with(&dockerfile("two"), &options).ran(), Vec::<&str>::new());
    assert_eq!(world.build_with(&dockerfile("three"), &options).ran().len(), 1);
}

#[test]
fn heredocs_count_by_their_expanded_text() {
    let mut world = World::default();
    let dockerfile =
        |who: &str| format!("FROM conform-base:1\nARG who={who}\nCOPY <<EOF /f\nhello $who\nEOF\n");
    let again = then(&mut world, &dockerfile("a"), &dockerfile("a"));
    assert_eq!(again, Vec::<String>::new());
    let outcome = world.build(&dockerfile("b"));
    assert_eq!(outcome.ran().len(), 1);
    assert_eq!(outcome.text("/f"), "hello b\n");
}

#[test]
fn what_only_the_worker_knows_of_a_run_enters_its_key() {
    let mut world = World::with(&[("a", "1")]);
    let dockerfile = "FROM conform-base:1\nCOPY a /a\nRUN put /b 1\n";
    world.build(dockerfile).built();
    let run_inputs = vec![Input { name: "ulimit nofile".to_owned(), value: "1024:1024".to_owned() }];
    let options = BuildOptions { run_inputs, ..BuildOptions::default() };
    let outcome = world.build_with(dockerfile, &options);
    assert_eq!(outcome.ran(), ["exec put /b 1"]);
    assert_eq!(outcome.missed(), ["[3/3] RUN put /b 1: ulimit nofile is new: \"1024:1024\""]);
}

#[test]
fn network_security_and_mounts_enter_the_key_of_run_but_not_what_a_cache_is_called() {
    let first = "FROM conform-base:1\nRUN --mount=type=cache,target=/c,id=one put /a 1\n";
    for (flags, runs) in [
        ("--mount=type=cache,target=/c,id=two,sharing=locked", 0),
        ("--mount=type=cache,target=/d,id=one", 1),
        ("--mount=type=cache,target=/c,ro", 1),
        ("--mount=type=tmpfs,target=/c", 1),
        ("--mount=type=cache,target=/c --network=none", 1),
        ("--mount=type=cache,target=/c --mount=type=secret,id=s", 1),
    ] {
        let mut world = World::default();
        let again = then(&mut world, first, &format!("FROM conform-base:1\nRUN {flags} put /a 1\n"));
        assert_eq!(again.len(), runs, "{flags}");
    }
}

#[test]
fn files_that_change_while_they_are_copied_leave_no_record() {
    let mut world = World::with(&[("a", "1")]);
    world.then = Some([("a".to_owned(), file("changing"))].into());
    let dockerfile =
        "FROM conform-base:1 AS s\nCOPY a /a\nRUN put /b 1\nFROM conform-base:1\nCOPY --from=s /a /z\n";
    let outcome = world.build(dockerfile);
    assert_eq!(outcome.built().layers.len(), 2);
    assert!(
        outcome.events.iter().any(|event| event.contains("changed while they were read")),
        "{:?}",
        outcome.events
    );
    let places: Vec<_> = world.records().into_iter().filter_map(|record| record.place).collect();
    assert_eq!(
        places.len(),
        1,
        "only the last stage's COPY, which is keyed by what was really copied: {places:?}"
    );
    world.then = None;
    let again = world.build(dockerfile);
    assert_eq!(again.ran(), ["copy [Path(\"a\")] /a", "exec put /b 1"]);
    assert_eq!(world.build(dockerfile).ran(), Vec::<&str>::new());
}

#[test]
fn where_a_run_happens_enters_its_key() {
    let first = "FROM conform-base:1\nWORKDIR /a\nWORKDIR /b\nRUN put /x 1\n";
    for (second, runs) in [
        ("FROM conform-base:1\nWORKDIR /a\nWORKDIR /b\nRUN [\"/bin/sh\", \"-c\", \"put /x 1\"]\n", 0),
        ("FROM conform-base:1\nWORKDIR /a\nWORKDIR /b\nRUN put /x  1\n", 1),
        ("FROM conform-base:1\nWORKDIR /a\nWORKDIR ../b\nRUN put /x 1\n", 0),
    ] {
        assert_eq!(then(&mut World::default(), first, second).len(), runs, "{second}");
    }
    let options = BuildOptions { network: strata_build::Network::None, ..BuildOptions::default() };
    let mut world = World::default();
    world.build(first).built();
    assert_eq!(world.build_with(first, &options).ran(), ["exec put /x 1"], "the build's network");
    let mut options = args(&[("BUILDKIT_SANDBOX_HOSTNAME", "box")]);
    assert_eq!(world.build_with(first, &options).ran(), ["exec put /x 1"], "the host name");
    options.build_args.clear();
    assert_eq!(world.build_with(first, &options).ran(), Vec::<&str>::new());
}

#[test]
fn the_order_of_variables_and_their_number_enter_the_key_of_run() {
    let mut world = World::default();
    world.build("FROM conform-base:1\nENV a=1 b=2\nRUN put /x 1\n").built();
    for (lines, runs) in [
        ("ENV b=2 a=1", 1),
        ("ENV a=1\nENV b=2", 0),
        ("ENV a=1 b=2 c=", 1),
        ("ENV a=0 b=2\nENV a=1", 0),
        ("ARG a=1\nARG b=2", 0),
        ("ARG unset\nENV a=1 b=2", 0),
    ] {
        let outcome = world.build(&format!("FROM conform-base:1\n{lines}\nRUN put /x 1\n"));
        assert_eq!(outcome.ran().len(), runs, "{lines}");
        world.build("FROM conform-base:1\nENV a=1 b=2\nRUN put /x 1\n").built();
    }
}

#[test]
fn an_argument_that_was_given_is_the_same_as_its_default() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1\nARG v=1\nRUN put /b 1\n";
    world.build(dockerfile).built();
    assert_eq!(world.build_with(dockerfile, &args(&[("v", "1")])).ran(), Vec::<&str>::new());
    assert_eq!(world.build_with(dockerfile, &args(&[("v", "")])).ran().len(), 1, "empty is a value");
    let global = "ARG v=1\nFROM conform-base:1\nARG v\nRUN put /b 1\n";
    assert_eq!(world.build(global).ran(), Vec::<&str>::new(), "where the value comes from is not asked");
}

#[test]
fn a_copy_is_keyed_by_what_it_takes_and_where_it_puts_it() {
    let first = "FROM conform-base:1\nCOPY one/f /d/\n";
    for (line, runs) in [
        ("COPY two/f /d/", 0),
        ("COPY one/g /d/", 1),
        ("COPY one/f /d", 1),
        ("COPY one/f /e/", 1),
        ("ADD one/f /d/", 1),
        ("COPY one/f one/f /d/", 1),
        ("WORKDIR /\nCOPY one/f d/", 0),
    ] {
        let mut world = World::with(&[("one/f", "x"), ("two/f", "x"), ("one/g", "x")]);
        let again = then(&mut world, first, &format!("FROM conform-base:1\n{line}\n"));
        assert_eq!(again.len(), runs, "{line}");
    }
    let mut world = World::with(&[("one/f", "x"), ("two/f", "x")]);
    let again = then(
        &mut world,
        "FROM conform-base:1\nCOPY --parents one/f /d/\n",
        "FROM conform-base:1\nCOPY --parents two/f /d/\n",
    );
    assert_eq!(again.len(), 1, "--parents keeps the directory");
}

#[test]
fn secrets_count_by_name_and_never_by_value() {
    let first = "FROM conform-base:1\nRUN --mount=type=secret,id=a,env=X put /a 1\n";
    for (flags, runs) in [
        ("--mount=type=secret,id=a,env=X", 0),
        ("--mount=type=secret,id=b,env=X", 1),
        ("--mount=type=secret,id=a,env=Y", 1),
        ("--mount=type=secret,id=a", 1),
        ("--mount=type=secret,id=a,env=X,required=false", 0),
        // Without the secret the step would not have run.
        ("--mount=type=secret,id=a,env=X,required", 1),
    ] {
        let mut world = World::default();
        world.agreeable = true;
        let again = then(&mut world, first, &format!("FROM conform-base:1\nRUN {flags} put /a 1\n"));
        assert_eq!(again.len(), runs, "{flags}");
    }
}

#[test]
fn who_may_read_a_mount_enters_the_key_of_run() {
    for (kind, usual, other) in [
        ("type=secret,id=a", "mode=0400", "mode=0444"),
        ("type=secret,id=a", "uid=0", "uid=1000"),
        ("type=ssh", "mode=0600", "gid=5"),
        ("type=cache,target=/c", "mode=0755,uid=0,gid=0", "mode=0700"),
    ] {
        let mut world = World::default();
        world.agreeable = true;
        let file = |options: &str| format!("FROM conform-base:1\nRUN --mount={kind},{options} put /a 1\n");
        world.build(&format!("FROM conform-base:1\nRUN --mount={kind} put /a 1\n")).built();
        assert_eq!(
            world.build(&file(usual)).ran(),
            Vec::<&str>::new(),
            "{kind},{usual} is what it is anyway"
        );
        assert_eq!(world.build(&file(other)).ran(), ["exec put /a 1"], "{kind},{other}");
    }
}

/// What the other tests leave: privileges, the platform, the time of WORKDIR, sizes, and who may write.
#[test]
fn the_rest_of_what_a_step_is() {
    let build = |dockerfile: &str, options: &BuildOptions, again: &str, changed: &BuildOptions| {
        let mut world = World::with(&[("m", "1")]);
        world.build_with(dockerfile, options).built();
        assert_eq!(world.build_with(dockerfile, options).ran(), Vec::<&str>::new(), "{dockerfile}");
        world.build_with(again, changed).ran().len()
    };
    let usual = BuildOptions { allow: [Entitlement::SecurityInsecure].into(), ..BuildOptions::default() };
    let from = |lines: &str| format!("FROM conform-base:1\n{lines}\n");
    for (first, second, runs) in [
        ("RUN put /a 1", "RUN --security=sandbox put /a 1", 0),
        ("RUN put /a 1", "RUN --security=insecure put /a 1", 1),
        ("RUN --mount=type=tmpfs,target=/t put /a 1", "RUN --mount=type=tmpfs,target=/t,size=1m put /a 1", 1),
        ("RUN --mount=target=/t,source=m put /a 1", "RUN --mount=target=/t,source=m,rw put /a 1", 1),
        ("RUN --mount=target=/t,source=m put /a 1", "RUN --mount=target=/t,source=m,ro put /a 1", 0),
    ] {
        assert_eq!(build(&from(first), &usual, &from(second), &usual), runs, "{second}");
    }
    let epoch = |seconds: &str| args(&[("SOURCE_DATE_EPOCH", seconds)]);
    let workdir = from("WORKDIR /new");
    assert_eq!(build(&workdir, &epoch("1"), &workdir, &epoch("1")), 0);
    assert_eq!(build(&workdir, &epoch("1"), &workdir, &epoch("2")), 1);
    assert_eq!(build(&workdir, &epoch("1"), &workdir, &usual), 1);
    let run = "FROM scratch\nRUN put /a 1\n";
    let arm = BuildOptions { platform: "linux/arm64".parse().unwrap(), ..BuildOptions::default() };
    assert_eq!(build(run, &usual, run, &arm), 1, "the platform of a RUN");
    assert_eq!(build(run, &arm, run, &arm), 0);
}

#[test]
fn a_target_shares_the_cache_of_the_whole() {
    let mut world = World::with(&[("a", "1")]);
    let dockerfile = "FROM conform-base:1 AS one\nRUN random /r\nFROM one AS two\nCOPY a /a\n";
    let whole = world.build(dockerfile);
    let options = BuildOptions { target: Some("one".to_owned()), ..BuildOptions::default() };
    let part = world.build_with(dockerfile, &options);
    assert_eq!(part.ran(), Vec::<&str>::new());
    assert_eq!(part.text("/r"), whole.text("/r"));
}
