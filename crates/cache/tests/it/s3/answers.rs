//! What servers say, and what is made of it.
use super::{bytes, client, client_off, everywhere, source, with_each};
use std::sync::Mutex;
use std::time::Duration;
use strata_oci::Digest;
use strata_testbed::{OBJECT_STORE_KEY, Request, Server, answer};

/// What the client says of a bucket at `host`, changed by `more`, when it wants to read.
fn said(host: &str, more: &[(&str, &str)]) -> String {
    client(host, more).0.get("manifests/buildkit").unwrap_err().to_string()
}

#[test]
fn refusals_name_the_object_the_reason_and_the_way_out() {
    everywhere(|host| {
        let nowhere = said(host, &[("bucket", "other")]);
        assert_eq!(
            nowhere,
            format!(
                "cannot read s3://other/manifests/buildkit at http://{host}: NoSuchBucket: The specified bucket does not exist \
             (status 404); make the bucket first, or check bucket=, endpoint_url= and use_path_style="
            )
        );
        let liar = said(host, &[("secret_access_key", "not-the-secret")]);
        assert!(
            liar.contains("SignatureDoesNotMatch: ") && liar.contains("check the secret access key"),
            "{liar}"
        );
        assert!(!liar.contains("not-the-secret"), "{liar}");
        // What HEAD does not tell is asked for.
        let (bucket, _) = client(host, &[("secret_access_key", "wrong")]);
        let looked = bucket.stat("x").unwrap_err().to_string();
        assert!(
            looked.contains("cannot look for s3://cache/x") && looked.contains("SignatureDoesNotMatch"),
            "{looked}"
        );
        let (bucket, _) = client(host, &[("bucket", "other")]);
        let written = bucket.put("x", b"y").unwrap_err().to_string();
        assert!(
            written.contains("cannot write s3://other/x") && written.contains("NoSuchBucket"),
            "{written}"
        );
    });
}

#[test]
fn a_wrong_clock_is_corrected() {
    with_each(|store| {
        let host = &store.host();
        for seconds in [-86_400, 7 * 86_400] {
            let (bucket, _) = client_off(host, &[], seconds);
            bucket.put("now", b"1").unwrap();
            assert_eq!(bucket.get("now").unwrap().unwrap(), b"1");
        }
    });
}

/// A document as S3 writes it.
pub(super) fn refusal(status: u16, code: &str) -> Vec<u8> {
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
fn a_key_that_nobody_knows() {
    let error = said(&scripted(vec![refusal(403, "InvalidAccessKeyId")]).host(), &[]);
    assert!(
        error.ends_with("; the server does not know the access key from the cache's own options"),
        "{error}"
    );
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
    with_each(|store| {
        let error = said(&store.host(), &[("region", "eu-west-1")]);
        assert!(error.ends_with("; the bucket is in another region: set region=us-east-1"), "{error}");
    });
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
