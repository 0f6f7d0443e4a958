//! Reachability, names, targets, parallel stages (`spec/build.md` 1.9).
use crate::fake::{Tree, World, file};
use strata_build::{BuildOptions, NamedContext};

fn target(name: &str) -> BuildOptions {
    BuildOptions { target: Some(name.to_owned()), ..BuildOptions::default() }
}

#[test]
fn unreachable_stages_are_neither_resolved_nor_run() {
    let mut world = World::default();
    let outcome = world.build(
        "FROM nobody/has-this AS unused\nRUN fail 1\nFROM conform-base:1 AS used\nRUN put /a 1\n\
         FROM conform-base:1\nCOPY --from=used /a /a\n",
    );
    assert_eq!(outcome.text("/a"), "1");
    assert_eq!(outcome.log.iter().filter(|call| call.starts_with("resolve")).count(), 1);
}

#[test]
fn a_target_is_found_in_any_case_and_later_stages_are_left_alone() {
    let mut world = World::default();
    let outcome = world.build_with(
        "FROM conform-base:1 AS Alpha\nRUN put /a 1\nFROM conform-base:1\nRUN fail 9\n",
        &target("aLPHA"),
    );
    assert_eq!(outcome.ran(), ["exec put /a 1"]);
}

#[test]
fn a_child_stage_inherits_config_arguments_and_layers() {
    let mut world = World::default();
    let outcome = world.build(
        "FROM conform-base:1 AS a\nARG v=arg\nENV e=env\nWORKDIR /w\nRUN put /a 1\nFROM a\nRUN put /b $v $e\n",
    );
    assert_eq!(outcome.text("/b"), "arg env");
    assert_eq!(outcome.config().config.working_dir, "/w");
    assert_eq!(outcome.built().layers.len(), 4);
    let last = &outcome.config().history.last().unwrap().created_by;
    assert_eq!(last, "RUN |1 v=arg /bin/sh -c put /b $v $e # buildkit");
}

#[test]
fn independent_stages_run_side_by_side() {
    let mut world = World::default();
    // Each waits for the other: one after the other this would never end.
    let outcome = world.build(
        "FROM conform-base:1 AS a\nRUN meet here; put /a 1\nFROM conform-base:1 AS b\nRUN meet here ; put /b 1\n\
         FROM conform-base:1\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n",
    );
    assert_eq!((outcome.text("/a"), outcome.text("/b")), ("1".to_owned(), "1".to_owned()));
}

#[test]
fn the_target_itself_runs_beside_the_stages_it_copies_from() {
    let mut world = World::default();
    let outcome = world.build(
        "FROM conform-base:1 AS a\nRUN meet here; put /a 1\nFROM conform-base:1\nRUN meet here ; put /b 1\nCOPY --from=a /a /a\n",
    );
    assert_eq!(outcome.text("/a"), "1");
}

#[test]
fn one_job_is_enough_for_any_graph() {
    let mut world = World::default();
    let dockerfile = "FROM conform-base:1 AS a\nRUN put /a 1\nFROM a AS b\nRUN put /b 1\nFROM a AS c\nRUN put /c 1\n\
                      FROM conform-base:1\nCOPY --from=b /b /b\nCOPY --from=c /c /c\nCOPY --from=a /a /a\n";
    for jobs in [0, 1] {
        let options = BuildOptions { jobs, no_cache: strata_build::NoCache::All, ..BuildOptions::default() };
        assert_eq!(world.build_with(dockerfile, &options).ran().len(), 6);
    }
}

#[test]
fn stages_are_found_by_index_name_and_nearest_earlier_duplicate() {
    let mut world = World::default();
    let outcome = world.build(
        "FROM conform-base:1 AS d\nRUN put /n 1\nFROM conform-base:1 AS d\nRUN put /n 2\n\
         FROM conform-base:1\nCOPY --from=D /n /name\nCOPY --from=0 /n /index\n",
    );
    assert_eq!((outcome.text("/name"), outcome.text("/index")), ("2".to_owned(), "1".to_owned()));
}

#[test]
fn images_are_copied_from_without_being_bases() {
    let mut world = World::default();
    world.image("other:2", |_| {});
    let outcome = world.build("FROM scratch\nCOPY --from=other:2 /etc/os-release /r\n");
    assert_eq!(outcome.text("/r"), "other:2");
    let image = outcome.config();
    assert_eq!(image.config.working_dir, "/");
    assert_eq!(image.config.env, ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
    assert_eq!(image.rootfs.diff_ids.len(), 1);
}

#[test]
fn a_named_context_replaces_stage_image_and_base() {
    let mut world = World::default();
    world.image("replacement:1", |_| {});
    world.named.insert("files".to_owned(), [("f".to_owned(), file("context"))].into());
    let image = NamedContext::Image("replacement:1".parse().unwrap());
    let contexts = [("Files".to_owned(), NamedContext::Files), ("alpine".to_owned(), image)].into();
    let options = BuildOptions { contexts, ..BuildOptions::default() };
    world.named.insert("Files".to_owned(), Tree::from([("f".to_owned(), file("context"))]));
    let outcome = world.build_with(
        "FROM conform-base:1 AS files\nRUN fail 5\nFROM alpine:latest\nCOPY --from=files f /f\n",
        &options,
    );
    assert_eq!(
        (outcome.text("/f"), outcome.text("/etc/os-release")),
        ("context".to_owned(), "replacement:1".to_owned())
    );
}

#[test]
fn a_stage_without_steps_is_its_base() {
    let mut world = World::default();
    let outcome = world.build("FROM conform-base:1 AS a\nLABEL a=b\nFROM a AS b\nFROM b\nRUN put /x 1\n");
    assert_eq!(outcome.config().config.labels["a"], "b");
    assert_eq!(world.build("FROM conform-base:1\nRUN put /x 1\n").ran(), Vec::<&str>::new(), "the same key");
}

#[test]
fn from_alone_has_no_new_rows_and_needs_no_clock() {
    let mut world = World::default();
    let first = world.build("FROM conform-base:1\n");
    let second = world.build("FROM conform-base:1\n");
    assert_eq!(first.id(), second.id());
    assert_eq!(first.config().history.len(), 1);
    let labelled =
        BuildOptions { labels: [("a".to_owned(), "b".to_owned())].into(), ..BuildOptions::default() };
    let third = world.build_with("FROM conform-base:1\nLABEL a=file\n", &labelled);
    assert_eq!(third.config().config.labels["a"], "b");
    assert_eq!(third.config().history.len(), 2);
}
