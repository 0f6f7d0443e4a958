//! `--cache-from` an image of which nothing but config and layers is known (`spec/engine.md` D13).
use crate::fake::{Outcome, World, file};
use std::collections::BTreeMap;
use strata_build::{BuildOptions, Network};

const DOCKERFILE: &str = "FROM conform-base:1\nENV A=1\nWORKDIR /app\nCOPY a /app/a\nARG N=1\nRUN random /out\n\
                          LABEL x=y\nRUN put /last $N\n";

/// A world that knows nothing but the image `v1`, built of `dockerfile`.
fn elsewhere(dockerfile: &str) -> (World, Outcome) {
    let mut world = World::with(&[("a", "1"), ("b", "2")]);
    let first = world.build(dockerfile);
    world.tag("v1", &first);
    world.forget();
    world.cache_from = vec!["v1"];
    (world, first)
}

/// Steps that really ran; what a copy was compared with does not count.
fn done(outcome: &Outcome) -> Vec<&str> {
    outcome.events.iter().filter_map(|event| event.strip_prefix("done ")).collect()
}

fn layers(outcome: &Outcome) -> Vec<String> {
    outcome.config().rootfs.diff_ids.iter().map(ToString::to_string).collect()
}

fn warnings(outcome: &Outcome) -> Vec<&str> {
    outcome.events.iter().filter_map(|event| event.strip_prefix("warning ")).collect()
}

#[test]
fn an_unchanged_dockerfile_takes_every_layer_and_its_date() {
    let (mut world, first) = elsewhere(DOCKERFILE);
    world.context.get_mut("a").unwrap().mtime = 99;
    let second = world.build(DOCKERFILE);
    assert_eq!(done(&second), Vec::<&str>::new());
    assert_eq!(first.id(), second.id());
    assert_eq!(warnings(&second), Vec::<&str>::new());
    // It is recorded: the next build needs no image.
    world.cache_from.clear();
    assert_eq!(world.build(DOCKERFILE).ran(), Vec::<&str>::new());
}

#[test]
fn what_differs_ends_the_loan_and_is_named_only_if_nothing_was_lent() {
    let (mut world, first) = elsewhere(DOCKERFILE);
    let changed = DOCKERFILE.replace("x=y", "x=z");
    let second = world.build(&changed);
    assert_eq!(done(&second), ["[5/5] RUN put /last $N"], "as the classic builder has it");
    assert_eq!(layers(&second)[..4], layers(&first)[..4]);
    assert_eq!(warnings(&second), Vec::<&str>::new());
    for (changed, why) in [
        (DOCKERFILE.replace("A=1", "A=2"), "it has \"ENV A=1\" where the Dockerfile has \"ENV A=2\""),
        (DOCKERFILE.replace("conform-base:1", "other"), "it was built on another base image"),
        (DOCKERFILE.replace("WORKDIR /app", "COPY --link b /app/a"), "it has \"WORKDIR /app\" where"),
    ] {
        let (mut world, _) = elsewhere(DOCKERFILE);
        let second = world.build(&changed);
        assert_eq!(done(&second).len(), 4, "{changed}");
        let said = warnings(&second);
        assert!(said.len() == 1 && said[0].starts_with("--cache-from v1: not used: "), "{said:?}");
        assert!(said[0].contains(why), "{said:?}");
    }
}

#[test]
fn files_count_and_not_the_text_that_names_them() {
    let dockerfile = "FROM conform-base:1\nCOPY a /x\nRUN random /out\n";
    let (mut world, first) = elsewhere(dockerfile);
    world.write("a", "changed");
    let second = world.build(dockerfile);
    assert_eq!(done(&second).len(), 2);
    assert!(
        warnings(&second)[0].ends_with("\"COPY a /x\" would copy other files than it did"),
        "{:?}",
        second.events
    );
    assert_ne!(layers(&second), layers(&first));
    let (mut world, _) = elsewhere(dockerfile);
    world.context.insert("a".to_owned(), crate::fake::File { mode: 0o755, ..file("1") });
    assert_eq!(done(&world.build(dockerfile)).len(), 2, "a mode is content");
}

#[test]
fn arguments_of_a_run_count() {
    let (mut world, _) = elsewhere(DOCKERFILE);
    let build_args = BTreeMap::from([("N".to_owned(), "2".to_owned())]);
    let second = world.build_with(DOCKERFILE, &BuildOptions { build_args, ..BuildOptions::default() });
    assert_eq!(done(&second), ["[4/5] RUN random /out", "[5/5] RUN put /last $N"]);
}

/// What a RUN depends on and no history tells.
#[test]
fn a_run_with_mounts_secrets_or_a_network_of_its_own_always_runs() {
    for flags in [
        "--mount=type=bind,target=/m",
        "--mount=type=cache,target=/m",
        "--mount=type=tmpfs,target=/m",
        "--mount=type=secret,id=s",
        "--mount=type=secret,id=s,env=S",
        "--mount=type=ssh",
        "--network=none",
    ] {
        let dockerfile = format!("FROM conform-base:1\nRUN {flags} random /out\n");
        let (mut world, _) = elsewhere(&dockerfile);
        let second = world.build(&dockerfile);
        assert_eq!(done(&second).len(), 1, "{flags}");
        assert!(warnings(&second)[0].contains("does not tell all"), "{flags}: {:?}", second.events);
    }
    let script = "FROM conform-base:1\nRUN <<EOF\n#!/bin/x\nEOF\n";
    let mut world = World::default();
    world.agreeable = true;
    let first = world.build(script);
    world.tag("v1", &first);
    world.forget();
    world.cache_from = vec!["v1"];
    assert_eq!(done(&world.build(&script.replace("/x", "/y"))).len(), 1, "the script is not in the history");
    let same = BuildOptions { network: Network::None, ..BuildOptions::default() };
    let (mut world, _) = elsewhere("FROM conform-base:1\nRUN --network=none random /out\n");
    let second = world.build_with("FROM conform-base:1\nRUN random /out\n", &same);
    assert_eq!(done(&second), Vec::<&str>::new(), "the build's own network is Docker's to choose");
}

#[test]
fn no_cache_borrows_nothing_and_an_epoch_only_what_is_of_its_time() {
    let (mut world, _) = elsewhere(DOCKERFILE);
    let options = BuildOptions { no_cache: strata_build::NoCache::All, ..BuildOptions::default() };
    assert_eq!(done(&world.build_with(DOCKERFILE, &options)).len(), 3);
    let (mut world, _) = elsewhere(DOCKERFILE);
    let build_args = BTreeMap::from([("SOURCE_DATE_EPOCH".to_owned(), "5".to_owned())]);
    let second = world.build_with(DOCKERFILE, &BuildOptions { build_args, ..BuildOptions::default() });
    assert!(warnings(&second)[0].contains("at another time than SOURCE_DATE_EPOCH"), "{:?}", second.events);
}

#[test]
fn stages_borrow_from_images_of_their_own() {
    let dockerfile = "FROM conform-base:1 AS build\nRUN random /out\nFROM conform-base:1\n\
                      COPY --from=build /out /out\nRUN random /end\n";
    let mut world = World::default();
    let build = BuildOptions { target: Some("build".to_owned()), ..BuildOptions::default() };
    let stage = world.build_with(dockerfile, &build);
    world.tag("stage", &stage);
    let first = world.build(dockerfile);
    world.tag("v1", &first);
    world.forget();
    world.cache_from = vec!["v1", "stage"];
    let second = world.build(dockerfile);
    assert_eq!(done(&second), Vec::<&str>::new());
    assert_eq!(first.id(), second.id());
    // Without the stage's image its RUN runs, gives other files, and the COPY is another.
    world.forget();
    world.cache_from = vec!["v1"];
    assert_eq!(done(&world.build(dockerfile)).len(), 3);
}

/// Docker 20.10.24 built this with `--build-arg NAME=me`, once by each of its builders; the histories are what it wrote.
const EVERYTHING: &str = r#"ARG VER=9
FROM base:1
ARG VER
ARG NAME=world
ARG UNSET
ENV PATH=/bin A=1 B="two words"
LABEL k=v other="x y"
MAINTAINER me
EXPOSE 80 53/udp 80
VOLUME /v /w
WORKDIR /app
WORKDIR /app
COPY a.txt .
COPY --chown=1:2 b.txt dir /srv/x/
ADD w*.cfg /cfg/
RUN echo $NAME > out && echo $VER >> out
RUN true
USER 5:6
WORKDIR sub
RUN ["sh", "-c", "id > /tmp/id"]
SHELL ["/bin/sh", "-e", "-c"]
RUN echo shell > /tmp/sh
HEALTHCHECK --interval=5s --retries=3 CMD true
STOPSIGNAL SIGINT
ONBUILD RUN echo triggered
ENTRYPOINT ["sh"]
CMD echo "hi"
"#;

#[test]
fn every_row_of_docker_is_recognised() {
    let json =
        [("classic", include_str!("lend/classic.json")), ("buildkit", include_str!("lend/buildkit.json"))];
    for (name, json) in json {
        let fields: serde_json::Value = serde_json::from_str(json).unwrap();
        let history = serde_json::from_value(fields["history"].clone()).unwrap();
        let mut world = World::default();
        world.agreeable = true;
        world.history(name, history);
        world.cache_from = vec![name];
        let build_args = BTreeMap::from([("NAME".to_owned(), "me".to_owned())]);
        let built = world.build_with(EVERYTHING, &BuildOptions { build_args, ..BuildOptions::default() });
        assert_eq!(done(&built), Vec::<&str>::new(), "{name}: {:?}", built.events);
        let there = |config: &strata_oci::ImageConfig| {
            config.rootfs.diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (ours, theirs) = (there(built.config()), there(&world.images[name].0));
        assert!(theirs.iter().all(|layer| ours.contains(layer)), "{name}");
        // Two instructions changed nothing: the classic builder wrote no layers for them.
        assert_eq!(ours.len() - theirs.len(), if name == "classic" { 2 } else { 0 });
    }
}
