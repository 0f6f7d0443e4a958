//! Any bytes as a manifest, an index and an image config, which registries, archives and layouts send: an answer or an
//! error. Bytes and digest stay what they were, and what was read says the same when it was written and read once more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use strata_oci::{ChainId, Digest, ImageConfig, Index, Manifest, Raw};

fuzz_target!(|bytes: &[u8]| {
    same::<Manifest>(bytes);
    same::<Index>(bytes);
    if let Some(config) = same::<ImageConfig>(bytes) {
        let _ = ChainId::of(&config.rootfs.diff_ids);
    }
});

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let raw = Raw::<T>::parse(bytes.to_vec()).ok()?;
    assert_eq!((raw.bytes(), *raw.digest()), (bytes, Digest::of(bytes)));
    let written = serde_json::to_vec(raw.value()).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("and read again");
    assert_eq!(again, *raw.value());
    Some(again)
}
