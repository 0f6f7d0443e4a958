//! A registry that mirrors another one: a second server of the same kind, which can be cut off.

use crate::world::{Reply, World, ask, blobs};
use std::io::{Cursor, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use strata_oci::{Descriptor, Digest, media_type};
use strata_serve::{FetchedBlob, FetchedManifest, Upstream, UpstreamError};

/// The other registry, over HTTP, with a switch.
struct Other {
    address: SocketAddr,
    away: AtomicBool,
    requests: Mutex<Vec<String>>,
    /// The first answers with a blob break off after so many bytes.
    cuts: AtomicUsize,
    /// Bytes are changed on the way.
    lies: AtomicBool,
    pause: Duration,
}

const CUT_AFTER: u64 = 100_000;

impl Other {
    fn of(world: &World) -> Arc<Self> {
        Arc::new(Self {
            address: world.address,
            away: AtomicBool::new(false),
            requests: Mutex::default(),
            cuts: AtomicUsize::new(0),
            lies: AtomicBool::new(false),
            pause: Duration::from_millis(20),
        })
    }

    fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Option<Reply>, UpstreamError> {
        self.requests.lock().expect("no panics").push(format!("{method} {target}"));
        if self.away.load(Ordering::Relaxed) {
            return Err(UpstreamError("nobody is at home".to_owned()));
        }
        let reply = ask(self.address, method, target, headers, b"");
        Ok(Some(reply).filter(|reply| reply.status < 300))
    }

    fn requests(&self, what: &str) -> usize {
        self.requests.lock().expect("no panics").iter().filter(|line| line.contains(what)).count()
    }
}

impl Upstream for Other {
    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, UpstreamError> {
        let reply = self.ask("HEAD", &format!("/v2/{repository}/manifests/{tag}"), &[])?;
        Ok(reply.map(|reply| reply.header("docker-content-digest").parse().expect("a digest")))
    }

    fn manifest(&self, repository: &str, digest: &Digest) -> Result<Option<FetchedManifest>, UpstreamError> {
        let reply = self.ask("GET", &format!("/v2/{repository}/manifests/{digest}"), &[])?;
        Ok(reply.map(|reply| FetchedManifest {
            media_type: reply.header("content-type").to_owned(),
            bytes: reply.body,
        }))
    }

    fn blob_size(&self, repository: &str, digest: &Digest) -> Result<Option<u64>, UpstreamError> {
        let reply = self.ask("HEAD", &format!("/v2/{repository}/blobs/{digest}"), &[])?;
        Ok(reply.map(|reply| reply.header("content-length").parse().expect("a number")))
    }

    fn blob(
        &self,
        repository: &str,
        digest: &Digest,
        offset: u64,
    ) -> Result<Option<FetchedBlob>, UpstreamError> {
        let Some(size) = self.blob_size(repository, digest)? else { return Ok(None) };
        let range = format!("bytes={offset}-");
        let target = format!("/v2/{repository}/blobs/{digest}");
        let Some(mut reply) = self.ask("GET", &target, &[("Range", &range)])? else { return Ok(None) };
        if self.lies.load(Ordering::Relaxed) {
            reply.body[0] ^= 1;
        }
        let left = self.cuts.load(Ordering::Relaxed);
        let body: Box<dyn Read + Send> = if left > 0 {
            self.cuts.store(left - 1, Ordering::Relaxed);
            Box::new(Slow(Cursor::new(reply.body).take(CUT_AFTER), self.pause))
        } else {
            Box::new(Slow(Cursor::new(reply.body).take(u64::MAX), self.pause))
        };
        Ok(Some(FetchedBlob { size, body }))
    }

    fn tags(&self, repository: &str) -> Result<Option<Vec<String>>, UpstreamError> {
        let reply = self.ask("GET", &format!("/v2/{repository}/tags/list"), &[])?;
        Ok(reply.map(|reply| serde_json::from_value(reply.json()["tags"].clone()).expect("tags")))
    }

    fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, UpstreamError> {
        let reply = self.ask("GET", &format!("/v2/{repository}/referrers/{subject}"), &[])?;
        let list = |reply: Reply| serde_json::from_value(reply.json()["manifests"].clone()).expect("a list");
        Ok(reply.map(list).unwrap_or_default())
    }
}

/// Comes in pieces with pauses between them.
struct Slow(std::io::Take<Cursor<Vec<u8>>>, Duration);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(self.1);
        let most = buffer.len().min(50_000);
        self.0.read(&mut buffer[..most])
    }
}

fn pair() -> (World, Arc<Other>, World) {
    let origin = World::new();
    let other = Other::of(&origin);
    let upstream = other.clone();
    let mirror = World::with(move |options| options.upstream = Some(upstream));
    (origin, other, mirror)
}

#[test]
fn what_was_fetched_once_is_served_when_the_upstream_is_away() {
    let (origin, other, mirror) = pair();
    let manifest = origin.image("a/b", "1", "layer");
    let layer = Digest::of(b"layer");
    let pulled = mirror.get("/v2/a/b/manifests/1");
    assert_eq!((pulled.status, pulled.header("content-type")), (200, media_type::OCI_MANIFEST));
    assert_eq!(pulled.body, manifest);
    let blob = format!("/v2/a/b/blobs/{layer}");
    assert_eq!(mirror.ask("HEAD", &blob, &[], b"").header("content-length"), "5");
    assert_eq!(mirror.get(&blob).body, b"layer");

    other.away.store(true, Ordering::Relaxed);
    assert_eq!(mirror.get("/v2/a/b/manifests/1").body, manifest);
    assert_eq!(mirror.get(&blob).body, b"layer");
    assert_eq!(mirror.ask("HEAD", &blob, &[], b"").status, 200);
    assert_eq!(mirror.get("/v2/a/b/tags/list").json()["tags"], serde_json::json!(["1"]));
    mirror.get("/v2/a/b/manifests/2").refused(502, "UNKNOWN");
    mirror
        .get("/v2/a/b/blobs/sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        .refused(502, "UNKNOWN");
    other.away.store(false, Ordering::Relaxed);
    mirror.get("/v2/a/b/manifests/2").refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(other.requests(&format!("GET {blob}")), 1, "a blob is fetched once");
}

#[test]
fn a_tag_that_moved_is_noticed_and_an_unchanged_one_costs_a_question() {
    let (origin, other, mirror) = pair();
    origin.image("a", "1", "old");
    let old = mirror.get("/v2/a/manifests/1").body;
    mirror.get("/v2/a/manifests/1");
    assert_eq!((other.requests("HEAD"), other.requests("GET /v2/a/manifests")), (2, 1));
    let new = origin.image("a", "1", "new");
    assert_eq!(mirror.get("/v2/a/manifests/1").body, new);
    assert_eq!(mirror.get(&format!("/v2/a/manifests/{}", Digest::of(&old))).body, old);
    origin.ask("DELETE", "/v2/a/manifests/1", &[], b"");
    mirror.get("/v2/a/manifests/1").refused(404, "MANIFEST_UNKNOWN");
    other.away.store(true, Ordering::Relaxed);
    mirror.get("/v2/a/manifests/1").refused(502, "UNKNOWN");
}

#[test]
fn a_blob_streams_to_all_clients_while_it_is_fetched_once() {
    let (origin, other, mirror) = pair();
    let content: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 249) as u8).collect();
    let digest = origin.push("a", &content);
    let target = format!("/v2/a/blobs/{digest}");
    other.cuts.store(2, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (mirror, target, content) = (&mirror, &target, &content);
            scope.spawn(move || {
                let range = format!("bytes={}-", client * 1000);
                let reply = mirror.ask("GET", target, &[("Range", &range)], b"");
                assert_eq!(reply.status, 206);
                assert!(reply.body == content[client * 1000..], "client {client}");
            });
        }
    });
    let gets = other.requests(&format!("GET {target}"));
    assert_eq!(gets, 3, "one fetch, continued after each of two cuts");
    assert_eq!(blobs(&mirror.root()), 1);

    // The first bytes are there long before the last.
    let content = vec![3; 4_000_000];
    let target = format!("/v2/a/blobs/{}", origin.push("a", &content));
    let begin = Instant::now();
    let first = mirror.ask("GET", &target, &[("Range", "bytes=0-999")], b"");
    let first_took = begin.elapsed();
    assert_eq!(first.body.len(), 1000);
    assert!(mirror.get(&target).body == content);
    assert!(first_took * 3 < begin.elapsed(), "{first_took:?} of {:?}", begin.elapsed());
}

#[test]
fn an_upstream_that_lies_is_not_believed() {
    let (origin, other, mirror) = pair();
    let content = vec![5; 600_000];
    let target = format!("/v2/a/blobs/{}", origin.push("a", &content));
    other.lies.store(true, Ordering::Relaxed);
    let reply = mirror.get(&target);
    assert_eq!(reply.header("content-length"), "600000");
    assert!(reply.body.len() < 600_000, "no client can take it for complete");
    assert_eq!(blobs(&mirror.root()), 0);
    other.lies.store(false, Ordering::Relaxed);
    assert!(mirror.get(&target).body == content);
    // What another repository has is not this one's until the upstream says so.
    origin.push("b", b"of b alone");
    let of_b = Digest::of(b"of b alone");
    assert_eq!(mirror.get(&format!("/v2/b/blobs/{of_b}")).body, b"of b alone");
    mirror.get(&format!("/v2/a/blobs/{of_b}")).refused(404, "BLOB_UNKNOWN");
    origin.push("a", b"of b alone");
    let before = other.requests("GET");
    assert_eq!(mirror.get(&format!("/v2/a/blobs/{of_b}")).body, b"of b alone");
    assert_eq!(other.requests("GET"), before, "the bytes are here already");
}

#[test]
fn a_mirror_takes_no_pushes() {
    let (_origin, _other, mirror) = pair();
    mirror.ask("POST", "/v2/a/blobs/uploads/", &[], b"").refused(405, "UNSUPPORTED");
    mirror.ask("PUT", "/v2/a/manifests/1", &[], b"{}").refused(405, "UNSUPPORTED");
}

#[test]
fn what_refers_to_a_manifest_is_the_upstreams_to_say() {
    let (origin, other, mirror) = pair();
    let image = Digest::of(&origin.image("a", "1", "layer"));
    let list = |world: &World| {
        let reply = world.get(&format!("/v2/a/referrers/{image}"));
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["manifests"].clone()
    };
    assert_eq!(list(&mirror), serde_json::json!([]));
    let (signature, _) = crate::discovery::about(&origin, &image, Some("application/x-signature"), "signed");
    assert_eq!(list(&mirror), list(&origin));
    assert_eq!(list(&mirror)[0]["digest"], signature.to_string());
    let filtered = mirror.get(&format!("/v2/a/referrers/{image}?artifactType=application/x-other"));
    assert_eq!(filtered.json()["manifests"], serde_json::json!([]));
    // What was fetched of it can be found when the upstream is away.
    assert_eq!(mirror.get(&format!("/v2/a/manifests/{signature}")).status, 200);
    other.away.store(true, Ordering::Relaxed);
    assert_eq!(list(&mirror)[0]["digest"], signature.to_string());
    mirror.get(&format!("/v2/unknown/referrers/{image}")).refused(502, "UNKNOWN");
}

#[test]
fn what_was_not_asked_for_longest_gives_way() {
    let origin = World::new();
    let other = Other::of(&origin);
    let upstream = other.clone();
    let mirror = World::with(move |options| {
        options.upstream = Some(upstream);
        options.mirror_limit = Some(1_000_000);
    });
    let manifest = origin.image("a", "1", "layer");
    assert_eq!(mirror.get("/v2/a/manifests/1").body, manifest);
    let blob = |n: u8| format!("/v2/a/blobs/{}", origin.push("a", &vec![n; 400_000]));
    let fetched = |n: u8| {
        let target = blob(n);
        let before = other.requests(&format!("GET {target}"));
        assert!(mirror.get(&target).body == vec![n; 400_000]);
        other.requests(&format!("GET {target}")) > before
    };
    assert!(fetched(1) && fetched(2) && !fetched(1) && !fetched(2));
    // Used last: what stays is blob 1.
    std::thread::sleep(Duration::from_millis(20));
    assert!(!fetched(1));
    assert!(fetched(3));
    let start = Instant::now();
    while blobs(&mirror.root()) > 3 {
        assert!(start.elapsed() < Duration::from_secs(10), "nothing was evicted");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!fetched(1) && !fetched(3), "what was used last stays");
    assert!(fetched(2), "what was not goes");
    // More than is ever kept passes through.
    let large = vec![9; 1_500_000];
    let target = format!("/v2/a/blobs/{}", origin.push("a", &large));
    assert!(mirror.get(&target).body == large);
    other.away.store(true, Ordering::Relaxed);
    assert_eq!(mirror.get("/v2/a/manifests/1").body, manifest, "manifests stay");
}
