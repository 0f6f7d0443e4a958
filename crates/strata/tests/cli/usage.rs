//! Wrong command lines: sentences, usage lines and exit codes (`spec/engine.md`, section 2).

use crate::world::World;

#[test]
fn wrong_flags_are_125_on_every_command() {
    let world = World::new();
    insta::assert_snapshot!(world.transcript(&[
        "images --bogus",
        "images -qz",
        "run --bogus image",
        "run -z image",
        "rm --forec x",
        "images --filter",
        "images -f bad",
        "run --memory abc image",
        "run --cpus abc image",
        "run --ulimit bad image",
        "run --add-host bad image",
        "run --mount bad image",
        "run --rm=maybe image",
        "stop -t soon x",
        "logs --tail many x",
        "build --progress fancy .",
    ]));
}

#[test]
fn every_command_refuses_an_unknown_flag_with_125() {
    let world = World::new();
    let commands = "build images history inspect tag rmi save load import run ps logs exec stop kill rm wait diff info \
        version|image ls|image history|image inspect|image rm|image prune|container ls|container inspect|container prune|\
        builder prune|volume ls|volume create|volume inspect|volume rm|volume prune|system df|system info|system fsck|\
        system reset|registry serve|registry gc|image copy|image rebase|manifest create|manifest push";
    for command in commands.split('|').flat_map(|part| match part.contains("images") {
        true => part.split_whitespace().map(str::to_owned).collect(),
        false => vec![part.trim().to_owned()],
    }) {
        let mut arguments: Vec<&str> = command.split(' ').collect();
        arguments.push("--no-such-flag");
        let output = world.output(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{command}: {error}");
        assert!(error.starts_with("unknown flag: --no-such-flag"), "{command}: {error}");
        assert!(error.contains(&format!("\n\nUsage:  strata {command} ")), "{command}: {error}");
        assert!(
            error.ends_with(&format!("\n\nRun 'strata {command} --help' for more information\n")),
            "{command}: {error}"
        );
    }
}

#[test]
fn wrong_counts_are_1() {
    let world = World::new();
    insta::assert_snapshot!(world.transcript(&[
        "run",
        "exec box",
        "history",
        "history a b",
        "tag a",
        "images a b",
        "ps a",
        "image rm",
        "volume create a b",
        "import",
        "build",
        "build a b",
        "nosuch",
        "image nosuch",
        "imagse",
    ]));
}

#[test]
fn groups_and_help_are_no_failure() {
    let world = World::new();
    for arguments in
        [&[][..], &["image"], &["volume"], &["system"], &["help"], &["help", "run"], &["--help"], &["-v"]]
    {
        let output = world.output(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
    assert_eq!(world.ok(&["--version"]), format!("strata {}\n", env!("CARGO_PKG_VERSION")));
    assert!(
        world.ok(&["image", "ls", "--help"]).contains("Usage: strata image ls [OPTIONS] [REPOSITORY[:TAG]]")
    );
    assert!(world.ok(&["run", "--help"]).contains("Usage: strata run [OPTIONS] IMAGE [COMMAND] [ARG...]"));
}

#[test]
fn called_docker_it_calls_itself_docker() {
    let world = World::new();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_strata"), world.path("docker")).expect("a link");
    let output = std::process::Command::new(world.path("docker")).arg("run").output().expect("starts");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(error.starts_with("docker: 'docker run' requires at least 1 argument\n"), "{error}");
}

#[test]
fn what_is_not_there_is_named() {
    let world = World::new();
    insta::assert_snapshot!(world.transcript(&[
        "inspect nosuch",
        "image inspect nosuch",
        "container inspect nosuch",
        "volume inspect nosuch",
        "inspect --type image nosuch",
        "inspect --type thing nosuch",
        "history nosuch",
        "rmi nosuch",
        "rmi -f nosuch",
        "tag nosuch a",
        "save nosuch -o x.tar",
        "load -i nosuch.tar",
        "import nosuch.tar a",
        "rm nosuch",
        "rm -f nosuch",
        "stop nosuch",
        "kill nosuch",
        "wait nosuch",
        "logs nosuch",
        "diff nosuch",
        "exec nosuch true",
        "volume rm nosuch",
        "volume rm -f nosuch",
        "ps --filter nosuch=1",
        "ps --filter status=nosuch",
        "images --filter nosuch=1",
        "images --filter dangling=perhaps",
    ]));
}

#[test]
fn what_docker_has_and_strata_has_not_is_no_typing_mistake() {
    let world = World::new();
    insta::assert_snapshot!(world.transcript(&[
        "start x",
        "container commit x y",
        "network ls",
        "run --gpus all image",
        "run --memory-swap=1g image",
        "build --cgroup-parent x .",
        "build --provenance=mode=max .",
        "rmi --gpus",
    ]));
}

#[test]
fn values_are_refused_with_their_flag() {
    let world = World::new();
    insta::assert_snapshot!(world.transcript(&[
        "run --pids-limit many image",
        "run --stop-timeout soon image",
        "run --label =x image",
        "run -e =x image",
        "run --ulimit nofile=many image",
        "exec -e =x box true",
        "volume create --label =x",
        "volume ls -f driver=local",
        "images -f until=1h",
        "image prune -f --filter dangling",
        "image prune -f --filter name=x",
        "ps -f task=x",
        "build --jobs many .",
        "build --build-arg =x .",
        "build --label =x .",
        "build --shm-size much .",
        "build --ulimit nofile .",
        "build --add-host here .",
        "pull a..b",
        "push a:b:c",
    ]));
}
