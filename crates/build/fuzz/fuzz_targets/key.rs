//! Any two steps have the same key exactly when they mean the same, and a record survives being stored.
//!
//! The second step is made of the same bytes but for a few: two steps that have nothing in common say little about where
//! one part ends and the next begins.
#![no_main]

mod step;

use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use step::{Written, meaning};
use strata_build::fuzzing::{Below, Step, hash, selection_key};
use strata_build::{CacheKey, CacheRecord, CacheResult, Selection};
use strata_oci::Digest;

/// Three changes of one byte: two bytes for where, one for how.
const EDITS: usize = 9;

/// A cache that finds what it kept: names, values and the key that they hash to.
fn survives(step: &Step, digests: &[Digest]) {
    let (own, _, inputs) = step.key(digests);
    let result = CacheResult::Selection(Digest::of(b""));
    let record = CacheRecord { place: None, inputs, files: Vec::new(), result };
    let text = serde_json::to_string(&record).expect("a record is JSON");
    let read: CacheRecord = serde_json::from_str(&text).expect("our own JSON");
    assert_eq!(read, record);
    assert_eq!(hash(&read.inputs), own);
}

fn selections(one: (&Below, &Selection), other: (&Below, &Selection)) {
    assert_eq!(selection_key(one.0, one.1) == selection_key(other.0, other.1), one == other);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((edits, first)) = bytes.split_first_chunk::<EDITS>() else { return };
    let mut second = first.to_vec();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(edit[0]) << 8 | usize::from(edit[1]);
        if let Some(byte) = second.get_mut(at % first.len().max(1)) {
            *byte ^= edit[2];
        }
    }
    let read = |bytes: &[u8]| Written::arbitrary(&mut Unstructured::new(bytes));
    let (Ok(one), Ok(other)) = (read(first), read(&second)) else { return };
    let (first, second) = (one.step(), other.step());
    let digests = |written: &Written, step: &Step| written.digests(step.selections());
    let (of_first, of_second) = (digests(&one, &first), digests(&other, &second));
    survives(&first, &of_first);

    let keys = |step: &Step, digests: &[Digest]| -> (CacheKey, CacheKey) {
        let (own, chain, _) = step.key(digests);
        (own, chain)
    };
    let (own, chain) = keys(&first, &of_first);
    let (other_own, other_chain) = keys(&second, &of_second);
    let (layer, stack) = meaning(&first, &of_first);
    let (other_layer, other_stack) = meaning(&second, &of_second);
    assert_eq!(own == other_own, layer == other_layer, "{layer:#?}\n{other_layer:#?}");
    assert_eq!(chain == other_chain, stack == other_stack, "{stack:#?}\n{other_stack:#?}");
    selections((&first.parent, &one.selection()), (&second.parent, &other.selection()));
});
