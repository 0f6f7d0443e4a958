//! Dockerfile text to a spanned, typed [`Dockerfile`]; word expansion; `.dockerignore`; lint rules. No I/O.
//!
//! The exact language is `spec/build.md`, sections 1 and 6.

#![forbid(unsafe_code)]

mod ast;

pub use ast::*;
