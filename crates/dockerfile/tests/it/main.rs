//! Integration tests of the parser.

// Outside of `#[test]` functions the lint does not see that this is test code.
#![allow(clippy::unwrap_used)]

mod dump;
mod golden;
mod ignore_rules;
mod properties;
mod speed;
