//! Any text as a reference, a digest and a platform: an answer or an error; what is accepted says the same when it was
//! written and read once more, and no part of a name can lead out of a directory or into a header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_oci::{Digest, Platform, Reference};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        for written in [reference.to_string(), reference.familiar()] {
            assert_eq!(written.parse().as_ref(), Ok(&reference), "{written}");
        }
        let parts = [Some(reference.domain()), Some(reference.path()), reference.tag()];
        for part in parts.into_iter().flatten() {
            assert!(part.bytes().all(|byte| byte.is_ascii_graphic()), "{part:?}");
            assert!(part.split('/').all(|name| !matches!(name, "" | "." | "..")), "{part:?}");
        }
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse(), Ok(platform.clone()));
        assert!(platform.suits(&platform).is_some());
    }
});
