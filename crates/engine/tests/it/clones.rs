//! ADD of git repositories, and contexts that are elsewhere.
use crate::answers::answer;
use crate::repositories::{Daemon, Repository, dumb, smart};
use crate::world::{World, text};
use std::sync::atomic::AtomicBool;
use strata_engine::build::{ContextSource, Remote, RemoteContext, Surroundings};
use strata_testbed::Server;

#[test]
fn a_repository_is_added_by_branch_tag_commit_and_directory() {
    let Some(world) = World::with_base() else { return };
    let repository = Repository::new(world.directory.path(), "project");
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["tag", "-a", "-m", "t", "v1"]);
    repository.write("file", "two\n");
    repository.commit("second");
    repository.push();
    let server = smart(&repository.root);
    let url = server.url("/project.git");
    let file = format!(
        "FROM busybox\nADD {url} /head\nADD {url}#v1 /tag\nADD {url}?branch=main&subdir=sub /sub/\n\
         ADD --keep-git-dir=true {url}#{first} /kept\nADD --checksum={} {url}#v1:sub/deep /deep\n\
         RUN grep -qx two /head/file\nRUN grep -qx one /tag/file\nRUN grep -qx one /kept/file\n\
         RUN test ! -e /head/.git && test -d /kept/.git && test -f /sub/deep/file && test -f /deep/file\n\
         RUN busybox stat -c '%a %u:%g' /head/file /head/run.sh /head/sub | busybox tr '\\n' ' ' | \
             grep -qx '644 0:0 755 0:0 755 0:0 '\n\
         RUN test \"$(busybox readlink /head/link)\" = file\n\
         RUN grep -q 127.0.0.1 /kept/.git/config && test ! -e /kept/.git/logs\n",
        &first[..12]
    );
    let request = world.context(&file, &[]);
    let built = world.build(&request).unwrap().id;
    assert_eq!(world.build(&request).unwrap().id, built);
    // A commit that is named and known needs no network at all.
    let pinned = world.context(&format!("FROM scratch\nADD {url}#{first} /x\n"), &[]);
    let one = world.build(&pinned).unwrap().id;
    let asked = server.seen().len();
    assert_eq!(world.build(&pinned).unwrap().id, one);
    assert_eq!(server.seen().len(), asked);
    // What a branch means is asked every time; a commit that leaves the files alone changes nothing.
    let branch = world.context(&format!("FROM scratch\nADD {url}#main:sub /sub\nADD {url}#main /x\n"), &[]);
    let two = world.build(&branch).unwrap().id;
    repository.git(&["commit", "-q", "--allow-empty", "-m", "nothing"]);
    repository.push();
    assert_eq!(world.build(&branch).unwrap().id, two);
    repository.write("file", "three\n");
    repository.commit("third");
    repository.push();
    assert_ne!(world.build(&branch).unwrap().id, two);
    world.assert_sound();
}

#[test]
fn wrong_references_are_told() {
    let Some(world) = World::new() else { return };
    let repository = Repository::new(world.directory.path(), "project");
    let server = smart(&repository.root);
    let url = server.url("/project.git");
    let head = repository.git(&["rev-parse", "HEAD"]);
    for (instruction, wanted) in [
        (format!("ADD {url}#nosuch /x"), format!("{url}: repository does not contain ref nosuch")),
        (
            format!("ADD --checksum=0123abcd {url} /x"),
            format!("expected checksum to match 0123abcd, got {head}"),
        ),
        (format!("ADD {url}#main:nosuch /x"), "nosuch is not a directory of the repository at".to_owned()),
        (format!("ADD {url}#main:link /x"), "link is not a directory of the repository at".to_owned()),
        (format!("ADD {url}?depth=1 /x"), "unexpected query \"depth\"".to_owned()),
        (format!("ADD {} /x", server.url("/none.git")), "failed to read references".to_owned()),
        (format!("ADD {url}#{} /x", "0".repeat(40)), "repository does not contain ref 0000".to_owned()),
    ] {
        let error = world.build(&world.context(&format!("FROM scratch\n{instruction}\n"), &[])).unwrap_err();
        assert!(text(&error).contains(&wanted), "{instruction}: {}", text(&error));
    }
    world.assert_nothing_left();
}

#[test]
fn submodules_come_along_and_local_ones_do_not() {
    let Some(world) = World::with_base() else { return };
    let root = world.directory.path();
    let _inner = Repository::new(root, "inner");
    let outer = Repository::new(root, "outer");
    let server = smart(root);
    outer.git(&["submodule", "add", "-q", &server.url("/inner.git"), "module"]);
    outer.commit("with a submodule");
    outer.push();
    let url = server.url("/outer.git");
    let file = format!(
        "FROM busybox\nADD {url} /all\nADD {url}?submodules=false /bare\n\
         RUN test -f /all/module/file && test ! -e /all/module/.git && test ! -e /bare/module/file\n"
    );
    world.build(&world.context(&file, &[])).unwrap();
    // A submodule that is a path of this machine would read files of whoever builds.
    outer.git(&["submodule", "add", "-q", root.join("inner.git").to_str().unwrap(), "local"]);
    outer.commit("with a local one");
    outer.push();
    let error = world.build(&world.context(&file, &[])).unwrap_err();
    assert!(text(&error).contains("failed to fetch submodules"), "{}", text(&error));
    assert!(text(&error).contains("'file' not allowed"), "{}", text(&error));
    world.assert_nothing_left();
}

#[test]
fn servers_that_only_have_files_and_the_daemon() {
    let Some(world) = World::with_base() else { return };
    let repository = Repository::new(world.directory.path(), "project");
    let bare = repository.root.join("project.git");
    repository.git(&["-C", bare.to_str().unwrap(), "update-server-info"]);
    let files = dumb(&repository.root);
    let daemon = Daemon::new(&repository.root);
    let file = format!(
        "FROM busybox\nADD {} /dumb\nADD git://127.0.0.1:{}/project.git#main /daemon\n\
         RUN grep -qx one /dumb/file && grep -qx one /daemon/file\n",
        files.url("/project.git"),
        daemon.port
    );
    world.build(&world.context(&file, &[])).unwrap();
    world.assert_sound();
}

#[test]
fn times_are_those_of_the_commit_when_time_is_fixed() {
    let Some(world) = World::with_base() else { return };
    let repository = Repository::new(world.directory.path(), "project");
    let server = smart(&repository.root);
    let url = server.url("/project.git");
    let file = format!(
        "FROM busybox\nADD {url}?mtime=commit /x\nRUN busybox stat -c %Y /x/file | grep -qx 1600000000\n\
         RUN busybox stat -c %Y /x | grep -qx 1600000000\n"
    );
    world.build(&world.context(&file, &[])).unwrap();
    let mut request = world.context(&format!("FROM scratch\nADD {url} /x\n"), &[]);
    request.options.build_args.insert("SOURCE_DATE_EPOCH".to_owned(), "5".to_owned());
    let here = world.build(&request).unwrap().id;
    let Some(other) = World::new() else { return };
    assert_eq!(other.build(&request).unwrap().id, here, "the same image in another store");
}

#[test]
fn git_is_asked_for_when_it_is_missing() {
    let Some(world) = World::new() else { return };
    let mut request = world.context("FROM scratch\nADD git://127.0.0.1/x.git /x\n", &[]);
    request.surroundings.search_path = Some("/nonexistent".into());
    let error = text(&world.build(&request).unwrap_err());
    assert!(
        error.ends_with("a git repository needs the program git, which was not found: install git"),
        "{error}"
    );
}

fn remote<'a>(surroundings: &'a Surroundings, cancel: &'a AtomicBool) -> Remote<'a> {
    Remote { surroundings, secrets: &[], cancel, commit_times: false }
}

/// `SOURCE_DATE_EPOCH=context` is the time of the commit, for the image and for its files.
#[test]
fn a_context_that_is_a_commit_has_its_time() {
    let Some(world) = World::new() else { return };
    let (surroundings, cancel) = (Surroundings::default(), AtomicBool::new(false));
    let repository = Repository::new(world.directory.path(), "project");
    let server = smart(&repository.root);
    let remote = Remote { commit_times: true, ..remote(&surroundings, &cancel) };
    let engine = world.engine();
    let address = server.url("/project.git");
    let RemoteContext::Files(files) = engine.remote_context(&address, false, remote).unwrap() else {
        panic!("a repository has files");
    };
    let mut request = world.context("FROM scratch\nCOPY . /x/\n", &[]);
    request.options.build_args.insert("SOURCE_DATE_EPOCH".to_owned(), "context".to_owned());
    assert_eq!(world.build(&request).unwrap().epoch, None, "a directory has no time");
    request.context = ContextSource::Tar(files.clone());
    let built = world.build(&request).unwrap();
    assert_eq!(built.epoch.unwrap().as_second(), 1_600_000_000);
    assert_eq!(built.config.value().created, built.epoch);
    // No file is newer: cutting times off changes nothing.
    assert_eq!(engine.with_times(&built, true).unwrap().id, built.id);
    // A further context is called by its name.
    request.context = ContextSource::Empty;
    request.contexts.insert("src".to_owned(), ContextSource::Tar(files));
    request.options.contexts.insert("src".to_owned(), strata_engine::build::NamedContext::Files);
    request.options.build_args.insert("SOURCE_DATE_EPOCH".to_owned(), "src".to_owned());
    fs_err::write(request.dockerfile_path.as_ref().unwrap(), "FROM scratch\nCOPY --from=src file /\n")
        .unwrap();
    assert_eq!(world.build(&request).unwrap().epoch, built.epoch);
}

#[test]
fn contexts_are_repositories_archives_or_a_dockerfile() {
    let Some(world) = World::new() else { return };
    let (surroundings, cancel) = (Surroundings::default(), AtomicBool::new(false));
    let repository = Repository::new(world.directory.path(), "project");
    let server = smart(&repository.root);
    let engine = world.engine();
    let fetch = |address: &str, keep| {
        engine.remote_context(address, keep, remote(&surroundings, &cancel)).map_err(Box::new)
    };
    let RemoteContext::Files(files) = fetch(&server.url("/project.git#main:sub"), false).unwrap() else {
        panic!("a repository has files");
    };
    assert_eq!(files.read("deep/file", 100).unwrap().as_deref(), Some(&b"deep\n"[..]));
    assert_eq!(files.read("file", 100).unwrap(), None);
    let RemoteContext::Files(files) = fetch(&server.url("/project.git"), true).unwrap() else {
        panic!("a repository has files");
    };
    assert!(files.read(".git/HEAD", 100).unwrap().is_some());

    let tar = crate::world::Tar::default().file("Dockerfile", b"FROM scratch\n").file("d/f", b"x").end();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &tar).unwrap();
    let packed = packed.finish().unwrap();
    let server = Server::keeping(move |request, out| match request.target.as_str() {
        "/plain" => answer(out, "200 OK", &[], &tar),
        "/packed" => answer(out, "200 OK", &[], &packed),
        _ => answer(out, "200 OK", &[], b"FROM scratch\nLABEL a=b\n"),
    });
    for path in ["/plain", "/packed"] {
        let RemoteContext::Files(files) = fetch(&server.url(path), false).unwrap() else {
            panic!("an archive has files");
        };
        assert_eq!(files.read("d/f", 100).unwrap().as_deref(), Some(&b"x"[..]), "{path}");
    }
    let found = fetch(&server.url("/Dockerfile"), false).unwrap();
    assert_eq!(found, RemoteContext::Dockerfile(b"FROM scratch\nLABEL a=b\n".to_vec()));
    let one = engine.remote_files(&server.url("/packed"), remote(&surroundings, &cancel)).unwrap();
    assert!(one.read("packed", 1 << 20).unwrap().is_some(), "a named context keeps a URL's file as it is");

    let mut request = world.context("FROM scratch\nCOPY --from=other deep/file /x\n", &[]);
    let files = fetch(&repository_url(&repository), false);
    assert!(files.is_err(), "file:// is not for repositories");
    let server = smart(&repository.root);
    let files =
        engine.remote_files(&server.url("/project.git#:sub"), remote(&surroundings, &cancel)).unwrap();
    request.contexts.insert("other".to_owned(), ContextSource::Tar(files));
    let named = strata_engine::build::NamedContext::Files;
    request.options.contexts.insert("other".to_owned(), named);
    drop(engine);
    world.build(&request).unwrap();
}

fn repository_url(repository: &Repository) -> String {
    format!("file://{}", repository.root.join("project.git").display())
}

#[test]
fn a_token_is_a_secret_of_the_build() {
    let Some(world) = World::new() else { return };
    let repository = Repository::new(world.directory.path(), "project");
    let inner = smart(&repository.root);
    let (port, wanted) = (inner.port(), "basic eC1hY2Nlc3MtdG9rZW46dGVsbA==");
    let client = strata_http::Client::new(strata_http::Options::default()).unwrap();
    let server = Server::keeping(move |request, out| {
        if request.header("authorization") != Some(wanted) {
            return answer(out, "401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"x\"")], b"");
        }
        let url = format!("http://127.0.0.1:{port}{}", request.target);
        let mut passed = strata_http::Request::new(&request.method, url).bytes(&request.body);
        for name in ["content-type", "content-encoding", "git-protocol"] {
            if let Some(value) = request.header(name) {
                passed = passed.header(name, value);
            }
        }
        let response = client.send(passed).unwrap();
        let kind = response.header("content-type").unwrap_or_default().to_owned();
        let body = response.into_body().bytes(1 << 20).unwrap();
        answer(out, "200 OK", &[("Content-Type", &kind)], &body)
    });
    let mut request = world.context(&format!("FROM scratch\nADD {} /x\n", server.url("/project.git")), &[]);
    let error = text(&world.build(&request).unwrap_err());
    assert!(error.contains("--secret id=GIT_AUTH_TOKEN"), "{error}");
    let secret = |id: &str| strata_engine::build::Secret {
        id: id.to_owned(),
        source: strata_engine::build::SecretSource::Value("tell".to_owned()),
    };
    request.secrets = vec![secret("GIT_AUTH_TOKEN.elsewhere.example")];
    assert!(world.build(&request).is_err(), "a token for another host is not sent");
    request.secrets = vec![secret("GIT_AUTH_TOKEN")];
    world.build(&request).unwrap();
}
