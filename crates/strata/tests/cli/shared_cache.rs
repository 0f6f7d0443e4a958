//! `--cache-to` and `--cache-from`: two stores as two machines, with Debian's registry between them.

use crate::world::World;
use serde_json::Value;
use strata_oci::Digest;
use strata_testbed::{Guard, OBJECT_STORE_KEY, ObjectStore, Registry, Setup};

/// A stage that is copied from, a RUN, a COPY and a `--link`. What the RUNs print is different each time.
pub(crate) const DOCKERFILE: &str = "FROM HOST/box:1 AS build
WORKDIR /src
COPY f .
RUN cat f /proc/uptime > out
FROM HOST/box:1
RUN cat /proc/uptime > /when
COPY --from=build /src/out /out
COPY --link f /linked
CMD [\"cat\", \"/out\"]
";

/// Two machines and a registry that has `box:1`; the project lies on both.
pub(crate) struct Machines {
    pub(crate) first: World,
    pub(crate) second: World,
    pub(crate) registry: Registry,
}

impl Machines {
    pub(crate) fn new(test: &str) -> Option<Self> {
        let registry = Registry::start()?;
        let first = World::with_shell(test)?;
        let name = format!("{}/box:1", registry.host());
        first.ok(&["tag", "box:1", &name]);
        first.ok(&["push", "-q", &name]);
        let machines = Self { first, second: World::new(), registry };
        machines.project(DOCKERFILE, "content");
        Some(machines)
    }

    /// Writes the project on both machines.
    pub(crate) fn project(&self, dockerfile: &str, content: &str) {
        for world in [&self.first, &self.second] {
            world.file("ctx/Dockerfile", dockerfile.replace("HOST", &self.registry.host()).as_bytes());
            world.file("ctx/f", content.as_bytes());
        }
    }

    /// Builds `app:1`, and gives what the build told.
    pub(crate) fn build(&self, world: &World, flags: &[&str]) -> String {
        let flags: Vec<String> = flags.iter().map(|f| f.replace("HOST", &self.registry.host())).collect();
        let flags = flags.iter().map(String::as_str);
        let line: Vec<&str> =
            ["build", "--progress", "plain", "-t", "app:1"].into_iter().chain(flags).chain(["ctx"]).collect();
        let output = world.output(&line);
        let told = String::from_utf8_lossy(&output.stderr).replace(&self.registry.host(), "HOST");
        assert!(output.status.success(), "{told}");
        told
    }

    /// The manifest of a name of the registry, as text.
    pub(crate) fn manifest(&self, name: &str) -> serde_json::Value {
        let name = format!("{}/{name}", self.registry.host());
        let text = self.first.ok(&["manifest", "inspect", &name]);
        serde_json::from_str(&text).expect("a manifest is JSON")
    }
}

pub(crate) fn id(world: &World) -> String {
    world.ok(&["inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", "app:1"])
}

/// How many steps ended well, and how many were cached.
pub(crate) fn counts(told: &str) -> (usize, usize) {
    let build = told.split("exporting to image").next().unwrap_or_default();
    let fetches = build.lines().filter(|line| line.split(' ').nth(1) == Some("fetch")).count();
    let imports = build.matches("importing cache").count() + 1 - build.matches(" ERROR after").count();
    let asides = imports + fetches;
    (build.matches(" DONE ").count() - asides, build.matches(" CACHED").count())
}

pub(crate) const SOURCE: [&str; 2] = ["--cache-from", "type=registry,ref=HOST/app:cache"];

#[test]
fn the_second_machine_runs_nothing() {
    let Some(machines) = Machines::new("the_second_machine_runs_nothing") else { return };
    let Machines { first, second, .. } = &machines;
    let to = ["--cache-to", "type=registry,ref=HOST/app:cache,mode=max"];
    let told = machines.build(first, &to);
    assert_eq!(counts(&told), (6, 2), "{told}");
    assert!(told.contains("exporting cache to registry"), "{told}");
    let manifest = machines.manifest("app:cache");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.buildkit.cacheconfig.v0");
    // The base's layer, six of the steps, and the list of the files that were copied.
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(8), "{manifest}");

    let told = machines.build(second, &SOURCE);
    assert_eq!(counts(&told), (0, 8), "{told}");
    assert!(told.contains("importing cache manifest from HOST/app:cache"), "{told}");
    assert_eq!(id(first), id(second));
    assert!(!told.contains("WARNING"), "{told}");
    // What was taken is remembered like what was run: the source is not needed any more, for any of the image's steps.
    assert_eq!(counts(&machines.build(second, &[])), (0, 4));
    machines.project(&DOCKERFILE.replace("COPY --link", "RUN true\nCOPY --link"), "content");
    assert_eq!(counts(&machines.build(second, &[])), (1, 4));

    // A cache says the same whoever writes it, and no layer is sent twice.
    machines.project(DOCKERFILE, "content");
    let before = machines.registry.log().matches("POST /v2/app/blobs/uploads").count();
    machines.build(second, &[SOURCE[0], SOURCE[1], to[0], to[1]]);
    assert_eq!(machines.manifest("app:cache"), manifest);
    assert_eq!(machines.registry.log().matches("POST /v2/app/blobs/uploads").count(), before);
    machines.build(first, &["--no-cache", "--cache-to", "type=registry,ref=HOST/app:other,mode=max"]);
    assert_ne!(id(first), id(second));
    let told = machines.build(second, &["--no-cache", SOURCE[0], SOURCE[1]]);
    assert!(!told.contains("importing") && counts(&told).0 == 6, "{told}");
}

#[test]
fn a_small_cache_is_enough_for_the_same_image() {
    let Some(machines) = Machines::new("a_small_cache_is_enough_for_the_same_image") else { return };
    let Machines { first, second, .. } = &machines;
    machines.build(first, &["--cache-to", "HOST/app:cache"]);
    // The base's layer, three of the image's own, and the list of the files that were copied.
    assert_eq!(machines.manifest("app:cache")["layers"].as_array().map(Vec::len), Some(5));
    let told = machines.build(second, &SOURCE);
    assert_eq!(counts(&told), (0, 4), "{told}");
    assert_eq!(id(first), id(second));
    // Another file: everything but the RUN that does not see it runs again, and the stage that nobody exported.
    machines.project(DOCKERFILE, "changed");
    let third = World::new();
    for name in ["ctx/Dockerfile", "ctx/f"] {
        third.file(name, &fs_err::read(second.path(name)).expect("the project"));
    }
    let told = machines.build(&third, &SOURCE);
    assert_eq!(counts(&told), (5, 3), "{told}");
}

#[test]
fn a_cache_that_brings_nothing_says_why() {
    let Some(machines) = Machines::new("a_cache_that_brings_nothing_says_why") else { return };
    let Machines { first, second, .. } = &machines;
    machines.build(first, &["--cache-to", "HOST/app:cache"]);
    machines.project(&DOCKERFILE.replace("AS build", "AS build\nENV NEW=1"), "content");
    let other =
        DOCKERFILE.replace("cat /proc/uptime", "cat < /proc/uptime").replace("--link", "--link --chmod=600");
    for (dockerfile, source, why) in [
        (DOCKERFILE, "HOST/nothing:here", "not used: nothing of that name is there yet"),
        (DOCKERFILE, "127.0.0.1:9/app:cache", "not used: "),
        // An image without records lends its layers; the base has none to lend.
        (DOCKERFILE, "HOST/box:1", "not used: it ends before "),
        (other.as_str(), "HOST/app:cache", "none of its 4 records suited this build: "),
    ] {
        machines.project(dockerfile, "other content");
        let told = machines.build(second, &["--cache-from", source]);
        let warning = told.lines().find(|line| line.starts_with("WARNING: --cache-from")).unwrap_or(&told);
        assert!(warning.contains(why), "{source}: {warning}");
        second.ok(&["rmi", "app:1"]);
        second.ok(&["builder", "prune", "-af"]);
    }
    let told = machines
        .build(second, &["--cache-from", "type=registry,ref=HOST/app:cache", "--platform", "linux/arm64"]);
    assert!(told.contains("not used: it was built for linux/amd64, not for linux/arm64"), "{told}");
}

#[test]
fn an_image_carries_its_cache() {
    let Some(machines) = Machines::new("an_image_carries_its_cache") else { return };
    let Machines { first, second, registry } = &machines;
    let name = format!("{}/app:1", registry.host());
    let told = machines.build(first, &["-t", &name, "--build-arg", "BUILDKIT_INLINE_CACHE=1"]);
    first.ok(&["push", "-q", &name]);
    assert!(!told.contains("WARNING"), "{told}");
    let own = id(first);
    // Found or run: the image is the same, records and all.
    machines.build(first, &["--cache-to", "type=inline"]);
    assert_eq!(id(first), own);
    machines.build(first, &[]);
    assert_ne!(id(first), own, "without the records it is another image");

    let told = machines
        .build(second, &["--cache-from", "type=registry,ref=HOST/app:1", "--cache-to", "type=inline"]);
    assert_eq!(counts(&told), (0, 4), "{told}");
    assert_eq!(id(second), own);
    // The way of old: pulled first, and then named.
    let third = World::new();
    for name in ["ctx/Dockerfile", "ctx/f"] {
        third.file(name, &fs_err::read(second.path(name)).expect("the project"));
    }
    third.ok(&["pull", "-q", &name]);
    let told = machines.build(&third, &["--cache-from", "HOST/app:1", "--cache-to", "type=inline"]);
    assert_eq!(counts(&told), (0, 4), "{told}");
    assert!(!told.contains("importing"), "it is here: {told}");
    assert_eq!(id(&third), own);
    let refused = third.output(&["build", "--squash", "--cache-to", "type=inline", "ctx"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a squashed image has not the layers"));
}

#[test]
fn a_directory_keeps_caches() {
    let Some(machines) = Machines::new("a_directory_keeps_caches") else { return };
    let Machines { first, second, .. } = &machines;
    let directory = first.path("cache").display().to_string();
    let blobs = || fs_err::read_dir(first.path("cache/blobs/sha256")).expect("blobs").count();
    machines.build(first, &["--cache-to", &format!("type=local,dest={directory},mode=max")]);
    let told = machines.build(second, &["--cache-from", &format!("type=local,src={directory}")]);
    assert_eq!(counts(&told), (0, 8), "{told}");
    assert_eq!(id(first), id(second));
    assert_eq!(blobs(), 10, "seven layers, the list of files, the config and the manifest");
    // Another tag beside it; and `reset` makes room.
    let smaller = format!("type=local,dest={directory},tag=small");
    machines.build(first, &["--cache-to", &smaller]);
    assert_eq!(blobs(), 12);
    let told = machines.build(second, &["--cache-from", &format!("type=local,src={directory},tag=nosuch")]);
    assert!(told.contains("not used: nothing of that name is there yet"), "{told}");
    machines.build(first, &["--cache-to", &format!("{smaller},reset=true")]);
    assert_eq!(blobs(), 7, "four layers, the list of files, the config and the manifest");
    let index = fs_err::read_to_string(first.path("cache/index.json")).expect("an index");
    assert!(index.contains("\"small\"") && !index.contains("\"latest\""), "{index}");

    // What was built at both ends is sent once, though this end never sent it; and forced into another form if need be.
    let elsewhere = format!("type=local,dest={directory},tag=small");
    second.ok(&["rmi", "app:1"]);
    second.ok(&["builder", "prune", "-af"]);
    let from = format!("type=local,src={directory},tag=small");
    machines.build(second, &["--cache-from", &from, "--cache-to", &elsewhere, "-o", "type=cacheonly"]);
    assert_eq!(blobs(), 7);
    let zstd = format!("{elsewhere},compression=zstd,force-compression=true");
    machines.build(second, &["--cache-from", &from, "--cache-to", &zstd, "-o", "type=cacheonly"]);
    assert_eq!(blobs(), 13);
    machines.build(first, &["--cache-to", &format!("{smaller},reset=true")]);

    // What somebody has changed is not taken for what it was.
    for blob in fs_err::read_dir(first.path("cache/blobs/sha256")).expect("blobs") {
        let path = blob.expect("a blob").path();
        let mut bytes = fs_err::read(&path).expect("a blob");
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs_err::write(&path, bytes).expect("written");
        }
    }
    let third = World::new();
    for name in ["ctx/Dockerfile", "ctx/f"] {
        third.file(name, &fs_err::read(second.path(name)).expect("the project"));
    }
    let source = format!("type=local,src={directory},tag=small");
    let output = third.output(&["build", "--cache-from", &source, "-t", "app:1", "ctx"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && counts(&told).0 > 0, "{told}");
    assert!(told.contains("nothing was kept; what needs this layer is run"), "{told}");
}

#[test]
fn a_miss_is_explained_by_what_others_built() {
    let Some(machines) = Machines::new("a_miss_is_explained_by_what_others_built") else { return };
    let Machines { first, second, registry } = &machines;
    machines.build(first, &["--cache-to", "HOST/app:cache,HOST/app:again"]);
    let source = format!("type=registry,ref={}/app:again", registry.host());
    let dry = ["build", "--dry-run", "--cache-from", &source, "ctx"];
    let forecast = second.ok(&dry);
    assert!(forecast.contains("nothing would run"), "{forecast}");
    machines
        .project(&DOCKERFILE.replace("FROM HOST/box:1\nRUN", "FROM HOST/box:1\nENV MORE=1\nRUN"), "content");
    let told = machines.build(second, &["--cache-from", "HOST/app:again"]);
    assert!(told.contains("not cached: ENV MORE is new"), "{told}");
    // What the other machine built since is nearer than what was built here.
    let both = DOCKERFILE.replace("FROM HOST/box:1\nRUN", "FROM HOST/box:1\nENV MORE=1 LESS=2\nRUN");
    machines.project(&both, "content");
    machines.build(first, &["--cache-to", "HOST/app:newer"]);
    machines.project(&both.replace("LESS=2", "LESS=3"), "content");
    let told = machines.build(second, &["--cache-from", "HOST/app:newer"]);
    assert!(told.contains("not cached: ENV LESS changed from \"2\" to \"3\""), "{told}");
}

#[test]
fn what_only_passes_by_touches_no_disk() {
    let Some(machines) = Machines::new("what_only_passes_by_touches_no_disk") else { return };
    let Some(other) = Registry::start() else { return };
    let Machines { first, second, registry } = &machines;
    machines.build(first, &["--cache-to", "HOST/app:cache"]);
    let got = || registry.log().matches("GET /v2/app/blobs/").count();
    let (own, elsewhere) = (format!("{}/copy:1", registry.host()), format!("{}/copy:1", other.host()));
    let out = format!("type=registry,\"name={own}\"");
    let before = got();
    let told = machines.build(second, &[SOURCE[0], SOURCE[1], "-o", &out, "--metadata-file", "meta.json"]);
    assert_eq!(counts(&told), (0, 4), "{told}");
    assert_eq!(got() - before, 1, "the cache config, and no layer: they were mounted");
    let out = format!("type=registry,\"name={elsewhere}\"");
    machines.build(second, &[SOURCE[0], SOURCE[1], "-o", &out]);
    assert_eq!(second.ok(&["images", "-q"]), "");
    let layers = fs_err::read_dir(second.path("store/layers/sha256")).map_or(0, Iterator::count);
    assert_eq!(layers, 0, "no layer was stored");
    // A cache onwards to another registry: nothing is stored for that either.
    let to = format!("type=registry,ref={}/cache:1,mode=max", other.host());
    machines.build(second, &[SOURCE[0], SOURCE[1], "--cache-to", &to, "-o", "type=cacheonly"]);
    assert_eq!(fs_err::read_dir(second.path("store/layers/sha256")).map_or(0, Iterator::count), 0);
    for name in [own, elsewhere] {
        let third = World::new();
        third.ok(&["pull", "-q", &name]);
        third.ok(&["tag", &name, "app:1"]);
        assert_eq!(id(&third), id(first), "{name}");
    }
}

#[test]
fn an_object_store_keeps_caches() {
    let Some(machines) = Machines::new("an_object_store_keeps_caches") else { return };
    let Some(store) = ObjectStore::start(&["cache"]) else { return };
    let Machines { first, second, .. } = &machines;
    let (id_of_key, secret) = OBJECT_STORE_KEY;
    let place =
        format!("type=s3,bucket=cache,region=us-east-1,endpoint_url=http://{},name=app", store.host());
    let keys = format!("access_key_id={id_of_key},secret_access_key={secret}");
    let told = machines.build(first, &["--cache-to", &format!("{place},{keys},prefix=p/,mode=max")]);
    assert!(told.contains("exporting cache to S3"), "{told}");
    assert!(told.contains("writing cache manifest s3://cache/p/manifests/app done"), "{told}");
    let told = machines.build(second, &["--cache-from", &format!("{place},{keys},prefix=p/")]);
    assert_eq!(counts(&told), (0, 8), "{told}");
    assert!(told.contains("importing cache manifest from s3://cache/p/manifests/app"), "{told}");
    assert_eq!(id(first), id(second));
    assert!(!told.contains("WARNING") && !told.contains(secret), "{told}");

    // A cache that cannot be read costs a warning; one that could never be written, the build before it begins.
    let wrong = keys.replace(secret, "not-the-secret");
    let told = machines.build(second, &["--cache-from", &format!("{place},{wrong}")]);
    assert!(
        told.contains("not used: cannot read s3://cache/manifests/app")
            && told.contains("SignatureDoesNotMatch")
    );
    assert!(!told.contains("not-the-secret"), "{told}");
    let mut command = second.command(&["build", "--cache-to", &place, "ctx"]);
    command.env("HOME", "/nowhere").env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    let refused = command.output().expect("strata runs");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        told.contains("s3 cache: no credentials; in this order there are none in access_key_id=")
            && !told.contains("DONE"),
        "{told}"
    );
    // From the environment, as CI has them.
    let mut command = second.command(&[
        "build",
        "--cache-from",
        &format!("{place},prefix=p/"),
        "--no-cache-filter=x",
        "ctx",
    ]);
    command.env("AWS_ACCESS_KEY_ID", id_of_key).env("AWS_SECRET_ACCESS_KEY", secret);
    let output = command.output().expect("strata runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("not used"), "{told}");
}

#[test]
fn a_kubernetes_service_account_keeps_caches() {
    let Some(machines) = Machines::new("a_kubernetes_service_account_keeps_caches") else { return };
    let Some(store) = ObjectStore::amazon(&["cache"]) else { return };
    let token = machines.first.path("token");
    machines.first.file("token", b"of-this-cluster");
    // The bucket stands before the host's name, as Amazon has it.
    let place = "type=s3,bucket=cache,region=us-east-1,name=app";
    let build = |world: &World, flag: &str| {
        let flags = format!("{place}{}", if flag == "--cache-to" { ",mode=max" } else { "" });
        let mut command = world.command(&["build", "--progress", "plain", "-t", "app", flag, &flags, "ctx"]);
        command
            .env("HOME", "/nowhere")
            .env("AWS_ENDPOINT_URL", format!("http://localhost:{}", store.port()))
            .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/builder")
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token);
        let output = command.output().expect("strata runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !told.contains("WARNING"), "{told}");
        assert!(!told.contains("of-this-cluster"), "{told}");
        told
    };
    let told = build(&machines.first, "--cache-to");
    assert!(told.contains("writing cache manifest s3://cache/manifests/app done"), "{told}");
    let told = build(&machines.second, "--cache-from");
    assert_eq!(counts(&told), (0, 8), "{told}");
}

/// What is in a cache mount with owners, modes and times; then something is added.
const WITH_MOUNT: &str = "FROM HOST/box:1
RUN --mount=type=cache,id=objects,target=/c,uid=7,mode=0750 \\
    ls -lanR --full-time /c > /before && stat -c '%u %a' /c >> /before && cat /c/deep/file >> /before 2>&1 || true
RUN --mount=type=cache,id=objects,target=/c,uid=7,mode=0750 --mount=type=cache,target=/other \\
    mkdir -p /c/deep && echo FILE > /c/deep/file && chown 3:4 /c/deep/file && chmod 4640 /c/deep/file && \\
    touch -d @1000000000 /c/deep/file && ln -sf deep/file /c/link && ln -f /c/deep/file /c/hard && echo x > /other/x
";

#[test]
fn cache_mounts_go_along() {
    let Some(machines) = Machines::new("cache_mounts_go_along") else { return };
    let Machines { first, second, registry } = &machines;
    let cache = "type=registry,ref=HOST/app:cache";
    let seen = |world: &World| world.ok(&["run", "--rm", "--network", "none", "app:1", "cat", "/before"]);

    machines.project(&WITH_MOUNT.replace("FILE", "one"), "");
    let told = machines.build(first, &["--cache-to", &format!("{cache},mode=max,mounts=objects;nobody")]);
    assert!(told.contains("packing cache mount objects done: 4 files"), "{told}");
    assert!(told.contains("cache mount nobody: no step of this build has it"), "{told}");
    assert!(!told.contains("packing cache mount other"), "{told}");
    let manifest = machines.manifest("app:cache");

    // Who does not ask for mounts gets none, and whoever has none sends none.
    machines.project(&WITH_MOUNT.replace("FILE", "two"), "");
    let plain = World::new();
    for name in ["ctx/Dockerfile", "ctx/f"] {
        plain.file(name, &fs_err::read(second.path(name)).expect("the project"));
    }
    machines.build(&plain, &["--cache-from", cache, "--no-cache-filter", "0"]);

    // The second machine runs both steps, and finds what the first left.
    let changed = WITH_MOUNT.replace("FILE", "two").replace("|| true", "|| true # changed");
    machines.project(&changed, "");
    let told = machines.build(second, &["--cache-from", &format!("{cache},mounts=true")]);
    assert!(counts(&told).1 == 1 && !told.contains("WARNING"), "{told}");
    let before = seen(second);
    assert!(before.contains("7 750\none\n"), "{before}");
    let line = before.lines().find(|line| line.ends_with(" file")).expect("the file");
    assert!(line.split_whitespace().take(4).eq(["-rwSr-----", "2", "3", "4"]), "{line}");
    assert!(line.contains("2001-09-09 01:46:40"), "{line}");
    assert!(before.contains("link -> deep/file"), "{before}");

    // A mount that is here is not touched: the second machine has \"two\" now, whatever the cache says.
    machines.project(&changed.replace("# changed", "# again"), "");
    machines.build(second, &["--cache-from", &format!("{cache},mounts=true")]);
    assert!(seen(second).contains("7 750\ntwo\n"), "{}", seen(second));

    // What passes by goes along although its steps are hits, and the same mount is the same bytes.
    let third = World::new();
    third.file(
        "ctx/Dockerfile",
        WITH_MOUNT.replace("FILE", "one").replace("HOST", &registry.host()).as_bytes(),
    );
    let from = format!("{cache},mounts=true");
    let told = machines
        .build(&third, &["--cache-from", &from, "--cache-to", &format!("{cache},mode=max,mounts=objects")]);
    assert_eq!(counts(&told).0, 0, "{told}");
    assert_eq!(machines.manifest("app:cache"), manifest);
    // One that does not come costs a warning.
    let blob = manifest["layers"].as_array().and_then(|layers| layers.last()).expect("the mount's layer");
    let hex = blob["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
    fs_err::write(registry.blob_file(hex), b"rubbish").expect("the registry's file");
    third.file("ctx/Dockerfile", changed.replace("HOST", &registry.host()).as_bytes());
    let told = machines.build(&third, &["--cache-from", &from]);
    assert!(told.contains("WARNING: cache mount objects: not imported from HOST/app:cache: "), "{told}");
    assert!(seen(&third).contains("7 750\n") && !seen(&third).contains("one"), "{}", seen(&third));

    // By hand, as tars.
    assert_eq!(second.ok(&["builder", "cache", "ls", "-q"]), "/other\nobjects\n");
    second.ok(&["builder", "cache", "export", "objects", "objects.tar"]);
    let fourth = World::new();
    fourth.file("objects.tar", &fs_err::read(second.path("objects.tar")).expect("exported"));
    let import = ["builder", "cache", "import", "--mode", "0750", "--uid", "7", "objects", "objects.tar"];
    fourth.ok(&import);
    let again = fourth.output(&import);
    assert!(String::from_utf8_lossy(&again.stderr).contains("cache mount objects is not empty"));
    fourth.file("ctx/Dockerfile", changed.replace("HOST", &registry.host()).as_bytes());
    machines.build(&fourth, &[]);
    assert!(seen(&fourth).contains("7 750\ntwo\n"), "{}", seen(&fourth));
    fourth.ok(&["builder", "cache", "export", "objects", "again.tar"]);
    let tar = |world: &World, name| fs_err::read(world.path(name)).expect("exported");
    assert!(tar(&fourth, "again.tar").len() == tar(second, "objects.tar").len());
    let unknown = fourth.output(&["builder", "cache", "export", "nobody", "-"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no cache mount nobody: `builder cache ls`"));

    let refused = third.output(&["build", "--cache-to", "type=inline,mounts=true", "ctx"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("an inline cache has no room for cache mounts")
    );
}

#[test]
fn a_cache_has_the_form_that_is_asked_for() {
    let Some(machines) = Machines::new("a_cache_has_the_form_that_is_asked_for") else { return };
    let Machines { first, second, .. } = &machines;
    let types = |manifest: &serde_json::Value, list: &str| -> Vec<String> {
        let entries = manifest[list].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["mediaType"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let to = "type=registry,ref=HOST/app:cache,mode=max";
    const OCI: &str = "application/vnd.oci.image.layer.v1.tar";
    for (form, list, expected) in [
        ("image-manifest=false", "manifests", format!("{OCI}+gzip")),
        ("oci-mediatypes=false", "manifests", "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned()),
        ("compression=zstd,force-compression=true", "layers", format!("{OCI}+zstd")),
        ("compression=uncompressed,force-compression=true", "layers", OCI.to_owned()),
    ] {
        machines.build(first, &["--cache-to", &format!("{to},{form}")]);
        let manifest = machines.manifest("app:cache");
        let mut types = types(&manifest, list);
        if list == "manifests" {
            assert_eq!(types.pop().as_deref(), Some("application/vnd.buildkit.cacheconfig.v0"), "{form}");
        }
        // What is no layer has a type of its own in every form.
        types.retain(|kind| kind != "application/vnd.strata.cache.listings.v1+zstd");
        assert!(types.len() == 7 && types.iter().all(|kind| *kind == expected), "{form}: {types:?}");
        let told = machines.build(second, &SOURCE);
        assert_eq!(counts(&told), (0, 8), "{form}: {told}");
        assert_eq!(id(first), id(second), "{form}");
        second.ok(&["rmi", "app:1"]);
        second.ok(&["builder", "prune", "-af"]);
    }
}

#[test]
fn a_failed_export_fails_the_build_unless_it_may() {
    let Some(machines) = Machines::new("a_failed_export_fails_the_build_unless_it_may") else { return };
    let nowhere = "type=registry,ref=127.0.0.1:9/app:cache";
    let output = machines.first.output(&["build", "--cache-to", nowhere, "-t", "app:1", "ctx"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("ERROR: failed to build: failed to export the cache to"), "{told}");
    machines.first.ok(&["inspect", "app:1"]);
    let told = machines.build(&machines.first, &["--cache-to", &format!("{nowhere},ignore-error=true")]);
    assert!(told.contains("WARNING: failed to export the cache") && told.contains("(ignored)"), "{told}");
    for (flag, value, why) in [
        ("--cache-to", "type=gha", "type \"gha\" is not supported"),
        ("--cache-from", "type=azblob", "type \"azblob\" is not supported"),
        ("--cache-to", "type=inline,mode=max", "mode=min"),
        ("--cache-from", "type=bogus", "unknown type \"bogus\""),
    ] {
        let output = machines.first.output(&["build", flag, value, "ctx"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && told.contains(why), "{flag} {value}: {told}");
    }
}

/// Rewrites the cache of a directory: its config, and the blobs that its manifest lists.
fn rewrite(world: &World, change: impl FnOnce(&mut Value, &mut Vec<Value>)) {
    let document = |digest: &Value| -> (std::path::PathBuf, Value) {
        let digest = digest.as_str().expect("a digest").replace("sha256:", "cache/blobs/sha256/");
        let path = world.path(&digest);
        let text = fs_err::read(&path).expect("a document");
        (path, serde_json::from_slice(&text).expect("JSON"))
    };
    let put = |value: &Value| -> (String, usize) {
        let text = value.to_string();
        let digest = Digest::of(text.as_bytes());
        world.file(&format!("cache/blobs/sha256/{}", digest.hex()), text.as_bytes());
        (digest.to_string(), text.len())
    };
    let index = world.path("cache/index.json");
    let mut index: Value = serde_json::from_slice(&fs_err::read(index).expect("an index")).expect("JSON");
    let (_, mut manifest) = document(&index["manifests"][0]["digest"]);
    let (_, mut config) = document(&manifest["config"]["digest"]);
    let mut layers = manifest["layers"].as_array().cloned().expect("layers");
    change(&mut config, &mut layers);
    manifest["layers"] = Value::from(layers);
    let (digest, size) = put(&config);
    (manifest["config"]["digest"], manifest["config"]["size"]) = (Value::from(digest), Value::from(size));
    let (digest, size) = put(&manifest);
    let entry = &mut index["manifests"][0];
    (entry["digest"], entry["size"]) = (Value::from(digest), Value::from(size));
    world.file("cache/index.json", index.to_string().as_bytes());
}

#[test]
fn a_cache_that_lies_gets_nowhere() {
    let Some(machines) = Machines::new("a_cache_that_lies_gets_nowhere") else { return };
    let Machines { first, second, .. } = &machines;
    let directory = first.path("cache").display().to_string();
    let (to, from) =
        (format!("type=local,dest={directory},reset=true"), format!("type=local,src={directory}"));
    let lying = |change: fn(&mut Value, &mut Vec<Value>)| {
        machines.build(first, &["--cache-to", &to]);
        rewrite(first, change);
        let output =
            second.output(&["build", "--progress", "plain", "--cache-from", &from, "-t", "app:1", "ctx"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        second.output(&["rmi", "app:1"]);
        second.ok(&["builder", "prune", "-af"]);
        (output.status.success(), told)
    };
    // A blob that the manifest does not list is not to be had: the steps on it run.
    let (well, told) = lying(|_, layers| drop(layers.remove(layers.len() - 2)));
    assert!(well && counts(&told).0 > 0, "{told}");
    // One that unpacks to something else.
    let (well, told) = lying(|config, _| {
        let other = config["layers"][2]["annotations"]["diffID"].clone();
        config["layers"][1]["annotations"]["diffID"] = other;
    });
    assert!(well && told.contains("unpacks to") && told.contains("what needs this layer is run"), "{told}");
    // One that this machine has, and the cache has not: its name alone does not get it into an image.
    second.file("secret/Dockerfile", b"FROM scratch\nCOPY f /\n");
    second.file("secret/f", b"secret");
    second.ok(&["build", "-q", "-t", "secret:1", "secret"]);
    let secret = second.ok(&["inspect", "-f", "{{index .RootFS.Layers 0}}", "secret:1"]).trim().to_owned();
    machines.build(first, &["--cache-to", &to]);
    rewrite(first, |config, _| {
        for layer in config["layers"].as_array_mut().expect("layers").iter_mut().skip(1) {
            layer["annotations"]["diffID"] = Value::from(secret.clone());
        }
    });
    machines.build(second, &["--cache-from", &from]);
    assert!(!id(second).contains(&secret), "{}", id(second));
    second.ok(&["rmi", "app:1", "secret:1"]);
    second.ok(&["builder", "prune", "-af"]);
    // One that somebody has deleted.
    let (well, told) = lying(|config, layers| {
        let gone = Value::from(Digest::of(b"gone").to_string());
        layers[1]["digest"] = gone.clone();
        config["layers"][1]["blob"] = gone;
    });
    assert!(well && counts(&told).0 > 0, "{told}");
    assert!(told.contains("WARNING: --cache-from: a layer is no longer where the cache says"), "{told}");
    // Indexes that lead nowhere, and a size that is another.
    let (well, told) = lying(|config, _| config["strata"]["made"][0]["layer"] = Value::from(99));
    assert!(
        well && told.contains("not used: ") && told.contains("damaged: result 0 names layer 99"),
        "{told}"
    );
    let (well, told) = lying(|_, layers| layers[1]["size"] = Value::from(3));
    assert!(well && told.contains("bytes, not 3): what needs that was run"), "{told}");
    let layers = fs_err::read_dir(second.path("store/layers/sha256")).map_or(0, Iterator::count);
    second.ok(&["image", "prune", "-af"]);
    assert!(layers <= 4, "what was refused is not there: {layers} files");
}

#[test]
fn builds_side_by_side_take_the_same() {
    let Some(machines) = Machines::new("builds_side_by_side_take_the_same") else { return };
    let Machines { first, second, .. } = &machines;
    machines.build(first, &["--cache-to", "HOST/app:cache,HOST/app:other", "-t", "same:0"]);
    let own = id(first);
    let source = SOURCE[1].replace("HOST", &machines.registry.host());
    let children: Vec<_> = (0..4)
        .map(|number| {
            let name = format!("same:{number}");
            let mut command = second.command(&["build", "-q", "--cache-from", &source, "-t", &name, "ctx"]);
            command.stdout(std::process::Stdio::piped()).spawn().expect("strata starts")
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        let image = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success() && own.starts_with(&image) && !image.is_empty(), "{image}: {own}");
    }
}

#[test]
fn of_several_sources_each_gives_what_it_has() {
    let Some(machines) = Machines::new("of_several_sources_each_gives_what_it_has") else { return };
    let Some(locked) = Registry::with(&Setup { guard: Guard::Password, ..Setup::default() }) else { return };
    let Machines { first, second, .. } = &machines;
    // The stage alone in one cache, the image's own steps in the other.
    machines.build(first, &["--target", "build", "--cache-to", "HOST/stage:cache", "-o", "type=cacheonly"]);
    machines.build(first, &["--cache-to", "HOST/app:cache"]);
    let locked = format!("{}/app:cache", locked.host());
    let sources = ["--cache-from", "HOST/stage:cache", "--cache-from", &locked, SOURCE[0], SOURCE[1]];
    let told = machines.build(second, &sources);
    assert_eq!(counts(&told), (0, 8), "{told}");
    let warnings: Vec<&str> = told.lines().filter(|line| line.starts_with("WARNING")).collect();
    let [warning] = warnings[..] else { panic!("one source is locked: {told}") };
    assert!(warning.contains(&format!("--cache-from {locked}: not used: ")), "{warning}");
    assert!(warning.contains("unauthorized") && warning.contains("strata login"), "{warning}");
    assert_eq!(id(first), id(second));
}
