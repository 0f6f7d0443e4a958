//! Any bytes: no panic, spans within the text, and what was read survives printing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_dockerfile::{lint, parse, parse_bytes, parse_instruction, text_of};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = text_of(bytes) else {
        assert!(parse_bytes(bytes).is_err());
        return;
    };
    let _ = parse_instruction(&text);
    match parse(&text) {
        Ok(file) => {
            for stage in &file.stages {
                assert!(text.get(stage.span.start..stage.span.end).is_some());
                for instruction in &stage.instructions {
                    assert!(text.get(instruction.span.start..instruction.span.end).is_some());
                }
            }
            lint(&file);
            let _ = file.to_string();
        }
        Err(error) => {
            for error in std::iter::once(&error).chain(&error.more) {
                assert!(text.get(error.span.start..error.span.end).is_some());
            }
        }
    }
});
