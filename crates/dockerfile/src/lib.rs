//! Dockerfile text to a spanned, typed [`Dockerfile`]; word expansion; `.dockerignore`; lint rules. No I/O.
//!
//! The exact language is `spec/build.md`, sections 1 and 6.

#![forbid(unsafe_code)]

mod ast;
pub mod chmod;
pub mod duration;
mod error;
mod expand;
pub mod glob;
mod ignore;
pub mod lint;
mod mount;
pub mod outline;
mod parse;
pub mod platform;
pub mod ports;
mod print;
mod quote;
mod script;
pub mod signal;
mod source;
mod suggest;

pub use ast::*;
pub use error::ParseError;
pub use expand::{ExpandError, Expanded, Lookup, expand, expand_heredoc, expand_raw, expand_words};
pub use ignore::{Ignore, IgnoreError, Verdict, Walk};
pub use lint::lint;
pub use mount::{Device, Mount, MountError, MountKind, Sharing, ram_in_bytes};
pub use parse::stage::{COMMENT_HINT, is_stage_name, trailing_comment};
pub use parse::{parse, parse_bytes, parse_instruction, text_of};
pub use quote::go_quote;
pub use script::Script;
pub use source::{LineIndex, position};
pub use suggest::nearest;
