//! Any text as `--cache-from` and `--cache-to`: an answer or an error, and no secret in what is shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_cache::{Destination, Source};

fuzz_target!(|text: &str| {
    let _ = Source::parse(text);
    let _ = Destination::parse(text);
    let secret = format!("type=s3,bucket=b,secret_access_key=hush-hush,{text}");
    for shown in Source::parse(&secret).into_iter().flatten() {
        assert!(!shown.text.contains("hush-hush") || text.contains("hush-hush"), "{}", shown.text);
    }
});
