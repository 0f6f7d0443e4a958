//! Whatever a registry says in headers and error documents: an answer or an error, and nothing of it moves a terminal's
//! cursor or is longer than a message may be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_registry::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    // Each challenge takes at least the letters of a scheme.
    assert!(fuzzing::challenges(&lines) <= bytes.len() / 5 + lines.len());
    for line in &lines {
        if let Some(target) = fuzzing::next_page(line) {
            assert!(line.contains(target));
        }
    }
    let shown = [fuzzing::error_document(bytes), Some(fuzzing::shown(&text, 500))];
    for words in shown.into_iter().flatten() {
        assert!(words.chars().all(|character| !character.is_control()), "{words:?}");
        // Each character that is escaped takes at most ten.
        assert!(words.chars().count() <= 5001, "{}", words.len());
    }
});
