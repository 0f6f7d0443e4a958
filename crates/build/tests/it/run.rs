//! RUN: its forms, mounts and environment (`spec/build.md` 1.6, 3).
use crate::fake::World;
use strata_build::{
    BuildOptions, Entitlement, ExecOp, Mount, MountKind, Network, SecretEnv, Security, Sharing,
};

fn run_with(dockerfile: &str, options: &BuildOptions) -> ExecOp {
    let mut world = World::default();
    world.agreeable = true;
    world.build_with(dockerfile, options).built();
    world.execs().pop().expect("a RUN")
}

/// What the last RUN of these lines asks for.
fn run(lines: &str) -> ExecOp {
    run_with(&format!("FROM conform-base:1\n{lines}\n"), &BuildOptions::default())
}

fn mount(target: &str, read_only: bool, kind: MountKind) -> Mount {
    Mount { target: target.to_owned(), read_only, kind }
}

#[test]
fn shell_and_exec_form() {
    assert_eq!(run("RUN echo $x").argv, ["/bin/sh", "-c", "echo $x"]);
    assert_eq!(run("SHELL [\"/bin/bash\", \"-ec\"]\nRUN a").argv, ["/bin/bash", "-ec", "a"]);
    assert_eq!(run("ENTRYPOINT [\"ignored\"]\nRUN [\"a\", \"$b c\"]").argv, ["a", "$b c"]);
}

#[test]
fn a_heredoc_alone_is_the_script() {
    let op = run("ARG x=1\nRUN <<EOF\necho $x\nls\nEOF");
    assert_eq!(op.argv, ["/bin/sh", "-c", "echo $x\nls\n"]);
    let op = run("RUN <<-'E O'\n\techo\nE O");
    assert_eq!(op.argv[2], "echo\n");
}

#[test]
fn a_heredoc_with_an_interpreter_is_a_file() {
    let op = run("RUN <<PY\n#!/usr/bin/python3\nprint(1)\nPY");
    assert_eq!(op.argv, ["/bin/sh", "-c", "/dev/pipes/PY"]);
    let content = b"#!/usr/bin/python3\nprint(1)\n".to_vec();
    assert_eq!(op.mounts, [mount("/dev/pipes/PY", true, MountKind::Script { content })]);
}

#[test]
fn heredocs_among_other_text_go_back_to_the_shell() {
    let op = run("RUN cat <<A | tr a b; cat 3<<B\none\nA\ntwo\nB");
    assert_eq!(op.argv[2], "cat <<A | tr a b; cat 3<<B\none\nA\ntwo\nB");
}

#[test]
fn the_environment_is_that_of_image_and_arguments() {
    let op = run("ENV a=1\nARG b=2\nARG unset\nUSER u:g\nWORKDIR /w\nRUN x");
    let names: Vec<&str> = op.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PATH", "a", "b"]);
    assert_eq!((op.user.as_str(), op.cwd.as_str()), ("u:g", "/w"));
    assert_eq!(run("RUN x").cwd, "/");
}

#[test]
fn proxies_are_given_apart_and_in_both_spellings() {
    let build_args =
        [("Https_Proxy".to_owned(), "p".to_owned()), ("NO_PROXY".to_owned(), String::new())].into();
    let op =
        run_with("FROM conform-base:1\nRUN x\n", &BuildOptions { build_args, ..BuildOptions::default() });
    let pair = |name: &str| (name.to_owned(), "p".to_owned());
    assert_eq!(op.proxy, [pair("HTTPS_PROXY"), pair("https_proxy")]);
    assert_eq!(op.env.len(), 1);
}

#[test]
fn network_and_security() {
    let allow = [Entitlement::SecurityInsecure, Entitlement::NetworkHost].into();
    let allowed = BuildOptions { allow, ..BuildOptions::default() };
    let op = run_with("FROM conform-base:1\nRUN --network=none --security=insecure x\n", &allowed);
    assert_eq!((op.network, op.security), (Network::None, Security::Insecure));
    let op = run_with("FROM conform-base:1\nRUN --network=host x\n", &allowed);
    assert_eq!((op.network, op.security), (Network::Host, Security::Sandbox));
    let options = BuildOptions { network: Network::Host, ..BuildOptions::default() };
    assert_eq!(run_with("FROM conform-base:1\nRUN x\n", &options).network, Network::Host);
    assert_eq!(
        run_with("FROM conform-base:1\nRUN --network=default x\n", &options).network,
        Network::Default
    );
}

#[test]
fn mounts_of_files() {
    let op = run(
        "WORKDIR /w\nARG d=dir\nRUN --mount=target=rel,source=/$d/../x --mount=type=bind,rw,dst=/abs/. x",
    );
    let bind = |input, source: &str| MountKind::Bind { input, source: source.to_owned() };
    assert_eq!(op.mounts, [mount("/w/rel", true, bind(0, "/x")), mount("/abs", false, bind(1, "/"))]);
    let op = run("WORKDIR /w\nRUN --mount=type=bind x");
    assert_eq!(op.mounts[0].target, "/w", "without a target, the working directory");
    let op = run("RUN --mount=type=tmpfs,target=/t,size=2k x");
    assert_eq!(op.mounts, [mount("/t", false, MountKind::Tmpfs { size: Some(2048) })]);
}

#[test]
fn cache_mounts_are_named_by_their_target_unless_told_otherwise() {
    let op = run(
        "RUN --mount=type=cache,target=/c/ --mount=type=cache,target=/d,id=i,sharing=locked,mode=0700,uid=1,gid=2,from=other x",
    );
    let cache = |id: &str, sharing, seed, mode, uid, gid| MountKind::Cache {
        id: id.to_owned(),
        sharing,
        seed,
        path: "/".to_owned(),
        mode,
        uid,
        gid,
    };
    assert_eq!(op.mounts[0], mount("/c", false, cache("/c", Sharing::Shared, None, 0o755, 0, 0)));
    let seed = Some((0, "/".to_owned()));
    assert_eq!(op.mounts[1], mount("/d", false, cache("i", Sharing::Locked, seed, 0o700, 1, 2)));
}

#[test]
fn a_cache_with_a_relative_target_is_the_same_in_every_directory() {
    for workdir in ["/a", "/b"] {
        let op = run(&format!("WORKDIR {workdir}\nRUN --mount=type=cache,target=./c/ x"));
        let MountKind::Cache { id, .. } = &op.mounts[0].kind else { panic!("{:?}", op.mounts) };
        assert_eq!((id.as_str(), op.mounts[0].target.clone()), ("c", format!("{workdir}/c")));
    }
}

#[test]
fn a_cache_may_be_shown_in_part_and_live_in_a_namespace() {
    let options = BuildOptions {
        build_args: [("BUILDKIT_CACHE_MOUNT_NS".to_owned(), "team".to_owned())].into(),
        ..BuildOptions::default()
    };
    let op = run_with(
        "FROM conform-base:1\nENV d=/c\nRUN --mount=type=cache,target=$d,source=sub/../x x\n",
        &options,
    );
    let MountKind::Cache { id, seed, path, .. } = &op.mounts[0].kind else { panic!("{:?}", op.mounts) };
    assert_eq!((id.as_str(), seed, path.as_str()), ("team//c", &None, "/x"));
}

#[test]
fn the_host_name_is_an_argument_of_the_builder() {
    let options = BuildOptions {
        build_args: [("BUILDKIT_SANDBOX_HOSTNAME".to_owned(), "box".to_owned())].into(),
        ..BuildOptions::default()
    };
    let op = run_with("FROM conform-base:1\nRUN x\n", &options);
    assert_eq!((op.hostname.as_str(), run("RUN x").hostname.as_str()), ("box", ""));
    assert!(op.env.iter().all(|(name, _)| name == "PATH"), "{:?}", op.env);
}

#[test]
fn what_is_meant_for_the_scanner_is_no_variable() {
    let op = run("ARG BUILDKIT_SBOM_SCAN_STAGE=true\nARG a=1\nRUN x");
    let names: Vec<&str> = op.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PATH", "a"]);
}

#[test]
fn secrets_are_files_or_variables_or_both() {
    let secret =
        |id: &str, required| MountKind::Secret { id: id.to_owned(), required, mode: 0o400, uid: 0, gid: 0 };
    let variable =
        |name: &str, id: &str| SecretEnv { name: name.to_owned(), id: id.to_owned(), required: false };
    let op = run("RUN --mount=type=secret,id=s x");
    assert_eq!(op.mounts, [mount("/run/secrets/s", true, secret("s", false))]);
    let op = run("RUN --mount=type=secret,target=/etc/tok,required x");
    assert_eq!(op.mounts, [mount("/etc/tok", true, secret("tok", true))]);
    let op = run("RUN --mount=type=secret,id=dir/s x");
    assert_eq!(op.mounts, [mount("/run/secrets/s", true, secret("dir/s", false))]);
    let op = run("RUN --mount=type=secret,id=s,env=S x");
    assert_eq!((op.mounts, op.secret_env), (vec![], vec![variable("S", "s")]));
    let op = run("RUN --mount=type=secret,id=s,env=S,target=/s x");
    assert_eq!(
        (op.mounts, op.secret_env),
        (vec![mount("/s", true, secret("s", false))], vec![variable("S", "s")])
    );
}

#[test]
fn agents_have_sockets_and_the_first_is_announced() {
    let op = run("RUN --mount=type=ssh --mount=type=ssh,id=other x");
    let targets: Vec<&str> = op.mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(targets, ["/run/buildkit/ssh_agent.0", "/run/buildkit/ssh_agent.1"]);
    assert_eq!(op.env.last(), Some(&("SSH_AUTH_SOCK".to_owned(), "/run/buildkit/ssh_agent.0".to_owned())));
    let op = run("ENV SSH_AUTH_SOCK=/mine\nRUN --mount=type=ssh x");
    assert_eq!(op.env.last(), Some(&("SSH_AUTH_SOCK".to_owned(), "/mine".to_owned())));
}
