//! Layers that their makers hand out themselves, below images that are built: sent nowhere, whether they are here or not.
use crate::kinds::{FOREIGN, Own, tar};
use crate::transfer::{engine, gzipped, push, reference};
use crate::world::{World, build};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use strata_engine::Engine;
use strata_engine::build::{BuildReport, BuildRequest, CacheDestination, CacheSource};
use strata_engine::registry::Target;
use strata_engine::transfer::{Progress, Status};
use strata_oci::{Descriptor, Digest, Manifest, Platform, media_type};
use strata_testbed::{Server, answer};

/// A registry with the image `win:1`, whose lower layer is at its maker's alone.
struct Foreign {
    own: Own,
    layer: Descriptor,
    /// Whether anybody fetched it.
    fetched: Arc<AtomicBool>,
    _maker: Server,
}

impl Foreign {
    fn new() -> Self {
        let (far, near) = (tar("far", b"from its maker"), tar("near", b"on the registry"));
        let (blob, fetched) = (gzipped(&far), Arc::new(AtomicBool::new(false)));
        let (served, seen) = (blob.clone(), Arc::clone(&fetched));
        let maker = Server::start(move |_, out| {
            seen.store(true, Ordering::SeqCst);
            let _ = out.write_all(&answer(200, &[], &served));
        });
        let urls = vec![format!("http://{}/layer", maker.host())];
        let layer = Descriptor { urls, ..Descriptor::new(FOREIGN, Digest::of(&blob), blob.len() as u64) };
        let own = Own::new();
        let here = own.blob("win", media_type::OCI_LAYER, &near);
        own.image("win", "1", Platform::host(), &[(layer.clone(), far), (here, near)]);
        Self { own, layer, fetched, _maker: maker }
    }

    /// A build on the image that keeps nothing.
    fn request(&self, world: &World, instructions: &str) -> BuildRequest {
        let dockerfile = format!("FROM {}/win:1\n{instructions}", self.own.host);
        let mut request = world.context(&dockerfile, &[("f", b"mine")]);
        (request.keep_image, request.tags) = (false, Vec::new());
        request
    }

    fn manifest(&self, path: &str) -> Manifest {
        let target = Target::Tag("1".to_owned());
        let manifest = self.own.client.manifest(&self.own.repository(path), &target).unwrap();
        serde_json::from_slice(&manifest.bytes).unwrap()
    }

    /// The image of a repository names the layer as the base does, and the repository has not got it.
    fn assert_named(&self, path: &str) {
        assert_eq!(self.manifest(path).layers[0], self.layer, "{path}");
        assert!(!self.has(path), "{path}");
    }

    fn has(&self, path: &str) -> bool {
        self.own.client.blob_exists(&self.own.repository(path), &self.layer.digest).unwrap()
    }

    /// Pushes a build, and says how many layers were passed over.
    fn send(&self, engine: &Engine, report: &BuildReport, path: &str) -> usize {
        let skipped = Mutex::new(0);
        let events = |progress: Progress<'_>| {
            if let Progress::Layer { status: Status::SkippedForeign, .. } = progress {
                *skipped.lock().unwrap() += 1;
            }
        };
        let name = reference(&format!("{}/{path}:1", self.own.host));
        engine
            .push_build(report, &name, None, &Default::default(), &events, &AtomicBool::new(false))
            .unwrap();
        skipped.into_inner().unwrap()
    }
}

#[test]
fn a_base_that_need_not_be_here_is_named_as_it_was() {
    let Some(world) = World::new() else { return };
    let foreign = Foreign::new();
    let ours = engine(&world);
    let send = |instructions: &str, path: &str| {
        let report = build(&ours, &foreign.request(&world, instructions)).unwrap();
        assert_eq!(foreign.send(&ours, &report, path), 1);
        foreign.assert_named(path);
    };
    // No layer is needed here: the maker is not even asked.
    send("ENV A=1\n", "env");
    assert!(!foreign.fetched.load(Ordering::SeqCst));
    // The base was needed, and is no image of the store.
    send("COPY f /f\n", "copy");
    assert!(foreign.fetched.load(Ordering::SeqCst));
    // From the cache: the same.
    send("COPY f /f\n", "again");
    assert_eq!(foreign.manifest("again").layers, foreign.manifest("copy").layers);
    // Kept, and pushed later.
    let mut request = foreign.request(&world, "COPY f /f\n");
    let later = format!("{}/later:1", foreign.own.host);
    (request.keep_image, request.tags) = (true, vec![reference(&later)]);
    build(&ours, &request).unwrap();
    push(&ours, &later, None).unwrap();
    foreign.assert_named("later");
    drop(ours);
    world.assert_sound();
}

#[test]
fn a_full_hit_of_a_shared_cache_names_it_too() {
    let (Some(world), Some(other), Some(third)) = (World::new(), World::new(), World::new()) else { return };
    let foreign = Foreign::new();
    let events = |_: strata_engine::build::Event<'_>| ();
    let never = AtomicBool::new(false);
    let export = |engine: &Engine, report: &BuildReport, name: &str| {
        let to =
            CacheDestination::parse(&format!("type=registry,ref={}/{name}:1", foreign.own.host)).unwrap();
        engine.export_cache(report, &to, &events, &never).unwrap();
    };
    let asking = |world: &World, name: &str| {
        let mut request = foreign.request(world, "COPY f /f\n");
        request.cache_from =
            CacheSource::parse(&format!("type=registry,ref={}/{name}:1", foreign.own.host)).unwrap();
        // Somebody exports what comes of it.
        request.cache_to = CacheDestination::parse(&format!("{}/onwards:1", foreign.own.host)).unwrap();
        request
    };
    let ours = engine(&world);
    let first = build(&ours, &asking(&world, "cache")).unwrap();
    export(&ours, &first, "cache");
    // A cache is nobody's image: its layers are whole. That makes none of them one for all registries.
    foreign.send(&ours, &first, "after");
    foreign.assert_named("after");

    // Nothing is here, nothing is fetched for an image, and all of it goes on.
    foreign.fetched.store(false, Ordering::SeqCst);
    let theirs = engine(&other);
    let second = build(&theirs, &asking(&other, "cache")).unwrap();
    assert_eq!(foreign.send(&theirs, &second, "hit"), 1);
    foreign.assert_named("hit");
    assert_eq!(foreign.manifest("hit").layers, foreign.manifest("after").layers);
    assert!(!foreign.fetched.load(Ordering::SeqCst));
    export(&theirs, &second, "onwards");
    let last = engine(&third);
    let onwards = build(&last, &asking(&third, "onwards")).unwrap();
    foreign.send(&last, &onwards, "last");
    foreign.assert_named("last");
    drop((first, second, onwards, ours, theirs, last));
    for world in [&world, &other, &third] {
        world.assert_sound();
    }
}
