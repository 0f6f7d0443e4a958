//! Small images to send around, and clients that do not wait long.
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use strata_oci::{Descriptor, Digest, Manifest, Raw, media_type};
use strata_registry::{Alarm, Clock, Config, Error, Put, Registries, Repository, Retry, Target};

/// A clock that notes how long it was asked to wait, and does not.
#[derive(Default)]
pub(crate) struct Impatient(Mutex<Vec<Duration>>);

impl Impatient {
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

impl Clock for Impatient {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration, _alarm: &Alarm) {
        self.0.lock().unwrap().push(duration);
    }
}

/// The default, but for the waiting.
pub(crate) fn config() -> (Config, Arc<Impatient>) {
    let clock = Arc::new(Impatient::default());
    let retry = Retry { tries: 5, first: Duration::from_millis(500), longest: Duration::from_secs(30) };
    (Config { clock: clock.clone(), retry, ..Config::default() }, clock)
}

pub(crate) fn client() -> Registries {
    Registries::new(config().0)
}

/// Bytes that look random and are the same every time.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn send(registries: &Registries, to: &Repository, bytes: &[u8]) -> Result<Digest, Error> {
    let digest = Digest::of(bytes);
    let owned = bytes.to_vec();
    let mut source = move |offset: u64| {
        let mut cursor = std::io::Cursor::new(owned.clone());
        cursor.set_position(offset);
        Ok(cursor)
    };
    registries.upload(to, &digest, bytes.len() as u64, &mut source).map(|()| digest)
}

pub(crate) fn fetch(
    registries: &Registries,
    from: &Repository,
    digest: &Digest,
    size: usize,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut blob = registries.blob(from, digest, size as u64, 0)?;
    match blob.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Error::from_read(error).expect("errors of blobs are ours")),
    }
}

/// An image of one small layer: a tar of one empty file, so that others can unpack it.
pub(crate) struct Image {
    pub(crate) manifest: Raw<Manifest>,
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
}

impl Image {
    pub(crate) fn new(name: &str) -> Self {
        let mut layer = vec![0; 512 * 3];
        layer[..name.len()].copy_from_slice(name.as_bytes());
        layer[100..108].copy_from_slice(b"0000644\0");
        for field in [108, 116] {
            layer[field..field + 8].copy_from_slice(b"0000000\0");
        }
        for field in [124, 136] {
            layer[field..field + 12].copy_from_slice(b"00000000000\0");
        }
        layer[148..156].copy_from_slice(b"        ");
        layer[156] = b'0';
        layer[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = layer[..512].iter().map(|byte| u32::from(*byte)).sum();
        layer[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            Digest::of(&layer)
        )
        .into_bytes();
        let descriptor = |kind, bytes: &[u8]| Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
        let manifest = Raw::new(Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            config: descriptor(media_type::OCI_CONFIG, &config),
            layers: vec![descriptor(media_type::OCI_LAYER, &layer)],
            annotations: Default::default(),
        });
        Self { manifest, config, layer }
    }

    pub(crate) fn push(&self, registries: &Registries, to: &Repository, tag: &str) -> Result<Put, Error> {
        for blob in [&self.config, &self.layer] {
            send(registries, to, blob)?;
        }
        let target = Target::Tag(tag.to_owned());
        registries.put_manifest(to, &target, media_type::OCI_MANIFEST, self.manifest.bytes())
    }
}
