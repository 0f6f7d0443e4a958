//! Any word with any value: no panic, and no word takes long.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_dockerfile::{expand, expand_heredoc, expand_raw, expand_words};

fuzz_target!(|input: (&str, &str, bool)| {
    let (word, value, backtick) = input;
    let escape = if backtick { '`' } else { '\\' };
    let lookup = |name: &str| name.len().is_multiple_of(2).then(|| value.to_owned());
    let _ = expand(word, escape, &lookup);
    let _ = expand_raw(word, escape, &lookup);
    let _ = expand_words(word, escape, &lookup);
    let _ = expand_heredoc(word, &lookup);
});
