//! What is stored and found, on each server, by path and by host name.
use super::answers::refusal;
use super::{bytes, client, everywhere, read, source, with_each};
use std::io::{Cursor, Read};
use std::sync::OnceLock;
use std::time::Duration;
use strata_cache::s3::{Error, S3Place};
use strata_cache::{Annotations, Config, Content, Layer, Place, Sent};
use strata_oci::{DiffId, Digest};
use strata_testbed::{Fault, Wire};

#[test]
fn objects_are_put_found_read_renewed_and_deleted() {
    everywhere(|host| {
        let (bucket, _) = client(host, &[]);
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
        let (eager, _) = client(host, &[("touch_refresh", "1s")]);
        std::thread::sleep(Duration::from_millis(2100));
        eager.refresh(key).unwrap();
        assert!(bucket.stat(key).unwrap().unwrap().modified > after.modified);

        bucket.delete(key).unwrap();
        bucket.delete(key).unwrap();
        assert_eq!(bucket.get(key).unwrap(), None);
    });
}

#[test]
fn a_large_blob_goes_in_parts_and_comes_by_ranges() {
    everywhere(|host| {
        let data = bytes((24 << 20) + 5);
        let digest = Digest::of(&data);
        // The upload begins slowly, its second part breaks off once, and so does the answer, twice.
        let wire = Wire::to(host, |request, number| match request.method.as_str() {
            "POST" if number == 0 => Fault::Say(refusal(503, "SlowDown")),
            "PUT" if request.target.contains("partNumber=2") && number == 3 => Fault::CutRequest(3 << 20),
            "GET" if request.header("range").is_none() => Fault::CutAnswer(20 << 20),
            "GET" if number % 2 == 0 => Fault::CutAnswer(1000),
            _ => Fault::Pass,
        });
        let port = wire.host().rsplit_once(':').unwrap().1.to_owned();
        let by_name = host.starts_with("localhost");
        let near = if by_name { format!("localhost:{port}") } else { wire.host() };
        let (bucket, _) = client(&near, &[]);
        let key = bucket.settings().blob_key(&digest);
        bucket.upload(&key, data.len() as u64, &digest, &mut source(&data)).unwrap();
        let sent: u64 = wire.log().iter().map(|exchange| exchange.sent).sum();
        let most = data.len() as u64 + (4 << 20);
        assert!(sent < most, "sent {sent} bytes of {}: more than the cut part again", data.len());
        assert!(sent > data.len() as u64 + (1 << 20), "nothing was cut");
        assert_eq!(bucket.stat(&key).unwrap().unwrap().size, data.len() as u64);

        assert!(read(&bucket, &key, data.len()).unwrap() == data);
        let received: u64 = wire.log().iter().map(|exchange| exchange.received).sum();
        assert!(received < data.len() as u64 + (8 << 20), "received {received}: not only what was missing");
    });
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
    everywhere(|host| {
        let prefix = if host.starts_with("localhost") { "hosted/" } else { "p/" };
        let place = |names| {
            let more = [("prefix", prefix), ("name", names), ("touch_refresh", "1s")];
            let (bucket, _) = client(host, &more);
            (S3Place::new(bucket.clone()), bucket)
        };
        let (written, bucket) = place("main;v1");
        assert_eq!(written.to_string(), format!("s3://cache/{prefix}manifests/main;v1"));
        assert!(written.config().unwrap().is_none());
        let layer = Lazy { data: bytes(70_000), known: OnceLock::new() };
        let digest = Digest::of(&layer.data);
        assert!(!written.has(&digest).unwrap());
        assert_eq!(written.put(&layer).unwrap(), Sent::Whole);
        assert_eq!(bucket.stat(&format!("{prefix}blobs/{digest}")).unwrap().unwrap().size, 70_000);

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
        let before = bucket.stat(&format!("{prefix}blobs/{digest}")).unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(2100));
        assert!(written.has(&digest).unwrap());
        let after = bucket.stat(&format!("{prefix}blobs/{digest}")).unwrap().unwrap();
        assert!(after.modified > before.modified, "an old blob that is used again is renewed");

        bucket.put(&format!("{prefix}manifests/broken"), b"{}}").unwrap();
        let error = place("broken").0.config().unwrap_err().to_string();
        assert!(error.starts_with(&format!("s3://cache/{prefix}manifests/broken: ")), "{error}");
    });
}

#[test]
fn a_blob_that_is_not_what_it_is_called_is_not_stored() {
    with_each(|store| {
        let host = &store.host();
        let (bucket, _) = client(host, &[]);
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
    });
}

#[test]
fn a_blob_of_another_length_or_none_is_an_error() {
    with_each(|store| {
        let host = &store.host();
        let (bucket, _) = client(host, &[]);
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
    });
}
