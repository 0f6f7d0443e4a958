//! Integration tests of the parser.

mod dump;
mod golden;
mod ignore_rules;
mod properties;
mod speed;
