//! Any rules and any path: no panic, and a walk agrees with single questions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_dockerfile::{Ignore, glob};

fuzz_target!(|input: (&[u8], Vec<&[u8]>)| {
    let (rules, paths) = input;
    for path in &paths {
        let _ = glob::matches(rules, path);
    }
    let Ok(ignore) = Ignore::parse(rules) else { return };
    let mut walk = ignore.walk();
    for path in &paths {
        assert_eq!(walk.verdict(path, true), ignore.verdict(path, true));
    }
});
