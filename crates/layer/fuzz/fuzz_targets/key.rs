//! Any two sets of files: the content part of a cache key is the same exactly when they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::Arc;
use strata_layer::ContentDigest;
use strata_layer::copy::{SelectOptions, Selection};
use strata_layer::tree::InlineFiles;

type Files = BTreeMap<Vec<u8>, Vec<u8>>;

fn digest(files: &Files, mtime: i64, options: &SelectOptions) -> ContentDigest {
    let tree = Arc::new(InlineFiles::new(files.clone(), (mtime, 0)));
    Selection::new(tree, &[""], options.clone()).expect("the root is there").digest().expect("it is in memory")
}

fuzz_target!(|input: (Files, Files, bool, i64)| {
    let (mut one, mut other, wildcards, mtime) = input;
    for files in [&mut one, &mut other] {
        files.retain(|name, _| {
            !name.is_empty() && !name.contains(&b'/') && !name.contains(&0) && name != b"." && name != b".."
        });
    }
    let options = SelectOptions { wildcards, ..SelectOptions::default() };
    let same = digest(&one, 0, &options) == digest(&other, mtime, &options);
    assert_eq!(same, one == other);
});
