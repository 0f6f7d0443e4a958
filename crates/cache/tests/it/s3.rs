//! The client of object stores, against OpenStack Swift's S3 layer, against Amazon's services as moto has them, and against
//! servers that lie.
mod answers;
mod credentials;
mod objects;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use strata_cache::s3::{Bucket, Environment, Error, Options, Settings};
use strata_http::Retry;
use strata_registry::{Alarm, Clock};
use strata_testbed::{OBJECT_STORE_KEY, ObjectStore};

/// Swift and Amazon's services, for all tests, each of which has keys of its own; those that are installed.
fn servers() -> &'static [Option<ObjectStore>; 2] {
    static SERVERS: OnceLock<[Option<ObjectStore>; 2]> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let starts = [ObjectStore::start, ObjectStore::amazon];
        let threads = starts.map(|start| std::thread::spawn(move || start(&["cache"])));
        threads.map(|thread| thread.join().unwrap())
    })
}

/// Amazon's services, if they are installed.
fn amazon() -> Option<&'static ObjectStore> {
    servers()[1].as_ref()
}

/// Does it with each server, at two addresses: one that takes the bucket in the path, and then one that takes it before the
/// host's name.
fn everywhere(test: impl Fn(&str) + Sync) {
    with_each(|store| {
        test(&store.host());
        test(&format!("localhost:{}", store.port()));
    });
}

/// Does it with each server.
fn with_each(test: impl Fn(&ObjectStore) + Sync) {
    std::thread::scope(|scope| {
        let test = &test;
        let stores = servers().iter().flatten();
        let threads: Vec<_> = stores.map(|store| scope.spawn(move || test(store))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
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
    let (id, secret) = OBJECT_STORE_KEY;
    let keys = [("access_key_id", id), ("secret_access_key", secret)];
    made(host, &[&keys, more].concat(), &BTreeMap::new(), seconds).unwrap()
}

/// A client whose credentials are to be found in `variables`, if they are not in `more`.
fn made(
    host: &str,
    more: &[(&str, &str)],
    variables: &BTreeMap<&str, String>,
    seconds: i64,
) -> Result<(Bucket, Arc<Off>), Error> {
    let url = format!("http://{host}");
    let mut given: BTreeMap<&str, &str> =
        [("bucket", "cache"), ("region", "us-east-1"), ("endpoint_url", url.as_str())].into();
    given.extend(more.iter().copied());
    let given = given.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let settings = Settings::parse(&given, &Environment(&|name| variables.get(name).cloned()))?;
    let clock = Arc::new(Off { seconds, slept: Mutex::default() });
    let retry = Retry { tries: 4, first: Duration::from_secs(1), longest: Duration::from_secs(60) };
    let options = Options { retry, clock: clock.clone(), ..Options::default() };
    Ok((Bucket::new(settings, options)?, clock))
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
