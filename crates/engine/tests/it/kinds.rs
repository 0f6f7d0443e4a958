//! All kinds of images on a registry of our own: layers that are elsewhere, twice the same, empty, in any compression; names
//! by digest, by platform, all of a repository; documents that are no images.
use crate::transfer::{engine, gzipped, layers, pull, pull_told, push, reference};
use crate::world::{Tar, World, build, text, uncached};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use strata_engine::registry::{Config, Registries, Repository, Target};
use strata_engine::serve::{Handle, Options, Server};
use strata_engine::transfer::{Progress, PullRequest, PushForm, PushRequest, Status};
use strata_oci::{Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, Platform, Raw, media_type};

/// `registry serve` in a thread, and a client to fill it with.
pub(crate) struct Own {
    pub(crate) host: String,
    handle: Handle,
    thread: Option<std::thread::JoinHandle<()>>,
    pub(crate) client: Registries,
    _directory: tempfile::TempDir,
}

impl Own {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let server =
            Server::bind(Options::new(directory.path().join("r"), ([127, 0, 0, 1], 0).into())).unwrap();
        let (host, handle) = (server.address().to_string(), server.handle());
        let thread = Some(std::thread::spawn(move || server.run()));
        Self { host, handle, thread, client: Registries::new(Config::default()), _directory: directory }
    }

    pub(crate) fn repository(&self, path: &str) -> Repository {
        Repository::new(&self.host, path)
    }

    pub(crate) fn blob(&self, path: &str, kind: &str, bytes: &[u8]) -> Descriptor {
        let (digest, owned) = (Digest::of(bytes), bytes.to_vec());
        let mut source = move |offset: u64| Ok(std::io::Cursor::new(owned[offset as usize..].to_vec()));
        self.client.upload(&self.repository(path), &digest, bytes.len() as u64, &mut source).unwrap();
        Descriptor::new(kind, digest, bytes.len() as u64)
    }

    fn put(&self, path: &str, target: &str, kind: &str, bytes: &[u8]) -> Descriptor {
        let digest = Digest::of(bytes);
        let target = if target.is_empty() { Target::Digest(digest) } else { Target::Tag(target.to_owned()) };
        self.client.put_manifest(&self.repository(path), &target, kind, bytes).unwrap();
        Descriptor::new(kind, digest, bytes.len() as u64)
    }

    /// An image of these layers: descriptors, and the tars that they hold.
    pub(crate) fn image(
        &self,
        path: &str,
        tag: &str,
        platform: Platform,
        layers: &[(Descriptor, Vec<u8>)],
    ) -> Descriptor {
        let mut config = ImageConfig { platform: platform.clone(), ..ImageConfig::default() };
        config.rootfs.diff_ids = layers.iter().map(|(_, tar)| DiffId::new(Digest::of(tar))).collect();
        let config = self.blob(path, media_type::OCI_CONFIG, Raw::new(config).bytes());
        let manifest = Raw::new(Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            config,
            layers: layers.iter().map(|(layer, _)| layer.clone()).collect(),
            annotations: Default::default(),
        });
        let put = self.put(path, tag, media_type::OCI_MANIFEST, manifest.bytes());
        Descriptor { platform: Some(platform), ..put }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    Tar::default().file(name, content).end()
}

pub(crate) const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

#[test]
fn foreign_layers_are_fetched_from_their_makers_and_never_sent_unless_allowed() {
    let (Some(world), Some(other)) = (World::new(), World::new()) else { return };
    let (own, next) = (Own::new(), Own::new());
    let far = tar("far", b"from its maker");
    let blob = gzipped(&far);
    let served = blob.clone();
    let maker = strata_testbed::Server::start(move |request, out| {
        let status = if request.target == "/layer" { 200 } else { 404 };
        let _ = out.write_all(&strata_testbed::answer(status, &[], &served));
    });
    let urls = vec![format!("http://{}/gone", maker.host()), format!("http://{}/layer", maker.host())];
    let foreign = Descriptor { urls, ..Descriptor::new(FOREIGN, Digest::of(&blob), blob.len() as u64) };
    let near = tar("near", b"on the registry");
    let here = own.blob("win", media_type::OCI_LAYER, &near);
    let layers_of = [(foreign.clone(), far.clone()), (here, near)];
    let image = own.image("win", "1", Platform::host(), &layers_of);
    let name = format!("{}/win:1", own.host);
    let ours = engine(&world);
    assert_eq!(pull(&ours, &name).unwrap().digest, image.digest);
    assert_eq!(layers(&ours, &name)[0], Digest::of(&far).to_string());

    // As it is to another registry: the same manifest, without the layer.
    let there = format!("{}/win:1", next.host);
    ours.tag(&name, &there).unwrap();
    let skipped = Mutex::new(0);
    let send = |name: &str, foreign: bool| {
        let form = PushForm { recipe: None, foreign };
        let request = PushRequest { reference: reference(name), all_tags: false, form };
        let events = |progress: Progress<'_>| {
            if let Progress::Layer { status: Status::SkippedForeign, .. } = progress {
                *skipped.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            }
        };
        ours.push(&request, &events, &AtomicBool::new(false)).unwrap().remove(0)
    };
    assert_eq!(send(&there, false).digest, image.digest);
    let has = |path: &str| next.client.blob_exists(&next.repository(path), &foreign.digest).unwrap();
    assert!(!has("win") && *skipped.lock().unwrap() == 1);
    assert_eq!(
        layers(&engine(&other), &{
            pull(&engine(&other), &there).unwrap();
            there.clone()
        }),
        layers(&ours, &name)
    );

    // An image built on it names the layer as its base does, and does not hand it out either.
    let mut request = uncached(world.context(&format!("FROM {name}\nCOPY f /f\n"), &[("f", b"mine")]));
    let built = format!("{}/built:1", next.host);
    request.tags = vec![reference(&built)];
    build(&ours, &request).unwrap();
    send(&built, false);
    assert!(!has("built") && *skipped.lock().unwrap() == 2);
    let manifest = next.client.manifest(&next.repository("built"), &Target::Tag("1".to_owned())).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest.bytes).unwrap();
    assert_eq!(manifest.layers[0], foreign);
    pull(&engine(&other), &built).unwrap();

    // Whoever may, sends it.
    let allowed = format!("{}/allowed:1", next.host);
    ours.tag(&name, &allowed).unwrap();
    assert_eq!(send(&allowed, true).digest, image.digest);
    assert!(has("allowed"));
    other.assert_sound();
}

#[test]
fn layers_twice_empty_and_in_every_form() {
    let (Some(world), Some(other)) = (World::new(), World::new()) else { return };
    let own = Own::new();
    let (twice, empty) = (tar("f", b"again and again"), Tar::default().end());
    let zstd = zstd_of(&tar("z", b"zstd"));
    let all = vec![
        (own.blob("a", media_type::OCI_LAYER_GZIP, &gzipped(&twice)), twice.clone()),
        (own.blob("a", media_type::OCI_LAYER, &empty), empty.clone()),
        (own.blob("a", media_type::OCI_LAYER_ZSTD, &zstd), tar("z", b"zstd")),
        // The same layer in another form, and a type that says less than the bytes.
        (own.blob("a", media_type::DOCKER_LAYER_GZIP, &twice), twice.clone()),
        (own.blob("a", media_type::OCI_LAYER_GZIP, &gzipped(&empty)), empty.clone()),
    ];
    let image = own.image("a", "1", Platform::host(), &all);
    let name = format!("{}/a:1", own.host);
    let ours = engine(&world);
    let (pulled, told) = pull_told(&ours, &name).unwrap();
    assert_eq!((pulled.digest, told), (image.digest, vec!["pulled".to_owned(); 3]));
    let wanted: Vec<String> = all.iter().map(|(_, tar)| Digest::of(tar).to_string()).collect();
    assert_eq!(layers(&ours, &name), wanted);
    // To another registry and back, as it is and compressed anew.
    let next = Own::new();
    for (path, recipe) in
        [("same", None), ("anew", Some(strata_engine::transfer::Recipe::new("zstd", None).unwrap()))]
    {
        let there = format!("{}/{path}:1", next.host);
        ours.tag(&name, &there).unwrap();
        let (sent, _) = push(&ours, &there, recipe).unwrap();
        assert_eq!(sent.digest == image.digest, recipe.is_none());
        let theirs = engine(&other);
        assert_eq!(pull(&theirs, &there).unwrap().digest, sent.digest);
        assert_eq!(layers(&theirs, &there), wanted);
    }
    other.assert_sound();
    world.assert_sound();
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("zstd")
        .args(["-q", "-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("scripts/setup installs zstd");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn names_lead_to_images_by_digest_platform_and_repository() {
    let Some(world) = World::new() else { return };
    let own = Own::new();
    let layer = |n: &str| {
        let tar = tar("f", n.as_bytes());
        (own.blob("a", media_type::OCI_LAYER, &tar), tar)
    };
    let platforms = ["linux/amd64", "linux/arm64/v8", "linux/s390x"];
    let images: Vec<Descriptor> =
        platforms.iter().map(|name| own.image("a", "", name.parse().unwrap(), &[layer(name)])).collect();
    let index = Raw::new(Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        manifests: images.clone(),
        annotations: Default::default(),
    });
    let index = own.put("a", "multi", media_type::OCI_INDEX, index.bytes());
    own.image("a", "single", Platform::host(), &[layer("single")]);
    let ours = engine(&world);
    let ask = |name: &str, platform: Option<&str>, all_tags: bool| {
        let mut request = PullRequest::new(reference(&format!("{}/{name}", own.host)));
        request.platform = platform.map(|name| name.parse().unwrap());
        request.all_tags = all_tags;
        ours.pull(&request, &|_| {}, &AtomicBool::new(false))
    };
    for (at, platform) in platforms.iter().enumerate() {
        let pulled = ask("a:multi", Some(platform), false).unwrap().remove(0);
        assert_eq!(pulled.digest, index.digest);
        let shown = ours.inspect_image(&pulled.id.to_string()).unwrap();
        assert!(platform.contains(&*shown.architecture), "{} for {platform}", shown.architecture);
        // The manifest itself has a digest as well, and no tag.
        let direct = ask(&format!("a@{}", images[at].digest), Some(platform), false).unwrap().remove(0);
        assert_eq!(direct.id, pulled.id);
    }
    let error = text(&ask("a:multi", Some("linux/riscv64"), false).unwrap_err());
    assert!(
        error.contains("no matching manifest for linux/riscv64")
            && error.ends_with("linux/amd64, linux/arm64/v8, linux/s390x"),
        "{error}"
    );
    let all = ask("a", None, true).unwrap();
    let tags: Vec<&str> = all.iter().filter_map(|pulled| pulled.reference.tag()).collect();
    assert_eq!(tags, ["multi", "single"]);
    let error = text(&ask(&format!("a@{}", Digest::of(b"nothing")), None, false).unwrap_err());
    assert!(error.contains("not found"), "{error}");
}

#[test]
fn what_is_no_image_is_named() {
    let Some(world) = World::new() else { return };
    let own = Own::new();
    let chart = own.blob("a", "application/vnd.cncf.helm.config.v1+json", b"{}");
    let manifest = Raw::new(Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        config: chart,
        layers: vec![],
        annotations: Default::default(),
    });
    own.put("a", "chart", media_type::OCI_MANIFEST, manifest.bytes());
    let error = text(&pull(&engine(&world), &format!("{}/a:chart", own.host)).unwrap_err());
    assert!(error.contains("is not a container image: its config is of type"), "{error}");
    // Docker's first schema: signed, with layers in reverse, and gone since 2025.
    let old = strata_testbed::Server::start(|request, out| {
        let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        let reply = match request.target.as_str() {
            "/v2/" => strata_testbed::answer(200, &[], ""),
            _ => {
                strata_testbed::answer(200, &[("Content-Type", kind)], r#"{"schemaVersion":1,"fsLayers":[]}"#)
            }
        };
        let _ = out.write_all(&reply);
    });
    let error = text(&pull(&engine(&world), &format!("{}/a:1", old.host())).unwrap_err());
    assert!(error.contains("schema 1") || error.contains("schema version 1"), "{error}");
    world.assert_sound();
}
