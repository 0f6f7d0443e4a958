//! Pulls and pushes: what travels arrives unchanged, what was cut goes on, what lies is refused.
use crate::registry::{Answer, Cutter, Liar, Registry};
use crate::world::{World, uncached};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use strata_engine::registry::{Config, Registries, Retry};
use strata_engine::transfer::{Progress, PullRequest, Pulled, PushForm, PushRequest, Pushed, Recipe, Status};
use strata_engine::{Engine, EngineError};
use strata_oci::{Descriptor, Digest, ImageConfig, Manifest, Raw, Reference, media_type};

/// An engine on the world's store that tries again at once and for long.
pub(crate) fn engine(world: &World) -> Engine {
    let retry = Retry { tries: 40, first: Duration::ZERO, longest: Duration::from_secs(1) };
    world.engine().with_registries(Registries::new(Config { retry, ..Config::default() }))
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

pub(crate) fn pull(engine: &Engine, name: &str) -> Result<Pulled, EngineError> {
    Ok(pull_told(engine, name)?.0)
}

/// With the statuses of its layers.
pub(crate) fn pull_told(engine: &Engine, name: &str) -> Result<(Pulled, Vec<String>), EngineError> {
    let told = Mutex::new(Vec::new());
    let events = |progress: Progress<'_>| note(&told, progress);
    let mut pulled = engine.pull(&PullRequest::new(reference(name)), &events, &AtomicBool::new(false))?;
    Ok((pulled.remove(0), told.into_inner().unwrap()))
}

pub(crate) fn push(
    engine: &Engine,
    name: &str,
    recipe: Option<Recipe>,
) -> Result<(Pushed, Vec<String>), EngineError> {
    let told = Mutex::new(Vec::new());
    let request = PushRequest {
        reference: reference(name),
        all_tags: false,
        form: PushForm { recipe, foreign: false },
    };
    let events = |progress: Progress<'_>| note(&told, progress);
    let mut pushed = engine.push(&request, &events, &AtomicBool::new(false))?;
    Ok((pushed.remove(0), told.into_inner().unwrap()))
}

fn note(told: &Mutex<Vec<String>>, progress: Progress<'_>) {
    let text = match progress {
        Progress::Layer { status: Status::MountedFrom(path), .. } => format!("mounted from {path}"),
        Progress::Layer { status: Status::Pushed, .. } => "pushed".to_owned(),
        Progress::Layer { status: Status::LayerAlreadyExists, .. } => "exists".to_owned(),
        Progress::Layer { status: Status::AlreadyExists, .. } => "here".to_owned(),
        Progress::Layer { status: Status::PullComplete, .. } => "pulled".to_owned(),
        Progress::Layer { status: Status::Waiting, .. } => "waiting".to_owned(),
        Progress::Warning(text) => format!("warning: {text}"),
        _ => return,
    };
    told.lock().unwrap().push(text);
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `name`, of three layers: one of noise, one of text, one that hides a file.
pub(crate) fn build(world: &World, name: &str, seed: u64, length: usize) {
    let text = "the same line again and again\n".repeat(5000);
    let dockerfile = "FROM scratch\nCOPY noise /data/noise\nCOPY text /data/text\nWORKDIR /data\n";
    let files: [(&str, &[u8]); 2] = [("noise", &noise(seed, length)), ("text", text.as_bytes())];
    let mut request = uncached(world.context(dockerfile, &files));
    request.tags = vec![reference(name)];
    world.build(&request).unwrap();
}

pub(crate) fn layers(engine: &Engine, name: &str) -> Vec<String> {
    engine.inspect_image(name).unwrap().root_fs.layers
}

#[test]
fn what_is_pushed_comes_back_with_its_digests() {
    let (Some(world), Some(other), Some(registry)) = (World::new(), World::new(), Registry::start()) else {
        return;
    };
    let host = registry.host();
    for (name, recipe) in [
        ("plain", None),
        ("zstd", Some(Recipe::new("zstd", Some(7)).unwrap())),
        ("tar", Some(Recipe::new("uncompressed", None).unwrap())),
    ] {
        let name = format!("{host}/team/{name}:1");
        build(&world, &name, 7, 300_000);
        let (pushed, told) = push(&engine(&world), &name, recipe).unwrap();
        assert_eq!(told.iter().filter(|status| *status == "pushed").count(), 3, "{told:?}");
        let (pulled, told) = pull_told(&engine(&other), &name).unwrap();
        assert_eq!((pulled.digest, pulled.newer), (pushed.digest, true));
        assert_eq!(told.len(), 3, "{told:?}");
        let (ours, theirs) = (engine(&world), engine(&other));
        assert_eq!(ours.inspect_image(&name).unwrap().id, theirs.inspect_image(&name).unwrap().id);
        assert_eq!(layers(&ours, &name), layers(&theirs, &name));
        let digests = vec![format!(
            "{host}/team/{}@{}",
            reference(&name).path().rsplit('/').next().unwrap(),
            pushed.digest
        )];
        assert_eq!(ours.inspect_image(&name).unwrap().repo_digests, digests);
        assert_eq!(theirs.inspect_image(&name).unwrap().repo_digests, digests);
        assert!(!pull(&theirs, &name).unwrap().newer, "nothing has changed");
        assert!(!pull(&theirs, &digests[0]).unwrap().newer, "nor under its digest");
        let (again, told) = push(&ours, &name, recipe).unwrap();
        assert_eq!(again.digest, pushed.digest);
        assert!(told.iter().all(|status| status == "exists"), "{told:?}");
    }
    other.assert_sound();
    world.assert_sound();
}

#[test]
fn nothing_that_is_here_or_there_travels() {
    let (Some(world), Some(other), Some(registry)) = (World::new(), World::new(), Registry::start()) else {
        return;
    };
    let host = registry.host();
    let (a, b) = (format!("{host}/a:1"), format!("{host}/b:1"));
    build(&world, &a, 3, 200_000);
    let ours = engine(&world);
    let (pushed, _) = push(&ours, &a, None).unwrap();
    ours.tag(&a, &b).unwrap();
    let (moved, told) = push(&ours, &b, None).unwrap();
    assert_eq!(moved.digest, pushed.digest);
    assert_eq!(told, ["mounted from a", "mounted from a", "mounted from a"]);
    // Another image on the same layers.
    let mut request = world.context(&format!("FROM {a}\nCOPY more /more\n"), &[("more", b"more")]);
    request.tags = vec![reference(&format!("{host}/c:1"))];
    world.build(&request).unwrap();
    let (_, told) = push(&ours, &format!("{host}/c:1"), None).unwrap();
    assert_eq!(told.iter().filter(|status| *status == "pushed").count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|status| status.starts_with("mounted")).count(), 3, "{told:?}");
    let theirs = engine(&other);
    pull(&theirs, &a).unwrap();
    let (_, told) = pull_told(&theirs, &format!("{host}/c:1")).unwrap();
    assert_eq!(told, ["here", "here", "here", "pulled"]);
    let (_, told) = pull_told(&theirs, &b).unwrap();
    assert_eq!(told, ["here", "here", "here"]);
    assert_eq!(theirs.inspect_image(&a).unwrap().repo_tags.len(), 2);
}

#[test]
fn what_was_pulled_goes_elsewhere_as_it_is() {
    let (Some(world), Some(other), Some(one), Some(two)) =
        (World::new(), World::new(), Registry::start(), Registry::start())
    else {
        return;
    };
    let first = format!("{}/app:1", one.host());
    build(&world, &first, 5, 200_000);
    // A level that is not the default: the other store cannot guess it.
    let (pushed, _) = push(&engine(&world), &first, Some(Recipe::new("gzip", Some(1)).unwrap())).unwrap();
    let theirs = engine(&other);
    pull(&theirs, &first).unwrap();
    let second = format!("{}/copy:1", two.host());
    theirs.tag(&first, &second).unwrap();
    let (copied, told) = push(&theirs, &second, None).unwrap();
    assert_eq!((copied.digest, copied.size), (pushed.digest, pushed.size), "{told:?}");
    // The registry it came from is gone: the layers are compressed here, under another digest.
    let third = format!("{}/late/copy:1", two.host());
    theirs.tag(&first, &third).unwrap();
    let (mounted, told) = push(&theirs, &third, None).unwrap();
    assert_eq!(mounted.digest, pushed.digest);
    assert!(told.iter().all(|status| status.starts_with("mounted from copy")), "{told:?}");
    drop((two, one));
    let new = Registry::start().unwrap();
    let last = format!("{}/app:1", new.host());
    theirs.tag(&first, &last).unwrap();
    let (anew, told) = push(&theirs, &last, None).unwrap();
    assert_ne!(anew.digest, pushed.digest);
    assert!(told.iter().any(|status| status.starts_with("warning: ")), "{told:?}");
    assert_eq!(pull(&engine(&world), &last).unwrap().digest, anew.digest);
    assert_eq!(layers(&engine(&world), &last), layers(&theirs, &last));
}

/// How many cuts a test makes: `STRATA_CUTS`, else enough to meet every place where one can fall.
fn cuts_wanted() -> u64 {
    std::env::var("STRATA_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

#[test]
fn a_thousand_cuts_of_a_pull() {
    let (Some(world), Some(other), Some(registry)) = (World::new(), World::new(), Registry::start()) else {
        return;
    };
    let direct = format!("{}/cut:1", registry.host());
    let wanted = cuts_wanted();
    // A cut comes after 4,500 bytes, on average.
    let size = wanted as usize * 5_000;
    build(&world, &direct, 11, size);
    push(&engine(&world), &direct, None).unwrap();
    let cutter = Cutter::new(&registry.host(), true, (1_000, 8_000), wanted);
    pull(&engine(&other), &format!("{}/cut:1", cutter.host())).unwrap();
    let (cuts, bytes) = cutter.counted();
    eprintln!("{cuts} cuts of a pull: {bytes} bytes came for {size}");
    assert!(cuts >= wanted, "{cuts} cuts");
    // Every request costs an answer's head of less than 800 bytes; nothing else came twice.
    let most = size as u64 + 200_000 + (cuts + 50) * 800;
    assert!(bytes <= most, "{bytes} bytes came, at most {most} were needed");
    assert_eq!(
        layers(&engine(&world), &direct),
        layers(&engine(&other), &format!("{}/cut:1", cutter.host()))
    );
    other.assert_sound();
}

/// To a registry that knows how much of an upload it has: it goes on where it was cut.
#[test]
fn a_thousand_cuts_of_a_push() {
    use strata_engine::serve::{Options, Server};
    let (Some(world), Some(other)) = (World::new(), World::new()) else { return };
    let directory = world.directory.path().join("registry");
    let server = Server::bind(Options::new(directory, ([127, 0, 0, 1], 0).into())).unwrap();
    let (address, stop) = (server.address(), server.handle());
    let served = std::thread::spawn(move || server.run());
    let wanted = cuts_wanted();
    let size = wanted as usize * 2_200;
    // Of what goes up before a cut, some 700 bytes are the heads of two requests.
    let cutter = Cutter::new(&address.to_string(), false, (1_000, 2_600), wanted);
    let name = format!("{}/cut:1", cutter.host());
    build(&world, &name, 13, size);
    let (pushed, _) = push(&engine(&world), &name, None).unwrap();
    let (cuts, bytes) = cutter.counted();
    eprintln!("{cuts} cuts of a push: {bytes} bytes went for {size}");
    assert!(cuts >= wanted, "{cuts} cuts");
    // A cut costs the heads of two requests and what was on its way in buffers, not what the registry has; at most twice
    // it got a request late, and the layer went once more.
    let most = 3 * (size as u64 + 200_000) + cuts * 3_300;
    assert!(bytes <= most, "{bytes} bytes went, at most {most} were needed for {size}");
    let direct = format!("{address}/cut:1");
    assert_eq!(pull(&engine(&other), &direct).unwrap().digest, pushed.digest);
    assert_eq!(layers(&engine(&world), &name), layers(&engine(&other), &direct));
    other.assert_sound();
    stop.stop();
    served.join().unwrap();
}

/// Debian's registry forgets an upload of which a request was cut, so that the layer begins anew there; those that are
/// finished are not sent again.
#[test]
fn cuts_of_a_push() {
    let (Some(world), Some(other), Some(registry)) = (World::new(), World::new(), Registry::start()) else {
        return;
    };
    const LAYERS: usize = 60;
    const NOISE: usize = 30_000;
    let cutter = Cutter::new(&registry.host(), false, (3_000, 90_000), 1000);
    let name = format!("{}/cut:1", cutter.host());
    let files: Vec<(String, Vec<u8>)> =
        (0..LAYERS).map(|n| (format!("f{n}"), noise(1000 + n as u64, NOISE))).collect();
    let copies: String = files.iter().map(|(name, _)| format!("COPY {name} /{name}\n")).collect();
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let mut request = uncached(world.context(&format!("FROM scratch\n{copies}"), &files));
    request.tags = vec![reference(&name)];
    world.build(&request).unwrap();
    let (pushed, told) = push(&engine(&world), &name, None).unwrap();
    assert_eq!(told.iter().filter(|status| *status == "pushed").count(), LAYERS, "{told:?}");
    let (cuts, bytes) = cutter.counted();
    assert!(cuts >= 30, "{cuts} cuts");
    // What a cut costs is at most the layer that it cut, with its request.
    let most = LAYERS as u64 * (NOISE as u64 + 4_000) + cuts * (NOISE as u64 + 4_000);
    assert!(bytes <= most, "{bytes} bytes went, at most {most} were needed");
    let direct = format!("{}/cut:1", registry.host());
    assert_eq!(pull(&engine(&other), &direct).unwrap().digest, pushed.digest);
    assert_eq!(layers(&engine(&world), &name), layers(&engine(&other), &direct));
    other.assert_sound();
}

#[test]
fn what_came_before_the_end_is_kept_for_the_next_command() {
    let (Some(world), Some(other), Some(registry)) = (World::new(), World::new(), Registry::start()) else {
        return;
    };
    const NOISE: usize = 4_000_000;
    let direct = format!("{}/kept:1", registry.host());
    build(&world, &direct, 17, NOISE);
    push(&engine(&world), &direct, None).unwrap();
    // One connection for documents, then every blob breaks off once and nobody tries again.
    let cutter = Cutter::new(&registry.host(), true, (1_500_000, 1_500_000), u64::MAX);
    let name = format!("{}/kept:1", cutter.host());
    let once = || {
        let config = Config { retry: Retry::NEVER, ..Config::default() };
        other.engine().with_registries(Registries::new(config))
    };
    let mut failures = 0;
    while pull(&once(), &name).is_err() {
        failures += 1;
        assert!(failures < 10, "it never ends");
        assert!(other.engine().disk_usage().unwrap().physical > 0);
    }
    assert!(failures >= 2, "{failures} failures");
    let (_, bytes) = cutter.counted();
    assert!(bytes <= NOISE as u64 + 300_000, "{bytes} bytes came for {NOISE}");
    assert_eq!(layers(&engine(&world), &direct), layers(&other.engine(), &name));
    other.assert_sound();
}

#[test]
fn two_pulls_at_a_time_share_the_work() {
    let (Some(world), Some(other), Some(registry)) = (World::new(), World::new(), Registry::start()) else {
        return;
    };
    const NOISE: usize = 6_000_000;
    let direct = format!("{}/both:1", registry.host());
    build(&world, &direct, 19, NOISE);
    push(&engine(&world), &direct, None).unwrap();
    let cutter = Cutter::new(&registry.host(), true, (u64::MAX - 1, u64::MAX - 1), 0);
    let name = format!("{}/both:1", cutter.host());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pull(&engine(&other), &name).unwrap());
        }
    });
    let (_, bytes) = cutter.counted();
    assert!(bytes < NOISE as u64 + 400_000, "{bytes} bytes came for {NOISE}");
    other.assert_sound();
}

/// Puts an image on a liar whose only layer is `blob`, which the manifest calls `named` and the config `diff_id`.
fn lie(liar: &Liar, blob: Answer, named: &Descriptor, diff_id: Digest) {
    let mut config = ImageConfig { platform: strata_oci::Platform::host(), ..ImageConfig::default() };
    config.rootfs.diff_ids = vec![strata_oci::DiffId::new(diff_id)];
    let config = Raw::new(config);
    let size = config.bytes().len() as u64;
    let manifest = Raw::new(Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        config: Descriptor::new(media_type::OCI_CONFIG, *config.digest(), size),
        layers: vec![named.clone()],
        annotations: Default::default(),
    });
    liar.says("/v2/lie/manifests/1", Answer::Bytes(manifest.bytes().to_vec()));
    liar.says(&format!("/v2/lie/blobs/{}", config.digest()), Answer::Bytes(config.bytes().to_vec()));
    liar.says(&format!("/v2/lie/blobs/{}", named.digest), blob);
}

/// The error of a pull from a liar, after which nothing must be left.
fn refused(blob: Answer, named: &Descriptor, diff_id: Digest) -> String {
    let Some(world) = World::new() else { return String::new() };
    let liar = Liar::start();
    lie(&liar, blob, named, diff_id);
    let config = Config { retry: Retry::NEVER, ..Config::default() };
    let engine = world.engine().with_registries(Registries::new(config));
    let error = pull(&engine, &format!("{}/lie:1", liar.host())).unwrap_err().to_string();
    assert!(engine.images(&Default::default()).unwrap().is_empty());
    drop(engine);
    let left = fs_err::read_dir(world.root().join("downloads")).map_or(0, Iterator::count);
    assert!(
        left == 0 || error.contains("broke") || error.contains("closed"),
        "{left} downloads after {error}"
    );
    world.assert_sound();
    error
}

pub(crate) fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn lies_are_told_from_damage() {
    if World::new().is_none() {
        return;
    }
    let tar = vec![0; 10_240];
    let blob = gzipped(&tar);
    let of =
        |bytes: &[u8]| Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(bytes), bytes.len() as u64);
    let diff_id = Digest::of(&tar);

    let mut other = blob.clone();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    let error = refused(Answer::Bytes(other), &of(&blob), diff_id);
    assert!(error.contains("what came has the digest"), "{error}");

    let error = refused(Answer::Bytes(blob.clone()), &of(&blob), Digest::of(b"another"));
    assert!(error.contains("unpacks to") && error.contains("config says"), "{error}");

    let rubbish = noise(1, 5000);
    let error = refused(Answer::Bytes(rubbish.clone()), &of(&rubbish), diff_id);
    assert!(error.contains("layer sha256:"), "{error}");

    let longer = Descriptor { size: blob.len() as u64 + 7, ..of(&blob) };
    let error = refused(Answer::Bytes(blob.clone()), &longer, diff_id);
    assert!(error.contains(&blob.len().to_string()), "{error}");

    let error = refused(Answer::Endless(blob.clone()), &of(&blob), diff_id);
    assert!(error.contains("more") || error.contains("bytes"), "{error}");

    let error = refused(Answer::Short(blob[..20].to_vec(), blob.len() as u64), &of(&blob), diff_id);
    assert!(!error.is_empty());
}

#[test]
fn a_bomb_is_stopped() {
    if World::new().is_none() {
        return;
    }
    // Frames of zeros: a few hundred kilobytes that unpack to 1 GiB.
    let frame = gzipped(&vec![0; 64 << 20]);
    let bomb: Vec<u8> = frame.repeat(16);
    let named = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&bomb), bomb.len() as u64);
    let error = refused(Answer::Bytes(bomb), &named, Digest::of(b"whatever"));
    assert!(error.contains("as only a bomb does"), "{error}");
}

#[test]
fn a_build_fetches_its_base_when_it_needs_it() {
    let (Some(world), Some(other), Some(registry)) = (World::new(), World::new(), Registry::start()) else {
        return;
    };
    let base = format!("{}/base:1", registry.host());
    build(&world, &base, 23, 500_000);
    push(&engine(&world), &base, None).unwrap();
    let dockerfile = format!("FROM {base}\nENV A=1\nCOPY own /own\nCOPY --from={base} /data/text /text\n");
    let request = other.context(&dockerfile, &[("own", b"mine")]);
    let build = |engine: &Engine| crate::world::build(engine, &request);
    let first = build(&engine(&other)).unwrap();
    assert!(engine(&other).has_image(&first.id.to_string(), None));
    // Nothing is asked any more: the registry is gone, and all of it is in the cache.
    drop(registry);
    let second = build(&engine(&other)).unwrap();
    assert_eq!(second.id, first.id);
    let mut asked = request.clone();
    asked.pull = true;
    let never = Config { retry: Retry::NEVER, ..Config::default() };
    let error =
        crate::world::build(&other.engine().with_registries(Registries::new(never)), &asked).unwrap_err();
    assert!(crate::world::text(&error).contains("cannot connect"), "{}", crate::world::text(&error));
}
