//! The client of object stores, against OpenStack Swift's S3 layer, and against servers that lie.
use std::collections::BTreeMap;
use std::io::Cursor;
use std::io::Read;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use strata_cache::s3::{Bucket, Environment, Error, Options, S3Place, Settings};
use strata_cache::{Annotations, Config, Content, Layer, Place, Sent};
use strata_http::Retry;
use strata_oci::{DiffId, Digest};
use strata_registry::{Alarm, Clock};
use strata_testbed::{Fault, OBJECT_STORE_KEY, ObjectStore, Request, Server, Wire, answer};

/// One server for all tests, each of which has keys of its own.
fn store() -> Option<&'static ObjectStore> {
    static STORE: OnceLock<Option<ObjectStore>> = OnceLock::new();
    STORE.get_or_init(|| ObjectStore::start(&["cache"])).as_ref()
}

/// A clock that is off by some seconds, and on which waiting takes no time.
struct Off {
    seconds: i64,
    slept: Mutex<Vec<Duration>>,
}

impl Clock for Off {
    fn now(&self) -> SystemTime {
        let (now, by) = (SystemTime::now(), Duration::from_secs(self.seconds.unsigned_abs()));
        if self.seconds < 0 { now - by } else { now + by }
    }

    fn sleep(&self, duration: Duration, _: &Alarm) {
        self.slept.lock().unwrap_or_else(PoisonError::into_inner).push(duration);
    }
}

/// A client of the bucket `cache` at `host`, changed by `more`.
fn client(host: &str, more: &[(&str, &str)]) -> (Bucket, Arc<Off>) {
    client_off(host, more, 0)
}

fn client_off(host: &str, more: &[(&str, &str)], seconds: i64) -> (Bucket, Arc<Off>) {
    let url = format!("http://{host}");
    let mut given: BTreeMap<&str, &str> = [
        ("bucket", "cache"),
        ("region", "us-east-1"),
        ("endpoint_url", url.as_str()),
        ("access_key_id", OBJECT_STORE_KEY.0),
        ("secret_access_key", OBJECT_STORE_KEY.1),
    ]
    .into();
    given.extend(more.iter().copied());
    let given = given.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let settings = Settings::parse(&given, &Environment(&|_| None)).unwrap();
    let clock = Arc::new(Off { seconds, slept: Mutex::default() });
    let retry = Retry { tries: 4, first: Duration::from_secs(1), longest: Duration::from_secs(60) };
    let options = Options { retry, clock: clock.clone(), ..Options::default() };
    (Bucket::new(settings, options).unwrap(), clock)
}

/// Bytes that differ everywhere.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(count).collect()
}

fn source(data: &[u8]) -> impl FnMut(u64) -> std::io::Result<Cursor<Vec<u8>>> + use<> {
    let data = data.to_vec();
    move |offset| Ok(Cursor::new(data[usize::try_from(offset).unwrap()..].to_vec()))
}

fn read(bucket: &Bucket, key: &str, size: usize) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    let mut object = bucket.open(key, size as u64, 0)?;
    match object.read_to_end(&mut all) {
        Ok(_) => Ok(all),
        Err(error) => Err(*error.into_inner().unwrap().downcast::<Error>().unwrap()),
    }
}

#[test]
fn objects_are_put_found_read_renewed_and_deleted() {
    let Some(store) = store() else { return };
    let (bucket, _) = client(&store.host(), &[]);
    // Everything that must be escaped in a URL and in a signature.
    let key = "a b/ü+&=?#%41;*'(~).json";
    assert_eq!(bucket.get(key).unwrap(), None);
    assert_eq!(bucket.stat(key).unwrap(), None);
    bucket.put(key, b"first").unwrap();
    bucket.put(key, b"second").unwrap();
    assert_eq!(bucket.get(key).unwrap().unwrap(), b"second");
    let before = bucket.stat(key).unwrap().unwrap();
    assert_eq!(before.size, 6);
    assert!(before.modified.unwrap().elapsed().unwrap_or_default() < Duration::from_secs(60));

    // Times are in seconds.
    std::thread::sleep(Duration::from_millis(1100));
    bucket.touch(key, 6).unwrap();
    let after = bucket.stat(key).unwrap().unwrap();
    assert!(after.modified > before.modified, "{after:?}");
    assert_eq!(bucket.get(key).unwrap().unwrap(), b"second");

    assert_eq!(bucket.refresh(key).unwrap(), Some(after), "young enough");
    let (eager, _) = client(&store.host(), &[("touch_refresh", "1s")]);
    std::thread::sleep(Duration::from_millis(2100));
    eager.refresh(key).unwrap();
    assert!(bucket.stat(key).unwrap().unwrap().modified > after.modified);

    bucket.delete(key).unwrap();
    bucket.delete(key).unwrap();
    assert_eq!(bucket.get(key).unwrap(), None);
}

#[test]
fn a_large_blob_goes_in_parts_and_comes_by_ranges() {
    let Some(store) = store() else { return };
    let data = bytes((34 << 20) + 5);
    let digest = Digest::of(&data);
    // The second part breaks off once, and so does the answer, twice.
    let wire = Wire::to(&store.host(), |request, number| match request.method.as_str() {
        "PUT" if request.target.contains("partNumber=2") && number == 2 => Fault::CutRequest(3 << 20),
        "GET" if request.header("range").is_none() => Fault::CutAnswer(20 << 20),
        "GET" if number % 2 == 0 => Fault::CutAnswer(1000),
        _ => Fault::Pass,
    });
    let (bucket, _) = client(&wire.host(), &[]);
    let key = bucket.settings().blob_key(&digest);
    bucket.upload(&key, data.len() as u64, &digest, &mut source(&data)).unwrap();
    let sent: u64 = wire.log().iter().map(|exchange| exchange.sent).sum();
    let most = data.len() as u64 + (4 << 20);
    assert!(sent < most, "sent {sent} bytes of {}: more than the cut part again", data.len());
    assert_eq!(bucket.stat(&key).unwrap().unwrap().size, data.len() as u64);

    assert!(read(&bucket, &key, data.len()).unwrap() == data);
    let received: u64 = wire.log().iter().map(|exchange| exchange.received).sum();
    assert!(received < data.len() as u64 + (8 << 20), "received {received}: not only what was missing");
}

/// A layer that is compressed while it is read: what it becomes is known after that.
struct Lazy {
    data: Vec<u8>,
    known: OnceLock<(Digest, u64)>,
}

impl Content for Lazy {
    fn name(&self) -> &Digest {
        static NAME: OnceLock<Digest> = OnceLock::new();
        NAME.get_or_init(|| Digest::of(b"a layer"))
    }

    fn known(&self) -> Option<(Digest, u64)> {
        self.known.get().copied()
    }

    fn open(&self, offset: u64) -> std::io::Result<Box<dyn Read + '_>> {
        self.known.get_or_init(|| (Digest::of(&self.data), self.data.len() as u64));
        Ok(Box::new(Cursor::new(self.data[usize::try_from(offset).unwrap()..].to_vec())))
    }
}

#[test]
fn a_cache_is_kept_under_buildkits_keys_and_found_under_each_of_its_names() {
    let Some(store) = store() else { return };
    let place = |names| {
        let more = [("prefix", "p/"), ("name", names), ("touch_refresh", "1s")];
        let (bucket, _) = client(&store.host(), &more);
        (S3Place::new(bucket.clone()), bucket)
    };
    let (written, bucket) = place("main;v1");
    assert_eq!(written.to_string(), "s3://cache/p/manifests/main;v1");
    assert!(written.config().unwrap().is_none());
    let layer = Lazy { data: bytes(70_000), known: OnceLock::new() };
    let digest = Digest::of(&layer.data);
    assert!(!written.has(&digest).unwrap());
    assert_eq!(written.put(&layer).unwrap(), Sent::Whole);
    assert_eq!(bucket.stat(&format!("p/blobs/{digest}")).unwrap().unwrap().size, 70_000);

    let annotations = Annotations {
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        diff_id: Some(DiffId::new(Digest::of(b"a layer"))),
        size: 70_000,
        created_at: None,
    };
    let layers = vec![Layer { blob: digest, parent: -1, annotations: Some(annotations) }];
    let config = Config { layers, ..Config::default() };
    written.publish(&config, &[]).unwrap();
    for names in ["main", "v1", "new;v1"] {
        let (place, _) = place(names);
        let found = place.config().unwrap().unwrap();
        assert_eq!(found.config, config);
        let mut read = Vec::new();
        place.blob(&found.blobs[&digest], 69_000).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == layer.data[69_000..]);
    }
    let before = bucket.stat(&format!("p/blobs/{digest}")).unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(2100));
    assert!(written.has(&digest).unwrap());
    let after = bucket.stat(&format!("p/blobs/{digest}")).unwrap().unwrap();
    assert!(after.modified > before.modified, "an old blob that is used again is renewed");

    bucket.put("p/manifests/broken", b"{}}").unwrap();
    let error = place("broken").0.config().unwrap_err().to_string();
    assert!(error.starts_with("s3://cache/p/manifests/broken: "), "{error}");
}

/// What the client says of a bucket at `host`, changed by `more`, when it wants to read.
fn said(host: &str, more: &[(&str, &str)]) -> String {
    client(host, more).0.get("manifests/buildkit").unwrap_err().to_string()
}

#[test]
fn refusals_name_the_object_the_reason_and_the_way_out() {
    let Some(store) = store() else { return };
    let host = store.host();
    let nowhere = said(&host, &[("bucket", "other")]);
    assert_eq!(
        nowhere,
        format!(
            "cannot read s3://other/manifests/buildkit at http://{host}: NoSuchBucket: The specified bucket does not exist \
             (status 404); make the bucket first, or check bucket=, endpoint_url= and use_path_style="
        )
    );
    let liar = said(&host, &[("secret_access_key", "not-the-secret")]);
    assert!(
        liar.contains("SignatureDoesNotMatch: ") && liar.contains("check the secret access key"),
        "{liar}"
    );
    assert!(!liar.contains("not-the-secret"), "{liar}");
    // What HEAD does not tell is asked for.
    let (bucket, _) = client(&host, &[("secret_access_key", "wrong")]);
    let looked = bucket.stat("x").unwrap_err().to_string();
    assert!(
        looked.contains("cannot look for s3://cache/x") && looked.contains("SignatureDoesNotMatch"),
        "{looked}"
    );
    let (bucket, _) = client(&host, &[("bucket", "other")]);
    let written = bucket.put("x", b"y").unwrap_err().to_string();
    assert!(written.contains("cannot write s3://other/x") && written.contains("NoSuchBucket"), "{written}");
}

#[test]
fn a_wrong_clock_is_corrected() {
    let Some(store) = store() else { return };
    for seconds in [-86_400, 7 * 86_400] {
        let (bucket, _) = client_off(&store.host(), &[], seconds);
        bucket.put("now", b"1").unwrap();
        assert_eq!(bucket.get("now").unwrap().unwrap(), b"1");
    }
}

#[test]
fn a_blob_that_is_not_what_it_is_called_is_not_stored() {
    let Some(store) = store() else { return };
    let (bucket, _) = client(&store.host(), &[]);
    // In one piece, and in parts.
    for count in [1000, (17 << 20) + 1] {
        let (data, digest) = (bytes(count), Digest::of(b"another"));
        let outcome = bucket.upload("blob", count as u64, &digest, &mut source(&data));
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot send s3://cache/blob: its bytes have the digest sha256:"),
            "{error}"
        );
        assert_eq!(bucket.stat("blob").unwrap(), None);
        let short = bucket.upload("blob", count as u64 + 1, &Digest::of(&data), &mut source(&data));
        let error = short.unwrap_err().to_string();
        assert!(error.contains("it ended 1 bytes early"), "{error}");
        assert_eq!(bucket.stat("blob").unwrap(), None);
    }
}

#[test]
fn a_blob_of_another_length_or_none_is_an_error() {
    let Some(store) = store() else { return };
    let (bucket, _) = client(&store.host(), &[]);
    bucket.put("short", b"123456").unwrap();
    assert_eq!(read(&bucket, "short", 6).unwrap(), b"123456");
    let longer = read(&bucket, "short", 7).unwrap_err().to_string();
    assert!(longer.starts_with("s3://cache/short has 6 bytes, not 7: it is damaged"), "{longer}");
    let shorter = read(&bucket, "short", 5).unwrap_err().to_string();
    assert!(shorter.starts_with("s3://cache/short has 6 bytes, not 5"), "{shorter}");
    let gone = read(&bucket, "gone", 5).unwrap_err().to_string();
    assert_eq!(gone, "s3://cache/gone is not there: the cache is incomplete; export it again");
    let mut rest = String::new();
    bucket.open("short", 6, 4).unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "56");
    assert!(matches!(bucket.open("short", 9, 8), Err(Error::Size { .. })));
}

#[test]
fn a_key_that_nobody_knows() {
    let error = said(&scripted(vec![refusal(403, "InvalidAccessKeyId")]).host(), &[]);
    assert!(
        error.ends_with("; the server does not know the access key from the cache's own options"),
        "{error}"
    );
}

/// A document as S3 writes it.
fn refusal(status: u16, code: &str) -> Vec<u8> {
    let body = format!("<Error><Code>{code}</Code><Message>Words\u{202e}.</Message></Error>");
    answer(status, &[("Content-Type", "application/xml")], body)
}

/// A server that gives these answers, one after another, and the last one for ever.
fn scripted(answers: Vec<Vec<u8>>) -> Server {
    let count = Mutex::new(0);
    Server::start(move |_: &Request, out| {
        let mut count = count.lock().unwrap();
        let next = answers[(*count).min(answers.len() - 1)].clone();
        *count += 1;
        let _ = out.write_all(&next);
    })
}

#[test]
fn what_passes_is_tried_again_with_growing_pauses() {
    let ok = answer(200, &[], b"found");
    let failures = [refusal(500, "InternalError"), refusal(503, "SlowDown"), refusal(400, "RequestTimeout")];
    let server = scripted([failures.to_vec(), vec![ok]].concat());
    let (bucket, clock) = client(&server.host(), &[]);
    assert_eq!(bucket.get("k").unwrap().unwrap(), b"found");
    let slept = clock.slept.lock().unwrap().clone();
    assert_eq!(slept.len(), 3);
    for (pause, longest) in slept.iter().zip([1, 2, 4]) {
        assert!(
            *pause <= Duration::from_secs(longest) && *pause >= Duration::from_secs(longest) / 2,
            "{slept:?}"
        );
    }
    // For ever: so many tries, and no more.
    let server = scripted(vec![refusal(503, "SlowDown")]);
    let (bucket, _) = client(&server.host(), &[("retry_max_attempts", "3")]);
    let error = bucket.get("k").unwrap_err().to_string();
    assert_eq!(server.seen().len(), 3);
    assert!(
        error.ends_with("SlowDown: Words\\u{202e} (status 503); it was tried 3 times: try again later"),
        "{error}"
    );
    // What does not pass is not.
    let server = scripted(vec![refusal(403, "AccessDenied")]);
    let (bucket, _) = client(&server.host(), &[]);
    let error = bucket.put("k", b"v").unwrap_err().to_string();
    assert_eq!(server.seen().len(), 1);
    assert!(error.contains("they need s3:PutObject"), "{error}");
}

#[test]
fn a_bucket_elsewhere_is_pointed_to() {
    let region = ("x-amz-bucket-region", "eu-west-1");
    let body = "<Error><Code>AuthorizationQueryParametersError</Code><Region>eu-west-1</Region></Error>";
    for reply in [answer(301, &[region], ""), answer(400, &[], body)] {
        let error = said(&scripted(vec![reply]).host(), &[]);
        assert!(error.ends_with("; the bucket is in another region: set region=eu-west-1"), "{error}");
    }
}

#[test]
fn nobody_listens() {
    let (bucket, _) = client("127.0.0.1:1", &[]);
    let error = bucket.get("k").unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read s3://cache/k: http://127.0.0.1:1/cache/k: cannot connect"),
        "{error}"
    );
    assert!(!error.contains("Signature"), "{error}");
}

#[test]
fn a_success_that_tells_of_a_failure_is_one() {
    let server = scripted(vec![refusal(200, "InternalError")]);
    let (bucket, _) = client(&server.host(), &[]);
    let error = bucket.touch("k", 1).unwrap_err().to_string();
    assert!(error.contains("cannot renew s3://cache/k") && error.contains("InternalError"), "{error}");
    assert_eq!(server.seen().len(), 4, "it was tried again");
    // And a page of some other server is no answer at all.
    let page = scripted(vec![answer(404, &[], "<html>no such page</html>")]);
    let (bucket, _) = client(&page.host(), &[]);
    let data = bytes((17 << 20) + 1);
    let error = bucket.upload("k", data.len() as u64, &Digest::of(&data), &mut source(&data)).unwrap_err();
    assert!(error.to_string().contains("is this the address of an S3 server?"), "{error}");
}

#[test]
fn secrets_go_nowhere_but_into_signatures() {
    let server = scripted(vec![answer(200, &[], b"x")]);
    let (bucket, _) = client(&server.host(), &[("session_token", "the+token")]);
    bucket.get("k").unwrap();
    let seen = server.seen();
    assert!(seen[0].target.contains("X-Amz-Security-Token=the%2Btoken"), "{seen:?}");
    assert!(!format!("{seen:?}").contains(OBJECT_STORE_KEY.1), "{seen:?}");
    assert!(!format!("{bucket:?} {:?}", bucket.settings()).contains("the+token"));
}
