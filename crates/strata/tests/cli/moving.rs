//! Images between registries, layouts, archives and the store; lists of manifests; rebasing; a mirror.

use crate::registry::{Served, ask};
use crate::world::{World, archive};
use std::process::Command;
use strata_oci::Digest;

/// A store with `base:1` and a registry beside it.
fn here() -> (World, Served) {
    let world = World::with_base();
    let served = Served::new(&world, &[]);
    (world, served)
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn copy(world: &World, from: &str, to: &str) -> String {
    world.ok(&["image", "copy", "-q", from, to]).trim().to_owned()
}

fn refused(world: &World, arguments: &[&str]) -> String {
    let output = world.output(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[test]
fn an_image_goes_round_and_stays_the_same() {
    let (world, served) = here();
    let remote = |name: &str| format!("{}/{name}", served.address);
    let digest = copy(&world, "local:base:1", &remote("a:1"));
    for (from, to) in [
        (remote("a:1"), "oci:layout:one".to_owned()),
        ("oci:layout:one".to_owned(), "docker-archive:x.tar:base:2".to_owned()),
        ("docker-archive:x.tar".to_owned(), remote("b/c:2")),
        (remote("b/c:2"), remote("d:3")),
    ] {
        assert_eq!(copy(&world, &from, &to), digest, "{from} to {to}");
    }
    // Without a tag, the image that has none is meant.
    for (from, to) in [("oci:layout:one", "oci:layout"), ("oci:layout", "oci:other:x")] {
        assert_eq!(copy(&world, from, to), digest, "{from} to {to}");
    }
    // Nothing is sent twice, and within a registry nothing is sent at all.
    let again = world.ok(&["image", "copy", "oci:layout", &remote("a:1")]);
    assert!(again.contains("Already exists") && again.trim_end().ends_with("sent: 0B"), "{again}");
    let mounted = world.ok(&["image", "copy", &remote("a:1"), &remote("e:1")]);
    assert!(mounted.contains("Mounted from a\n") && mounted.trim_end().ends_with("sent: 0B"), "{mounted}");

    copy(&world, &remote("d:3"), "local:back:1");
    let id = |name: &str| world.ok(&["inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", name]);
    assert_eq!(id("back:1"), id("base:1"));
    let tags = world.ok(&["tag", "ls", "--remote", &remote("b/c")]);
    assert_eq!(tags, "2\n");
    let seen = |place: &str| {
        world.ok(&["image", "inspect", "--remote", "-f", "{{.Digest}} {{.Id}} {{.Config.Cmd}}", place])
    };
    assert_eq!(seen("oci:layout:one"), seen(&remote("b/c:2")));
    assert!(seen(&remote("b/c:2")).starts_with(&digest));

    let skopeo =
        |arguments: &[&str]| Command::new("skopeo").args(arguments).current_dir(world.path("")).output();
    match skopeo(&["inspect", "--format", "{{.Digest}}", "oci:layout:one"]) {
        Err(_) => {
            eprintln!("SKIP skopeo's part of moving::an_image_goes_round_and_stays_the_same: no skopeo here")
        }
        Ok(output) => {
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), digest, "{output:?}");
            let read =
                skopeo(&["--insecure-policy", "copy", "-q", "docker-archive:x.tar", "oci:of-skopeo:x"]);
            assert!(read.as_ref().is_ok_and(|output| output.status.success()), "{read:?}");
        }
    }
}

#[test]
fn wrong_places_and_damaged_content() {
    let (world, served) = here();
    copy(&world, "local:base:1", "oci:layout:one");
    copy(&world, "local:base:1", "oci:layout:two");
    let error = |from: &str, to: &str| refused(&world, &["image", "copy", from, to]);
    for (from, to, what) in [
        ("oci:layout", "oci:x", "several images: say which one (there are one, two)"),
        ("oci:layout:three", "oci:x", "no image three (there are one, two)"),
        (
            "oci:layout:one",
            "docker-archive:no/where.tar",
            "no/where.tar: nothing can be written to no: No such file",
        ),
        ("oci:nowhere", "oci:x", "no OCI layout"),
        ("docker-archive:base.tar", "oci:x", "manifest.json"),
        ("local:nowhere", "oci:x", "nowhere"),
        ("oci:", "oci:x", "expected oci:DIRECTORY[:TAG]"),
        ("UPPER", "oci:x", "must be lowercase"),
    ] {
        let said = error(from, to);
        assert!(said.contains(what), "{from}: {said}");
    }
    let gone = format!("{}/gone:1", served.address);
    assert!(error(&gone, "oci:x").contains("not found"), "{}", error(&gone, "oci:x"));

    let layer =
        world.ok(&["image", "inspect", "--remote", "-f", "{{(index .Layers 0).Digest}}", "oci:layout:one"]);
    let blob = world.path("layout/blobs/sha256").join(layer.trim().trim_start_matches("sha256:"));
    let mut bytes = fs_err::read(&blob).expect("a blob");
    bytes[700] ^= 1;
    fs_err::write(&blob, bytes).expect("writable");
    assert!(error("oci:layout:one", "oci:fresh:one").contains("has the digest"), "a directory checks");
    assert!(!world.path("fresh/index.json").exists(), "nothing is listed that is not there");
    assert!(error("oci:layout:one", "docker-archive:fresh.tar").contains("has the digest"));
    assert!(!world.path("fresh.tar").exists());
    let empty = World::new();
    let layout = format!("oci:{}:one", world.path("layout").display());
    let to_store = refused(&empty, &["image", "copy", &layout, "local:fresh:1"]);
    assert!(to_store.contains("has the digest"), "{to_store}");
    assert_eq!(empty.ok(&["images", "-q"]), "");
    let to_registry = error("oci:layout:one", &format!("{}/fresh:1", served.address));
    assert!(to_registry.contains("digest"), "{to_registry}");
    let tags = world.ok(&["tag", "ls", "--remote", &format!("{}/fresh", served.address)]);
    assert_eq!(tags, "", "no tag was set");
}

#[test]
fn manifest_lists_are_made_pushed_and_copied_by_platform() {
    let (world, served) = here();
    let remote = |name: &str| format!("{}/{name}", served.address);
    world.ok(&["import", "--platform", "linux/arm64", "base.tar", "arm:1"]);
    copy(&world, "local:base:1", &remote("one:amd"));
    copy(&world, "local:arm:1", &remote("two:arm"));
    let list = remote("many:1");
    let manifest = |arguments: &[&str]| {
        let mut command = world.command(&[&["manifest"], arguments].concat());
        let output = command.env("DOCKER_CONFIG", world.path("docker")).output().expect("strata starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let ok = |arguments: &[&str]| {
        let (code, out, error) = manifest(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {error}");
        out
    };
    assert_eq!(ok(&["create", &list, &remote("one:amd")]), format!("Created manifest list {list}\n"));
    let (code, _, error) = manifest(&["create", &list, &remote("two:arm")]);
    assert_eq!(
        (code, error.contains("refusing to amend an existing manifest list with no --amend flag")),
        (Some(1), true)
    );
    ok(&["create", "--amend", &list, &remote("two:arm")]);
    ok(&["annotate", "--variant", "v8", &list, &remote("two:arm")]);
    let (code, _, error) = manifest(&["annotate", "--arch", "pdp11", &list, &remote("two:arm")]);
    assert_eq!(
        (code, error.contains("unsupported os/arch combination: linux/pdp11")),
        (Some(1), true),
        "{error}"
    );
    let (code, _, error) = manifest(&["annotate", "--os", "linux", &list, &remote("three")]);
    assert_eq!((code, error.contains("does not exist in")), (Some(1), true), "{error}");
    let shown = ok(&["inspect", &list]);
    assert!(shown.contains("\t\t\t\t\"variant\": \"v8\""), "{shown}");
    let digest = ok(&["push", "-p", &list]).trim().to_owned();
    assert!(manifest(&["rm", &list]).2.contains("No such manifest"));

    let value: serde_json::Value = serde_json::from_str(&ok(&["inspect", &list])).expect("JSON");
    assert_eq!(value["manifests"].as_array().map(Vec::len), Some(2));
    let verbose: serde_json::Value = serde_json::from_str(&ok(&["inspect", "-v", &list])).expect("JSON");
    assert_eq!(verbose[1]["Descriptor"]["platform"]["architecture"], "arm64");
    let (code, _, error) = manifest(&["create", &remote("nested:1"), &list]);
    assert_eq!((code, error.contains("is a manifest list")), (Some(1), true), "{error}");

    let seen = |arguments: &[&str]| world.ok(&[&["image", "inspect", "--remote"], arguments].concat());
    let platforms = seen(&["-f", "{{range .Platforms}}{{.Platform}} {{end}}{{.Digest}}", &list]);
    assert!(platforms.contains("linux/arm64/v8") && platforms.trim_end().ends_with(&digest), "{platforms}");
    assert_eq!(seen(&["--platform", "linux/arm64", "-f", "{{.Architecture}}", &list]), "arm64\n");
    // All of it, to a layout and on to another repository; and one image alone.
    assert_eq!(copy(&world, &list, "oci:all:1"), digest);
    assert_eq!(copy(&world, "oci:all:1", &remote("copied:1")), digest);
    let one = world.ok(&["image", "copy", "-q", "--platform", "linux/arm64", &list, &remote("alone:1")]);
    assert_eq!(
        seen(&["-f", "{{.Digest}} {{.Architecture}}", &remote("alone:1")]),
        format!("{} arm64\n", one.trim())
    );
    let error = refused(&world, &["image", "copy", "--platform", "linux/s390x", &remote("two:arm"), "oci:x"]);
    assert!(error.contains("no image for linux/s390x (there is linux/arm64)"), "{error}");
    let error = refused(&world, &["image", "copy", "--platform", "linux/s390x", &list, "oci:x"]);
    assert!(error.contains("no image for linux/s390x (there are linux/"), "{error}");
}

#[test]
fn a_rebased_image_is_what_a_build_on_the_new_base_gives() {
    let (world, served) = here();
    let newer = archive(&[
        ("etc/", 0o755, b""),
        ("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\n"),
        ("new", 0o644, b"x"),
    ]);
    world.file("newer.tar", &newer.into_inner().expect("memory"));
    world.ok(&["import", "-c", "ENV PATH=/usr/bin:/bin", "-c", "CMD [\"bash\"]", "newer.tar", "base:2"]);
    world.file("ctx/f", b"content");
    for n in ["1", "2"] {
        let dockerfile = format!("FROM base:{n}\nENV PATH=/app:$PATH A=1\nCOPY f /f\nLABEL l=1\nEXPOSE 80\n");
        world.file("ctx/Dockerfile", dockerfile.as_bytes());
        world.ok(&["build", "-q", "-t", &format!("app:{n}"), "ctx"]);
    }
    let rebase = |arguments: &[&str]| world.output(&[&["image", "rebase"], arguments].concat());
    let bases = ["--old-base", "local:base:1", "--new-base", "local:base:2"];
    let output = rebase(&[&bases[..], &["local:app:1", "local:app:rebased"]].concat());
    assert!(output.status.success(), "{output:?}");
    let shown = |name: &str| world.ok(&["inspect", "-f", "{{.RootFS.Layers}} {{json .Config}}", name]);
    assert_eq!(shown("app:rebased"), shown("app:2"), "as if it had been built");
    assert_ne!(shown("app:rebased"), shown("app:1"));
    let history =
        |name: &str| world.ok(&["history", "--format", "{{.CreatedBy}} {{.Size}}", "--no-trunc", name]);
    assert_eq!(lines(&history("app:rebased")).len(), lines(&history("app:2")).len());

    // On a registry: the new base's layers are mounted, and the annotations say what it stands on.
    let remote = |name: &str| format!("{}/{name}", served.address);
    for name in ["base:1", "base:2", "app:1"] {
        copy(&world, &format!("local:{name}"), &remote(name));
    }
    let to = remote("out:1");
    let arguments = ["--old-base", &remote("base:1"), "--new-base", &remote("base:2"), &remote("app:1"), &to];
    let output = rebase(&arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("Mounted from base"), "{output:?}");
    copy(&world, &to, "local:from-registry:1");
    assert_eq!(shown("from-registry:1"), shown("app:2"));

    for (arguments, why) in [
        (
            ["--old-base", "local:base:2", "--new-base", "local:base:1", "local:app:1", "oci:x"],
            "does not stand on local:base:2",
        ),
        (
            ["--old-base", "local:app:2", "--new-base", "local:base:1", "local:app:1", "oci:x"],
            "does not stand on",
        ),
    ] {
        let output = rebase(&arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(why), "{error}");
        assert!(error.contains("build it again instead"), "{error}");
    }
    let unnamed = rebase(&["--new-base", "local:base:2", "local:app:1", "oci:x"]);
    assert!(String::from_utf8_lossy(&unnamed.stderr).contains("name the old base"), "{unnamed:?}");
}

#[test]
fn a_mirror_serves_what_it_fetched_when_the_registry_is_away() {
    let (world, origin) = here();
    let mirror = {
        let url = format!("http://{}", origin.address);
        Served::at(&world, "mirror", &["--mirror", &url])
    };
    let digest = copy(&world, "local:base:1", &format!("{}/team/a:1", origin.address));
    let through = format!("{}/team/a:1", mirror.address);
    assert_eq!(copy(&world, &through, "oci:first:1"), digest);
    assert_eq!(world.ok(&["tag", "ls", "--remote", &format!("{}/team/a", mirror.address)]), "1\n");
    let push = refused(&world, &["image", "copy", "oci:first:1", &format!("{}/team/b:1", mirror.address)]);
    assert!(push.contains("is a mirror"), "{push}");
    drop(origin);
    assert_eq!(copy(&world, &through, "oci:second:1"), digest);
}

#[test]
fn what_refers_to_an_image_goes_along_when_asked() {
    let (world, served) = here();
    let digest = copy(&world, "local:base:1", &format!("{}/a:1", served.address));
    let push = |name: &str, bytes: &[u8]| {
        let target = format!("/v2/{name}/blobs/uploads/?digest={}", Digest::of(bytes));
        assert_eq!(ask(&served.address, "POST", &target, bytes).map(|(status, _)| status), Some(201));
    };
    push("a", b"{}");
    push("a", b"signature");
    let descriptor = |bytes: &[u8], kind: &str| serde_json::json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() });
    let signature = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/x-signature", "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(b"signature", "text/plain")],
        "subject": { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1 },
    });
    let signature = signature.to_string().into_bytes();
    let target = format!("/v2/a/manifests/{}", Digest::of(&signature));
    assert_eq!(ask(&served.address, "PUT", &target, &signature).map(|(status, _)| status), Some(201));

    let referrers = |name: &str| {
        let (_, body) =
            ask(&served.address, "GET", &format!("/v2/{name}/referrers/{digest}"), b"").expect("an answer");
        let index: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        index["manifests"].as_array().map_or(0, Vec::len)
    };
    let from = format!("{}/a:1", served.address);
    copy(&world, &from, &format!("{}/without:1", served.address));
    world.ok(&["image", "copy", "-q", "--referrers", &from, &format!("{}/with:1", served.address)]);
    assert_eq!((referrers("without"), referrers("with")), (0, 1));
}

#[test]
fn every_platform_of_a_list_is_rebased_on_its_own_base() {
    let (world, served) = here();
    let remote = |name: &str| format!("{}/{name}", served.address);
    world.file("ctx/f", b"content");
    world.file("newer.tar", &archive(&[("new", 0o644, b"x")]).into_inner().expect("memory"));
    for (n, tar) in [("1", "base.tar"), ("2", "newer.tar")] {
        for arch in ["amd64", "arm64"] {
            let base = format!("base-{arch}:{n}");
            world.ok(&["import", "--platform", &format!("linux/{arch}"), "-m", arch, tar, &base]);
            world.file("ctx/Dockerfile", format!("FROM {base}\nCOPY f /f\nLABEL of={arch}\n").as_bytes());
            world.ok(&[
                "build",
                "-q",
                "--platform",
                &format!("linux/{arch}"),
                "-t",
                &format!("app-{arch}:{n}"),
                "ctx",
            ]);
            for name in ["base", "app"] {
                copy(&world, &format!("local:{name}-{arch}:{n}"), &remote(&format!("{name}-{arch}:{n}")));
            }
        }
        for name in ["base", "app"] {
            let list = remote(&format!("{name}:{n}"));
            let images = ["amd64", "arm64"].map(|arch| remote(&format!("{name}-{arch}:{n}")));
            for arguments in
                [vec!["manifest", "create", &list, &images[0], &images[1]], vec!["manifest", "push", &list]]
            {
                let mut command = world.command(&arguments);
                let output =
                    command.env("DOCKER_CONFIG", world.path("docker")).output().expect("strata starts");
                assert!(output.status.success(), "{output:?}");
            }
        }
    }
    let rebased = remote("rebased:1");
    let rebase = |new: &str, to: &str| {
        let (old, new) = (remote("base:1"), remote(new));
        world.output(&["image", "rebase", "-q", "--old-base", &old, "--new-base", &new, &remote("app:1"), to])
    };
    let output = rebase("base:2", &rebased);
    assert!(output.status.success(), "{output:?}");
    let shown = |name: &str, arch: &str| {
        let platform = format!("linux/{arch}");
        let template = "{{.RootFS.Layers}} {{json .Config}} {{.Architecture}} {{len .Platforms}}";
        world.ok(&["image", "inspect", "--remote", "--platform", &platform, "-f", template, name])
    };
    for arch in ["amd64", "arm64"] {
        assert_eq!(shown(&rebased, arch), shown(&remote("app:2"), arch));
    }
    let one = rebase("base-amd64:2", "oci:x");
    let error = String::from_utf8_lossy(&one.stderr).into_owned();
    assert!(one.status.code() == Some(1) && error.contains("is for linux/arm64"), "{error}");
}

/// A copy into the store leaves what a pull leaves, and nothing of it goes through a temporary file.
#[test]
fn a_copy_into_the_store_is_a_pull() {
    let (world, served) = here();
    let remote = |name: &str| format!("{}/{name}", served.address);
    for arch in ["amd64", "arm64"] {
        let base = format!("base-{arch}:1");
        world.ok(&["import", "--platform", &format!("linux/{arch}"), "-m", arch, "base.tar", &base]);
        world.file("ctx/f", arch.as_bytes());
        world.file("ctx/Dockerfile", format!("FROM {base}\nCOPY f /f\n").as_bytes());
        let platform = format!("linux/{arch}");
        world.ok(&["build", "-q", "--platform", &platform, "-t", &format!("app-{arch}:1"), "ctx"]);
        copy(&world, &format!("local:app-{arch}:1"), &remote(&format!("app-{arch}:1")));
    }
    let list = remote("app:1");
    for arguments in [
        vec!["manifest", "create", &list, &remote("app-amd64:1"), &remote("app-arm64:1")],
        vec!["manifest", "push", &list],
    ] {
        let mut command = world.command(&arguments);
        let output = command.env("DOCKER_CONFIG", world.path("docker")).output().expect("strata starts");
        assert!(output.status.success(), "{output:?}");
    }
    let other = World::new();
    let run = |arguments: &[&str]| {
        let mut command = other.command(arguments);
        let output = command.env("TMPDIR", "/nowhere").output().expect("strata starts");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let shown = |name: &str| {
        let template = "{{.Id}} {{.Architecture}} {{.RepoDigests}} {{.RootFS.Layers}} {{.Size}}";
        other.ok(&["inspect", "-f", template, name])
    };
    // A single image, byte for byte what a pull brings.
    let text = run(&["image", "copy", &remote("app-amd64:1"), "local:copied:1"]);
    assert!(text.lines().filter(|line| line.contains("Copied")).count() == 2, "{text}");
    let copied = shown("copied:1");
    other.ok(&["rmi", "-f", "copied:1"]);
    other.ok(&["pull", "-q", &remote("app-amd64:1")]);
    assert_eq!(shown(&remote("app-amd64:1")), copied);
    assert!(copied.contains("/app-amd64@sha256:"), "{copied}");
    // What is here is not fetched, whatever it is called.
    let again = run(&["image", "copy", &remote("app-amd64:1"), "local:again:1"]);
    assert!(again.contains("Already exists") && again.trim_end().ends_with("sent: 0B"), "{again}");
    // Of an index, this machine's image, or the one that is asked for: all of it.
    let digest = copy(&world, &list, "oci:list:1");
    run(&["image", "copy", "-q", &list, "local:mine:1"]);
    assert!(shown("mine:1").contains(&format!("/app@{digest}")), "{}", shown("mine:1"));
    run(&["image", "copy", "-q", "--platform", "linux/arm64", &list, "local:arm:1"]);
    assert!(shown("arm:1").contains(" arm64 "), "{}", shown("arm:1"));
    assert_eq!(
        other.ok(&["inspect", "-f", "{{.RootFS.Layers}}", "arm:1"]),
        world.ok(&["inspect", "-f", "{{.RootFS.Layers}}", "app-arm64:1"])
    );
    // From a layout it comes without a repository, and goes back with the same content.
    let layout = format!("oci:{}:1", world.path("list").display());
    run(&["image", "copy", "-q", "--platform", "linux/arm64", &layout, "local:laid:1"]);
    assert!(shown("laid:1").starts_with(shown("arm:1").split(' ').next().expect("an ID")));
    run(&["image", "copy", "-q", "local:laid:1", "docker-archive:out.tar:laid:1"]);
    other.ok(&["rmi", "-f", "laid:1", "arm:1"]);
    run(&["image", "copy", "-q", "docker-archive:out.tar", "local:back:1"]);
    assert!(shown("back:1").contains(" arm64 "));
    assert!(other.ok(&["system", "fsck", "-q"]).is_empty());
}
